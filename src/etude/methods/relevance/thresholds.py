"""Where grades begin on a scorer's scale: fitted on some queries' gold, reported on the others'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.relevance.agreement import weighted_kappa

CANDIDATES = 40
"""Quantiles of the scores that are tried as thresholds."""


def split_queries(queries: Iterable[str], share: float = 0.5, seed: int = 0) -> tuple[set[str], set[str]]:
    """Queries in two disjoint parts: one to choose on, one to report on.

    Args:
        queries: Ids.
        share: Of the first part.
        seed: Which queries.

    Raises:
        EtudeError: There are fewer than two queries.
    """
    ordered = sorted(set(queries))
    if len(ordered) < 2:
        raise EtudeError(
            "gold of one query cannot be split", "Choosing and reporting need two or more queries."
        )
    mixed = [ordered[i] for i in np.random.default_rng(seed).permutation(len(ordered))]
    first = min(max(round(len(mixed) * share), 1), len(mixed) - 1)
    return set(mixed[:first]), set(mixed[first:])


def fit_thresholds(scores: NDArray[np.float64], gold: Sequence[int], highest: int) -> list[float]:
    """The ascending thresholds with the best unweighted kappa of the grades.

    Args:
        scores: (pairs,).
        gold: Grades from 0 to `highest`, (pairs,).
        highest: The highest grade; this many thresholds are fitted.

    Raises:
        EtudeError: The gold has one grade only, or the scores are all alike.
    """
    grades = np.asarray(gold, dtype=np.int64)
    candidates = np.unique(np.quantile(scores, np.linspace(0, 1, CANDIDATES + 2)[1:-1]))
    if len(set(grades.tolist())) < 2 or len(candidates) < 2:
        raise EtudeError(
            "nothing to fit: the gold has one grade, or all scores are alike", "Give more varied gold."
        )
    if highest > 3:
        raise EtudeError(f"grades up to {highest}", "Map them to at most four grades with --grade-map.")
    every_pair = np.ones((1, len(grades)))
    best: tuple[float, tuple[Any, ...]] = (-2.0, ())
    for chosen in combinations_with_replacement(candidates, highest):
        found = np.searchsorted(chosen, scores, side="right")
        value = float(weighted_kappa(grades, found, every_pair)[0])
        if value > best[0]:
            best = (value, chosen)
    return [float(threshold) for threshold in best[1]]
