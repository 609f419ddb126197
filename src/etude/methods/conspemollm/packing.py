"""Packing: several rows in one, positions counted anew for each, so that nothing is padded to the longest.

Attention stays within a row: transformers makes a block-diagonal mask where positions start again. The
language-model head is applied only where an answer's token is predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from etude.methods.conspemollm.prompts import IGNORED, Encoded


def pack(lengths: Sequence[int], budget: int, seed: int) -> list[list[int]]:
    """Put rows into packs of at most `budget` tokens: first fit, in random order.

    Args:
        lengths: Tokens of each row; a row longer than the budget gets a pack of its own.
        budget: Tokens of a pack.
        seed: Of the order.

    Returns:
        Row numbers of each pack; every row is in exactly one.
    """
    order = np.random.default_rng(seed).permutation(len(lengths))
    packs: list[list[int]] = []
    room: list[int] = []
    first_open = 0
    for row in map(int, order):
        fitting = next((at for at in range(first_open, len(packs)) if room[at] >= lengths[row]), None)
        if fitting is None:
            packs.append([row])
            room.append(budget - lengths[row])
        else:
            packs[fitting].append(row)
            room[fitting] -= lengths[row]
        while first_open < len(packs) and room[first_open] <= 0:
            first_open += 1
    return packs


class PackedRows(Dataset[list[Encoded]]):
    """Training rows as packs; an item is the list of a pack's rows."""

    def __init__(self, rows: Sequence[Encoded], budget: int, seed: int) -> None:
        self.rows = list(rows)
        self.packs = pack([len(row.ids) for row in rows], budget, seed)

    def __len__(self) -> int:
        """Packs."""
        return len(self.packs)

    def __getitem__(self, index: int) -> list[Encoded]:
        """The rows of a pack."""
        return [self.rows[row] for row in self.packs[index]]


def collate_packs(items: Sequence[Sequence[Encoded]]) -> dict[str, Tensor]:
    """Packs as one batch.

    Returns:
        `input_ids`, `position_ids`, `labels`, each (packs, longest pack). What fills a shorter pack is a row
        of its own without labels.
    """
    width = max(sum(len(row.ids) for row in rows) for rows in items)
    ids = torch.zeros(len(items), width, dtype=torch.long)
    positions = torch.zeros(len(items), width, dtype=torch.long)
    labels = torch.full((len(items), width), IGNORED)
    for at, rows in enumerate(items):
        start = 0
        for row in rows:
            end = start + len(row.ids)
            ids[at, start:end] = torch.tensor(row.ids)
            labels[at, start:end] = torch.tensor(row.labels)
            positions[at, start:end] = torch.arange(len(row.ids))
            start = end
        positions[at, start:] = torch.arange(width - start)
    return {"input_ids": ids, "position_ids": positions, "labels": labels}


class AnswerLoss(nn.Module):
    """A causal language model that returns the mean loss over answer tokens.

    Args:
        model: The language model, perhaps with adapters.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss in nats per answer token; all arguments (packs, tokens)."""
        targets = labels[:, 1:]
        counts = (targets != IGNORED).any(0).nonzero()[:, 0]  # columns that predict some answer's token
        logits = self.model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False, logits_to_keep=counts
        ).logits  # (packs, columns, vocabulary)
        loss = nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets[:, counts].flatten(), ignore_index=IGNORED
        )
        return {"loss": loss}


@torch.inference_mode()
def row_losses(model: Any, rows: Sequence[Encoded], *, budget: int = 2048) -> list[float]:
    """Mean loss over the answer's tokens of each row, in nats."""
    model.eval()
    device = next(model.parameters()).device
    losses = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row].ids))
    waiting = list(order)
    while waiting:
        chosen, total = [waiting.pop(0)], 0
        total = len(rows[chosen[0]].ids)
        while waiting and total + len(rows[waiting[0]].ids) <= budget:
            chosen.append(waiting.pop(0))
            total += len(rows[chosen[-1]].ids)
        batch = collate_packs([[rows[row] for row in chosen]])
        labels = batch.pop("labels")[0, 1:]
        kept = (labels != IGNORED).nonzero()[:, 0]
        logits = model(
            **{name: value.to(device) for name, value in batch.items()}, use_cache=False,
            logits_to_keep=kept.to(device),
        ).logits[0]  # fmt: skip
        each = nn.functional.cross_entropy(logits.float(), labels[kept].to(device), reduction="none").cpu()
        start = 0
        for row in chosen:
            size = sum(label != IGNORED for label in rows[row].labels)
            losses[row] = float(each[start : start + size].mean())
            start += size
    return losses
