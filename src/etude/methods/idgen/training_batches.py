"""Batches of near-equal length, each a function of the seed and its number, for every epoch of a run.

The trainer asks for batches by number, so that a run that was killed goes on with the batches it would have
had. In each epoch rows are drawn and shuffled anew, sorted by length within pools, and grouped; the trainer
takes the groups of all epochs in a random order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

IGNORED = -100
"""Label of padding, which has no loss."""
_POOL = 8  # batches among which rows are sorted by length


class EpochBatches(Dataset[dict[str, Tensor]], ABC):
    """Batches of some epochs; a subclass says what rows an epoch has.

    Args:
        epochs: Passes.
        batch_size: Rows of a batch.
        seed: Of order and sampling.
    """

    def __init__(self, *, epochs: int, batch_size: int, seed: int) -> None:
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed
        self._drawn: dict[int, list[NDArray[np.int64]]] = {}
        self.per_epoch = len(self.groups(0))

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """An epoch's rows as numbers that describe them, (rows, any), and their lengths, (rows,).

        The number of rows must be the same in every epoch.
        """

    @abstractmethod
    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """The model's input for some rows, (rows, any)."""

    def groups(self, epoch: int) -> list[NDArray[np.int64]]:
        """The rows of each batch of an epoch."""
        if epoch not in self._drawn:
            generator = np.random.default_rng((self.seed, epoch))
            rows, lengths = self.draw(generator)
            groups = length_groups(lengths, self.batch_size, generator)
            self._drawn[epoch] = [rows[group] for group in groups]
        return self._drawn[epoch]

    def __len__(self) -> int:
        """Batches of all epochs."""
        return self.epochs * self.per_epoch

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Batch `number`, counted over all epochs."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        epoch, group = divmod(number, self.per_epoch)
        return self.batch(self.groups(epoch)[group])


def length_groups(
    lengths: NDArray[np.int64], batch_size: int, generator: np.random.Generator, pool: int = _POOL
) -> list[NDArray[np.int64]]:
    """Row numbers in groups of near-equal length.

    Args:
        lengths: Of the rows, (rows,).
        batch_size: Rows of a group; the last may be smaller.
        generator: Shuffles the rows first.
        pool: Groups among which rows are sorted.
    """
    order = generator.permutation(len(lengths))
    groups: list[NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * pool):
        part = order[start : start + batch_size * pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        groups += [part[at : at + batch_size] for at in range(0, len(part), batch_size)]
    return groups


def pad_rows(rows: Sequence[Sequence[int]], value: int, *, left: bool = False) -> tuple[Tensor, Tensor]:
    """Rows of unequal length as one tensor.

    Returns:
        Int64 (rows, longest), and 1 where there is a token, 0 where padding.
    """
    longest = max(map(len, rows))
    tokens = np.full((len(rows), longest), value, dtype=np.int64)
    mask = np.zeros_like(tokens)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(0, len(row))
        tokens[number, place] = row
        mask[number, place] = 1
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def only(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Collate for `fit`: each item already is a batch."""
    (batch,) = batches
    return batch
