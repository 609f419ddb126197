"""Rank-biased overlap (Webber, Moffat, Zobel 2010), extrapolated to the end of the list, ties included.

RBO(S, T, p) = (1 - p) sum_d p^(d-1) A_d + p^n A_n, with the agreement A_d = 2 |S_d & T_d| / (|S_d| + |T_d|);
S_d holds every item ranked d or better. Tied items share the best of their ranks, so a group enters together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

PERSISTENCE = 0.9
"""p where nothing else is said; the paper's is not known."""


def rbo(first: Mapping[str, float], second: Mapping[str, float], p: float = PERSISTENCE) -> float:
    """Overlap of two rankings of the same items by score (higher is better), weighted to the top.

    Args:
        first: Item to score.
        second: Item to score, over the same items.
        p: Persistence between 0 and 1: the share of readers who look at the next rank as well.

    Returns:
        1 for the same ranking, towards 0 for rankings whose tops are disjoint.

    Raises:
        ValueError: The items differ, there are none, or p is not within (0, 1).
    """
    if first.keys() != second.keys() or not first or not 0 < p < 1:
        raise ValueError("RBO compares two rankings of the same items, with 0 < p < 1")
    a, b = ranks(first), ranks(second)
    agreement = []
    for depth in range(1, len(first) + 1):
        s = {item for item, rank in a.items() if rank <= depth}
        t = {item for item, rank in b.items() if rank <= depth}
        agreement.append(2 * len(s & t) / (len(s) + len(t)))
    weights = (1 - p) * p ** np.arange(len(agreement))
    return float(weights @ np.array(agreement) + p ** len(agreement) * agreement[-1])


def ranks(scores: Mapping[str, float]) -> dict[str, int]:
    """Item to rank from 1, the highest score first; tied items share the best of their ranks."""
    from scipy.stats import rankdata

    places = rankdata([-score for score in scores.values()], method="min")
    return dict(zip(scores, (int(place) for place in places), strict=True))
