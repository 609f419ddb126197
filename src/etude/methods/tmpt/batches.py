"""Which posts are in which batch: similar lengths together, and never a batch of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

NEARBY = 50  # batches of shuffled posts that are sorted by length together


def epoch_batches(
    rows: Sequence[int], size: int, rng: np.random.Generator, lengths: NDArray[np.int64] | None = None
) -> list[list[int]]:
    """One epoch: every row once, shuffled; with lengths, batches of similar ones in random order.

    Args:
        rows: Row numbers.
        size: Of a batch. A last batch of a single row, over which batch norm cannot normalize, joins another.
        rng: Of the order.
        lengths: Of every row, by row number.
    """
    order = [int(i) for i in rng.permutation(np.asarray(rows))]
    batches: list[list[int]] = []
    for start in range(0, len(order), NEARBY * size):
        near = order[start : start + NEARBY * size]
        if lengths is not None:
            near.sort(key=lambda i: int(lengths[i]))
        batches += [near[at : at + size] for at in range(0, len(near), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    if lengths is not None:
        batches = [batches[i] for i in rng.permutation(len(batches))]
    return batches


class BatchPlan(Dataset[list[int]]):
    """All batches of a training, epoch after epoch, fixed by the seed: a resumed run sees the same ones.

    Args:
        rows: Training rows.
        size: Of a batch.
        epochs: How many.
        seed: Of the order.
        lengths: To sort by; None: no sorting.
    """

    def __init__(
        self, rows: Sequence[int], size: int, epochs: int, seed: int, lengths: NDArray[np.int64] | None = None
    ) -> None:
        rng = np.random.default_rng([seed, 1])
        by_epoch = [epoch_batches(rows, size, rng, lengths) for _ in range(epochs)]
        self.per_epoch = len(by_epoch[0])
        self.batches = [batch for epoch in by_epoch for batch in epoch]

    def __len__(self) -> int:
        """Batches in all."""
        return len(self.batches)

    def __getitem__(self, index: int) -> list[int]:
        """Rows of a batch."""
        return self.batches[index]
