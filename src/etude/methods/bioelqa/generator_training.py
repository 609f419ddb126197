"""What the three trained language-model selectors share: text rows, batches, and the Trainer call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from etude.training import fit


@dataclass(frozen=True)
class GeneratorSettings:
    """How a language-model selector is trained.

    Args:
        epochs: Passes over the training questions.
        batch_size: Questions of a step.
        learning_rate: Peak rate of AdamW.
        max_length: Tokens of a question; longer ones are cut at their beginning (the clues).
        symbols: letters, or numbers for more than 26 options.
    """

    epochs: float = 2
    batch_size: int = 8
    learning_rate: float = 1e-4
    max_length: int = 512
    symbols: str = "letters"

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class TokenRows(Dataset[Any]):
    """Token ids of questions with the token, or place, that is right."""

    def __init__(self, ids: Sequence[Sequence[int]], targets: Sequence[int]) -> None:
        self.ids, self.targets = ids, targets

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"ids": self.ids[index], "target": self.targets[index]}


def pad(rows: Sequence[Sequence[int]], token: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """Token rows as input_ids and attention_mask, (rows, width)."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), token)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for row, tokens in enumerate(rows):
        place = slice(width - len(tokens), width) if left else slice(0, len(tokens))
        ids[row, place] = torch.tensor(tokens)
        mask[row, place] = 1
    return ids, mask


@dataclass(frozen=True)
class Collate:
    """Items to a batch: input_ids, attention_mask (rows, width), target (rows,)."""

    pad_token: int
    left: bool

    def __call__(self, items: list[Any]) -> dict[str, Tensor]:
        """See `fit`'s `collate`."""
        ids, mask = pad([item["ids"] for item in items], self.pad_token, left=self.left)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "target": torch.tensor([item["target"] for item in items]),
        }


def train_generator(
    model: nn.Module,
    rows: TokenRows,
    settings: GeneratorSettings,
    *,
    collate: Callable[[list[Any]], dict[str, Any]],
    out: Path,
    seed: int,
) -> dict[str, Any]:
    """Train on token rows with a checkpoint every epoch (at least ten in a run)."""
    per_epoch = max(1, math.ceil(len(rows) / settings.batch_size))
    total = max(1, math.ceil(per_epoch * settings.epochs))
    result = fit(
        model,
        rows,
        out=out,
        steps=total,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup=0.05,
        schedule="linear",
        seed=seed,
        save_every=max(1, min(per_epoch, total // 10)),
        collate=collate,
        label="selector",
    )
    model.eval()
    return {"steps": result.steps, "loss": result.train_loss, "resumed_from": result.resumed_from}


def by_length(rows: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Places of rows in batches of similar length."""
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def clipped(tokens: Sequence[int], limit: int) -> list[int]:
    """The last `limit` tokens: the options and the mention are never cut before the clues."""
    return list(tokens[-limit:])
