"""Does the labeller favor systems that are like itself? Rank under gold minus rank under labels, run by run.

A run that shares a model with the labeller is marked; the lift is how many more ranks the marked runs gain
under the labels than the others do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray

from etude.evidence import Interval
from etude.methods.relevance.system_ranking import SystemRanking


@dataclass(frozen=True)
class RankShift:
    """One run under one measure.

    Args:
        run: Its name.
        measure: The measure.
        gold_rank: Its rank with gold, from 1.
        label_rank: Its rank with labels.
        gain: Gold rank minus label rank: positive when the labels favor it.
        shares_model: Whether it shares a model with the labeller.
    """

    run: str
    measure: str
    gold_rank: int
    label_rank: int
    gain: int
    shares_model: bool


@dataclass(frozen=True)
class Circularity:
    """The report of one measure.

    Args:
        measure: The measure.
        shifts: One for each run, in the order of the gold ranking.
        lift: Mean gain of the marked runs minus mean gain of the others, with its interval over queries;
            None when no run, or every run, is marked.
    """

    measure: str
    shifts: list[RankShift]
    lift: Interval | None


def circularity(ranking: SystemRanking, shared: Sequence[str] = (), resamples: int = 999) -> Circularity:
    """The circularity report of a ranking.

    Args:
        ranking: Systems under gold and labels.
        shared: Names or patterns (`minilm*`) of runs that share a model with the labeller, in any case.
        resamples: Of the bootstrap over queries.
    """
    gold, labels = ranking.rank_pairs()
    marked = np.array([shares_model(run, shared) for run in ranking.runs])
    shifts = [
        RankShift(run, ranking.measure, gold[run], labels[run], gold[run] - labels[run], bool(mark))
        for run, mark in zip(ranking.runs, marked, strict=True)
    ]
    lift = None
    if 0 < marked.sum() < len(marked):
        everything = np.arange(len(ranking.queries))
        value = _lift(ranking, marked, everything)
        lift = Interval(value, -np.inf, np.inf)
        if len(everything) > 1:
            index = np.random.default_rng(0).integers(len(everything), size=(resamples, len(everything)))
            low, high = np.percentile([_lift(ranking, marked, i) for i in index], [2.5, 97.5])
            lift = Interval(value, float(low), float(high))
    return Circularity(ranking.measure, sorted(shifts, key=lambda s: (s.gold_rank, s.run)), lift)


def shares_model(run: str, shared: Sequence[str]) -> bool:
    """Whether a run's name fits one of the patterns."""
    return any(fnmatch(run.lower(), pattern.strip().lower()) for pattern in shared)


def _lift(ranking: SystemRanking, marked: NDArray[np.bool_], queries: NDArray[np.int64]) -> float:
    from scipy.stats import rankdata

    gold = rankdata(np.round(-ranking.gold[:, queries].mean(1), 12))
    gain = gold - rankdata(np.round(-ranking.labels[:, queries].mean(1), 12))
    return float(gain[marked].mean() - gain[~marked].mean())
