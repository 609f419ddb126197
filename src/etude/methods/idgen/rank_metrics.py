"""HR@k and NDCG@k of one relevant item per user (section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etude.errors import EtudeError

NOT_FOUND = 0
"""Rank of a target that is not in the list."""


def rank_metrics(ranks: ArrayLike, ks: Sequence[int] = (5, 10)) -> dict[str, float]:
    """Means over users of HR@k and NDCG@k.

    Args:
        ranks: Place of each user's target, from 1; 0 where the list does not hold it, (users,).
        ks: Lengths of the list.

    Returns:
        `{"HR@5": …, "NDCG@5": …, …}`.

    Raises:
        EtudeError: There is no user, or a k is below 1.
    """
    found = np.asarray(ranks)
    if found.size == 0 or min(ks, default=0) < 1:
        raise EtudeError(f"{found.size} ranks at k {', '.join(map(str, ks))}", "Give ranks, and k from 1 on.")
    return {
        f"{name}@{k}": float(values.mean())
        for k in ks
        for name, values in (("HR", hits(found, k)), ("NDCG", gains(found, k)))
    }


def hits(ranks: ArrayLike, k: int) -> NDArray[np.float64]:
    """1 where the target is among the first k, else 0, (users,)."""
    found = np.asarray(ranks)
    return ((found >= 1) & (found <= k)).astype(np.float64)


def gains(ranks: ArrayLike, k: int) -> NDArray[np.float64]:
    """1 / log2(1 + rank) among the first k, else 0: with one relevant item the ideal is 1, (users,)."""
    found = np.asarray(ranks)
    return np.asarray(hits(found, k) / np.log2(1.0 + np.maximum(found, 1)), dtype=np.float64)


def ranks_of(targets: ArrayLike, lists: ArrayLike) -> NDArray[np.int64]:
    """Place of each target in its list, from 1; 0 where it is not in it.

    Items are compared by number, never by the strings of their ids.

    Args:
        targets: Item numbers, (users,).
        lists: Item numbers, best first; -1 where a list is shorter, (users, k).
    """
    wanted, offered = np.asarray(targets), np.asarray(lists)
    same = (offered == wanted[:, None]) & (wanted[:, None] >= 0)
    return np.where(same.any(1), same.argmax(1) + 1, NOT_FOUND).astype(np.int64)


def ranks_by_score(targets: ArrayLike, scores: ArrayLike) -> NDArray[np.int64]:
    """Place of each target when all items are sorted by score; ties count half against it, rounded down.

    A score of -inf takes an item out: a target with it is not found.

    Args:
        targets: Item numbers, (users,).
        scores: (users, items).
    """
    wanted, given = np.asarray(targets), np.asarray(scores)
    own = np.take_along_axis(given, np.maximum(wanted, 0)[:, None], 1)
    better, ties = (given > own).sum(1), (given == own).sum(1) - 1
    lost = (wanted < 0) | np.isneginf(own[:, 0])
    return np.where(lost, NOT_FOUND, 1 + better + ties // 2).astype(np.int64)
