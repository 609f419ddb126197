"""An encoder that reads each choice with its stem: one sequence for each choice, a linear head, softmax.

The whole encoder is fine-tuned (paper: RoBERTa-large, DeBERTa-v3). It is transformers' multiple-choice model,
so `save_pretrained` writes a folder that others load.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, Pair, as_text
from etude.methods.analogykb.fine_tuning import fine_tune
from etude.methods.analogykb.listwise import listwise_loss
from etude.methods.analogykb.scorers import Recipe
from etude.models import load_tokenizer, model_directory
from etude.models.local_lm import default_device
from etude.models.quiet import quiet_transformers

_LONGEST = 64  # tokens of "A is to B" and of "C is to D" together
_AT_ONCE = 64  # questions scored together


class ChoiceEncoder:
    """A multiple-choice encoder.

    Args:
        name: An embedded name, a directory (also of a trained one), or a hub id.

    Raises:
        EtudeError: The model has no multiple-choice form.
    """

    def __init__(self, name: str) -> None:
        from transformers import AutoModelForMultipleChoice

        directory = model_directory(name)
        self.tokenizer = load_tokenizer(name)
        with quiet_transformers():
            try:
                torch.manual_seed(0)  # of a new head
                self.model: Any = AutoModelForMultipleChoice.from_pretrained(
                    directory, dtype=torch.float32, use_safetensors=True
                )
            except (ValueError, OSError, KeyError) as error:
                raise EtudeError(
                    f"{name}: cannot be a multiple-choice encoder ({str(error).splitlines()[0][:200]})",
                    "Give an encoder such as minilm, roberta-large or microsoft/deberta-v3-large.",
                ) from error

    def fit(self, questions: Sequence[AnalogyQuestion], recipe: Recipe, out: Path) -> dict[str, Any]:
        """Fine-tune; see `Scorer`."""
        ready = partial(collate, self.tokenizer)
        label = "analogykb encoder"
        facts = fine_tune(_Listwise(self.model), questions, recipe, out, collate=ready, label=label)
        self.model.eval()
        return facts

    def choice_scores(
        self, stems: Sequence[Pair], choices: Sequence[Sequence[Pair]]
    ) -> list[NDArray[np.float64]]:
        """The head's score of each choice."""
        device = default_device()
        self.model.to(device).eval()
        found: list[NDArray[np.float64]] = []
        for start in range(0, len(stems), _AT_ONCE):
            part = choices[start : start + _AT_ONCE]
            questions = [
                AnalogyQuestion.model_construct(stem=stem, choice=list(given), answer=0)
                for stem, given in zip(stems[start : start + _AT_ONCE], part, strict=True)
            ]
            batch = {k: v.to(device) for k, v in collate(self.tokenizer, questions).items()}
            del batch["answer"], batch["choices"]
            with torch.inference_mode():
                scores = self.model(**batch).logits.double().cpu().numpy()
            found += [row[: len(given)] for row, given in zip(scores, part, strict=True)]
        return found

    def save(self, folder: Path) -> None:
        """`save_pretrained`, with the tokenizer."""
        self.model.cpu().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


class _Listwise(torch.nn.Module):
    """The model with the listwise loss, which leaves out the padding of questions with fewer choices."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, choices: torch.Tensor, answer: torch.Tensor, **batch: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return {"loss": listwise_loss(self.model(**batch).logits, choices, answer)}


def collate(tokenizer: Any, questions: Sequence[AnalogyQuestion]) -> dict[str, torch.Tensor]:
    """Questions to a batch: (questions, most choices, tokens); `choices` is 1 for choices, 0 for padding."""
    most = max(len(q.choice) for q in questions)
    rows = [
        (as_text(q.stem), as_text(c))
        for q in questions
        for c in [*q.choice, *[q.choice[-1]] * (most - len(q.choice))]
    ]
    encoded = tokenizer(
        [f"{stem} as" for stem, _ in rows], [choice for _, choice in rows], truncation=True,
        max_length=_LONGEST,
        padding=True, return_tensors="pt",
    )  # fmt: skip
    shaped = {name: value.view(len(questions), most, -1) for name, value in encoded.items()}
    choices = torch.tensor([[int(i < len(q.choice)) for i in range(most)] for q in questions])
    return {**shaped, "choices": choices, "answer": torch.tensor([q.answer for q in questions])}
