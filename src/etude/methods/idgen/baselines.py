"""Recommenders without training: popularity, and item-kNN by cosine of co-occurrence.

Each gives scores of all items after a history; higher is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Scorer: TypeAlias = Callable[[Sequence[Sequence[int]]], NDArray[np.float64]]
"""From histories of item numbers, oldest first, to scores, (histories, items)."""


def popularity(train: Sequence[Sequence[int]], items: int) -> Scorer:
    """Score items by how often they occur in the training histories.

    Args:
        train: Item numbers per user.
        items: How many items there are.
    """
    counts = np.bincount(
        np.concatenate([np.asarray(h, dtype=np.int64) for h in train]), minlength=items
    ).astype(np.float64)

    def score(histories: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        return np.tile(counts, (len(histories), 1))

    return score


def item_knn(
    train: Sequence[Sequence[int]], items: int, *, neighbors: int = 100, decay: float = 0.8
) -> Scorer:
    """Score items by the cosine of their users with those of the history's items (Sarwar et al. 2001).

    Args:
        train: Item numbers per user.
        items: How many items there are.
        neighbors: Keep so many similar items of each item.
        decay: Weight of the item before the last, and so on back; 1 counts all items of a history the same.
    """
    pairs = np.array(
        sorted({(user, item) for user, history in enumerate(train) for item in history}), dtype=np.int64
    )
    used = csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(train), items))
    norms = np.sqrt(np.asarray(used.power(2).sum(0)).ravel())
    together = (used.T @ used).tocoo()
    other = together.row != together.col
    rows, columns = together.row[other], together.col[other]
    cosine = together.data[other] / (norms[rows] * norms[columns])
    kept = _strongest(rows, cosine, neighbors)
    similar = csr_matrix((cosine[kept], (rows[kept], columns[kept])), shape=(items, items))

    def score(histories: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        entries = [
            (row, item, decay**age)
            for row, history in enumerate(histories)
            for age, item in enumerate(reversed(history))
        ]
        row, item, weight = (np.array(one) for one in zip(*entries, strict=True)) if entries else ([],) * 3
        wanted = csr_matrix((weight, (row, item)), shape=(len(histories), items))
        return np.asarray((wanted @ similar).todense(), dtype=np.float64)

    return score


def _strongest(rows: NDArray[np.int64], values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Places of the `most` largest values of each row."""
    order = np.lexsort((-values, rows))
    sorted_rows = rows[order]
    starts = np.searchsorted(sorted_rows, sorted_rows)
    return order[np.arange(len(order)) - starts < most]
