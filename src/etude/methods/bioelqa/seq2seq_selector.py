"""The paper's generator: T5 or BART reads the question and writes one symbol.

Training is the cross-entropy of that symbol over the whole vocabulary; answering takes one decoder step and a
softmax over the symbols alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.bioelqa.generator_training import (
    Collate,
    GeneratorSettings,
    TokenRows,
    by_length,
    pad,
    train_generator,
)
from etude.methods.bioelqa.questions import Question
from etude.methods.bioelqa.symbol_tokens import symbol_tokens
from etude.methods.bioelqa.wording import question_text
from etude.models import load_tokenizer, model_directory, model_revision
from etude.models.local_lm import default_device
from etude.models.quiet import quiet_transformers
from etude.runs import read_json, write_json

_FILE = "seq2seq.json"
_WEIGHTS = "model"


class _OneSymbol(nn.Module):
    """The model with its loss on the first decoded token."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def logits(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of the first decoded token, (rows, vocabulary)."""
        start = self.model.config.decoder_start_token_id
        first = torch.full((len(input_ids), 1), start, device=input_ids.device)
        found: Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=first, use_cache=False
        ).logits[:, 0]
        return found

    def forward(self, input_ids: Tensor, attention_mask: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"loss": nn.functional.cross_entropy(self.logits(input_ids, attention_mask), target)}


class Seq2SeqSelector:
    """An encoder-decoder as a selector.

    Args:
        model: A directory or hub id, e.g. `google-t5/t5-base`.
        settings: Of training.
        device: `cpu`, `cuda` ...; default: the GPU if there is one.
    """

    name = "seq2seq"
    reads_context = False

    def __init__(
        self,
        model: str = "google-t5/t5-base",
        settings: GeneratorSettings | None = None,
        *,
        device: str | None = None,
    ) -> None:
        from transformers import AutoModelForSeq2SeqLM

        self.model_name, self.settings = model, settings or GeneratorSettings()
        directory = model_directory(model)
        self.revision = model_revision(directory)
        self.tokenizer: Any = load_tokenizer(str(directory))
        with quiet_transformers():
            try:
                loaded: Any = AutoModelForSeq2SeqLM.from_pretrained(directory, use_safetensors=True)
            except (ValueError, OSError, KeyError) as error:
                raise EtudeError(
                    f"{model}: cannot be loaded as an encoder-decoder ({str(error).splitlines()[0]})"[:300],
                    "Give a T5 or BART directory with safetensors weights, or its hub id.",
                ) from error
        self._network = _OneSymbol(loaded.to(device or default_device()))

    @property
    def identity(self) -> dict[str, Any]:
        """Model and settings."""
        return {"selector": self.name, "revision": self.revision, **self.settings.to_json()}

    def fit(self, questions: Sequence[Question], *, out: Path, seed: int = 0) -> dict[str, Any]:
        """See `Selector.fit`."""
        symbols = self._symbols(max(len(question.options) for question in questions))
        targets = [symbols[q.gold] for q in questions if q.gold is not None]
        rows = TokenRows([self._encode(question) for question in questions], targets)
        collate = Collate(self.tokenizer.pad_token_id, left=False)
        return train_generator(self._network, rows, self.settings, collate=collate, out=out, seed=seed)

    @torch.inference_mode()
    def probabilities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """See `Selector.probabilities`."""
        self._network.eval()
        symbols = self._symbols(max((len(q.options) for q in questions), default=0))
        device = next(self._network.parameters()).device
        rows = [self._encode(question) for question in questions]
        found: list[np.ndarray] = [np.zeros(0)] * len(rows)
        for batch in by_length(rows, 4 * self.settings.batch_size):
            ids, mask = pad([rows[i] for i in batch], self.tokenizer.pad_token_id, left=False)
            logits = self._network.logits(ids.to(device), mask.to(device))
            for row, place in enumerate(batch):
                shown = symbols[: len(questions[place].options)]
                found[place] = logits[row, shown].float().softmax(-1).cpu().numpy()
        return found

    def save(self, folder: Path) -> None:
        """See `Selector.save`."""
        with quiet_transformers():
            self._network.model.save_pretrained(folder / _WEIGHTS)
            self.tokenizer.save_pretrained(folder / _WEIGHTS)
        write_json(folder / _FILE, {"model": self.model_name, "settings": self.settings.to_json()})

    @classmethod
    def load(cls, folder: Path) -> Seq2SeqSelector:
        """Read what `save` wrote."""
        stored = read_json(folder / _FILE)
        made = cls(str(folder / _WEIGHTS), GeneratorSettings(**stored["settings"]))
        made.model_name = stored["model"]
        return made

    def _symbols(self, count: int) -> list[int]:
        return symbol_tokens(self.tokenizer, count, self.settings.symbols, space=False)

    def _encode(self, question: Question) -> list[int]:
        """Token ids, cut at the beginning, with the end token that the model expects."""
        text = question_text(question, self.settings.symbols)
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids[-self.settings.max_length :]
