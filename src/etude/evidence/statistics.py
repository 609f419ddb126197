"""The statistics behind a verdict, by `scipy.stats`: bootstrap interval, sign-flip permutation test, Holm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 9999
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; the interval is infinite where nothing is known of it."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As `0.512 [0.471, 0.553]`."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson_interval(successes: int, trials: int) -> Interval | None:
    """A share with Wilson's 95 % interval; None of nothing."""
    if not trials:
        return None
    from scipy.stats import binomtest

    found = binomtest(successes, trials).proportion_ci(method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high))


def bootstrap_interval(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
    groups: int,
    seeds: int = 1,
    *,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over two crossed factors: units (or clusters) and seeds.

    Both are resampled, independently of each other, so that the interval speaks of new documents *and* new
    seeds. With one seed only the groups are resampled.

    Args:
        statistic: From resampled group indices (resamples, groups) and seed indices (resamples, seeds) to
            values (resamples,).
        groups: How many independent groups there are. With fewer than two nothing is known: the interval is
            infinite.
        seeds: How many seeds there are.
        resamples: How many resamples.

    Returns:
        The 2.5 and 97.5 percent points.
    """
    if groups < 2:
        return -np.inf, np.inf
    from scipy.stats import bootstrap

    def evaluate(*index: np.ndarray, axis: int) -> np.ndarray:
        rows = [np.moveaxis(np.asarray(i), axis, -1) for i in index]
        flat = [r.reshape(-1, r.shape[-1]) for r in rows]
        one_seed = np.zeros((len(flat[0]), 1), dtype=int)
        return statistic(flat[0], flat[1] if len(flat) > 1 else one_seed).reshape(rows[0].shape[:-1])

    found = bootstrap(
        (np.arange(groups),) if seeds < 2 else (np.arange(groups), np.arange(seeds)),
        evaluate,
        n_resamples=resamples,
        batch=500,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def mean_interval(differences: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Bootstrap interval of the (weighted) mean of paired differences, over groups and seeds.

    Args:
        differences: One value per seed and independent group, (seeds, groups).
        weights: How many units each group stands for, (groups,); equal by default.

    Returns:
        The 2.5 and 97.5 percent points of the mean.
    """
    seeds, groups = differences.shape
    w = np.ones(groups) if weights is None else weights

    def mean(group: np.ndarray, seed: np.ndarray) -> np.ndarray:
        picked = differences[seed[:, :, None], group[:, None, :]].mean(1)
        return np.asarray((picked * w[group]).sum(-1) / w[group].sum(-1))

    return bootstrap_interval(mean, groups, seeds)


def sign_flip_p_value(differences: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Two-sided paired permutation test: are positive and negative differences exchangeable?

    Exact when 2^items is at most the number of resamples, else by random sign flips.

    Args:
        differences: One value per independent item, (items,).
        weights: As in `mean_interval`.

    Returns:
        The p-value; 1 when every difference is zero.
    """
    w = np.ones_like(differences) if weights is None else weights
    values = differences * w
    if not np.any(values):
        return 1.0
    from scipy.stats import permutation_test

    found = permutation_test(
        (values,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        n_resamples=RESAMPLES,
        batch=1000,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test: are the discordant pairs split evenly?

    Args:
        only_first: Pairs in which only the first is right.
        only_second: Pairs in which only the second is right.
    """
    if only_first + only_second == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_second).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the given order (Holm 1979): family-wise error at most the level."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return [float(p) for p in adjusted]
