"""Rows of different lengths in one tensor: every block takes and gives `(x, lengths)`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """True where a row has content, (B, size)."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def pad_rows(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack rows (length, ...) with zeros behind the shorter ones.

    Returns:
        (B, longest, ...), lengths (B,).
    """
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True), lengths
