"""Stage 2's scorers: a similarity between 0 and 5 for each pair of sentences, or None where there is none.

- `text`: the language model writes a number; what is not exactly one number in [0, 5] is dropped and counted.
- `expected`: Σ_s s·p(s) over the digits 0 to 5 as the model's next token; no text is read.
- `nli`: a natural language inference classifier: 5·p(entailment) + 2.5·p(neutral).
- `embed`: 5·max(0, cosine) of a sentence encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from etude.errors import EtudeError
from etude.methods.semcsr.grading import GRADES, TOP, grade_conversation, read_grade
from etude.models import Encoder, StoredChat, chat_model, load_encoder, load_tokenizer, model_directory
from etude.models.quiet import quiet_transformers

ScorerName: TypeAlias = Literal["text", "expected", "nli", "embed"]
Pair: TypeAlias = tuple[str, str]


class Scorer(Protocol):
    """Scores pairs."""

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """Similarity of each pair, 0 to 5."""


def load_scorer(
    name: ScorerName,
    *,
    lm: str = "smollm2",
    encoder: str = "minilm",
    base_url: str | None = None,
    max_connections: int = 8,
) -> Scorer:
    """A scorer by name; its model loads with the first pair.

    Args:
        name: `text`, `expected`, `nli` or `embed`.
        lm: The language model, or the classifier of `nli`.
        encoder: The encoder of `embed`.
        base_url: Of a served model.
        max_connections: Requests under way at once, for served models.

    Raises:
        EtudeError: There is no such scorer.
    """
    if name == "text":
        return TextScorer(lm, base_url, max_connections)
    if name == "expected":
        return ExpectedScorer(lm, base_url, max_connections)
    if name == "nli":
        return NLIScorer(lm)
    if name == "embed":
        return EmbedScorer(encoder)
    raise EtudeError(f"there is no scorer {name!r}", "Give text, expected, nli or embed.")


class TextScorer:
    """Asks a chat model for a number.

    Args:
        lm: The chat model's name.
        base_url: Of a served model.
        max_connections: Requests under way at once.
    """

    def __init__(self, lm: str, base_url: str | None = None, max_connections: int = 8) -> None:
        self.lm, self.base_url, self.max_connections = lm, base_url, max_connections

    @cached_property
    def chat(self) -> StoredChat:
        """The chat model."""
        return chat_model(self.lm, base_url=self.base_url, max_connections=self.max_connections)

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """One number for each pair; None where the answer is not one number in [0, 5]."""
        replies = self.chat.generate([grade_conversation(*pair) for pair in pairs], max_tokens=16)
        return [read_grade(reply.text) for reply in replies]


class ExpectedScorer(TextScorer):
    """The mean grade under the model's own distribution over the digits, in one forward pass."""

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """Σ_s s·p(s) for each pair.

        Raises:
            EtudeError: The model gives no log-probabilities.
        """
        asked = [grade_conversation(*pair) for pair in pairs]
        found = self.chat.score(asked, [GRADES] * len(asked))
        return [expected_grade(logprobs) for logprobs in found]


def expected_grade(logprobs: Sequence[float]) -> float:
    """Σ_s s·p(s), with p the softmax of the grades' log-probabilities, (6,)."""
    values = np.asarray(logprobs, dtype=np.float64)
    shares = np.exp(values - values.max())
    return float(shares @ np.arange(len(GRADES)) / shares.sum())


class NLIScorer:
    """A classifier with the classes entailment, neutral and contradiction.

    Args:
        model: Its directory or hub id, e.g. `cross-encoder/nli-deberta-v3-small`.
        batch_size: Pairs in one forward pass.
    """

    def __init__(self, model: str, batch_size: int = 32) -> None:
        self.name, self.batch_size = model, batch_size

    @cached_property
    def model(self) -> Any:
        """The classifier, in evaluation mode."""
        from transformers import AutoModelForSequenceClassification

        from etude.models.local_lm import default_device

        with quiet_transformers():
            try:
                model: Any = AutoModelForSequenceClassification.from_pretrained(
                    model_directory(self.name), use_safetensors=True
                )
            except (ValueError, OSError, KeyError, ImportError) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise EtudeError(
                    f"{self.name}: cannot be loaded as a classifier ({reason})"[:400],
                    "Give an NLI model as --lm, e.g. cross-encoder/nli-deberta-v3-small.",
                ) from error
        model.to(default_device()).eval()
        return model

    @cached_property
    def weights(self) -> list[float]:
        """What each class is worth, in the order of the model's outputs."""
        worth = {"entailment": TOP, "neutral": TOP / 2, "contradiction": 0.0}
        labels = [str(self.model.config.id2label[i]).lower() for i in range(self.model.config.num_labels)]
        if sorted(labels) != sorted(worth):
            raise EtudeError(
                f"{self.name}: its classes are {', '.join(labels)}",
                "Give an NLI model with the classes entailment, neutral, contradiction as --lm.",
            )
        return [worth[label] for label in labels]

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """5·p(entailment) + 2.5·p(neutral) of the first sentence and the second."""
        import torch

        tokenizer: Any = load_tokenizer(self.name)
        weights, found = torch.tensor(self.weights), [0.0] * len(pairs)
        order = sorted(range(len(pairs)), key=lambda i: -sum(map(len, pairs[i])))
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            batch = tokenizer(
                [pairs[i][0] for i in chosen],
                [pairs[i][1] for i in chosen],
                padding=True,
                truncation=True,
                return_tensors="pt",
            ).to(self.model.device)
            with torch.inference_mode():
                shares = self.model(**batch).logits.float().softmax(-1).cpu()
            for at, value in zip(chosen, (shares @ weights).tolist(), strict=True):
                found[at] = value
        return list(found)


class EmbedScorer:
    """Cosines of a sentence encoder.

    Args:
        encoder: Its name.
    """

    def __init__(self, encoder: str = "minilm") -> None:
        self.name = encoder

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder."""
        return load_encoder(self.name)

    def score(self, pairs: Sequence[Pair]) -> list[float | None]:
        """5·max(0, cosine); each distinct sentence is encoded once."""
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        place = {text: i for i, text in enumerate(texts)}
        vectors = self.encoder.encode(texts)
        return [float(np.clip(TOP * vectors[place[a]] @ vectors[place[b]], 0.0, TOP)) for a, b in pairs]
