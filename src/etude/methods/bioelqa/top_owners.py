"""From scored names to the best entities: an entity counts with its best name, ties go to the smaller id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Top:
    """The best owners of one query, best first.

    Args:
        owners: Places of entities (or of training pairs), (found,).
        scores: Their scores, (found,).
        rows: The name that gave each score, (found,).
    """

    owners: np.ndarray
    scores: np.ndarray
    rows: np.ndarray

    def floor(self, n: int) -> float:
        """The score that a further owner must reach; 0 while fewer than n were found."""
        return float(self.scores[n - 1]) if len(self.scores) >= n else 0.0


def best_owners_of_rows(
    owners: np.ndarray,
    rows: np.ndarray,
    names: np.ndarray,
    scores: np.ndarray,
    wanted: np.ndarray,
    n: int,
) -> list[Top]:
    """The n best owners of each query row among scored (row, name) pairs with a positive score.

    Args:
        owners: Name to owner, of all names.
        rows: Query row of each pair.
        names: Name of each pair.
        scores: Score of each pair.
        wanted: The query rows to answer for, ascending.
        n: How many owners.
    """
    positive = scores > 0
    rows, names, scores = rows[positive], names[positive], scores[positive]
    owned = owners[names]
    order = np.lexsort((names, owned, -scores, rows))  # row, then score, then owner, then name
    rows, names, scores, owned = rows[order], names[order], scores[order], owned[order]
    keys = rows * (int(owners.max(initial=0)) + 1) + owned
    _, first = np.unique(keys, return_index=True)
    first.sort()
    rows, names, scores, owned = rows[first], names[first], scores[first], owned[first]
    begins = np.searchsorted(rows, wanted)
    ends = np.minimum(np.searchsorted(rows, wanted, side="right"), begins + n)
    return [Top(owned[b:e], scores[b:e], names[b:e]) for b, e in zip(begins, ends, strict=True)]


def merge_tops(parts: Sequence[Top], n: int) -> Top:
    """The n best owners over several parts of one vocabulary (blocks, shards)."""
    owned = np.concatenate([part.owners for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    names = np.concatenate([part.rows for part in parts])
    order = np.lexsort((names, owned, -scores))
    _, first = np.unique(owned[order], return_index=True)
    picked = order[np.sort(first)[:n]]
    return Top(owned[picked], scores[picked], names[picked])
