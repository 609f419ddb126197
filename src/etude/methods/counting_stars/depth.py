"""Does a model lose the middle? A regression of hits on length and depth, with intervals that respect the
seeds.

Logistic regression of hit on length, depth and (depth - 1/2)². Two things keep it honest on small grids:
Firth's penalty (Biometrika 80:27, 1993) gives finite coefficients when depth separates hits from misses
perfectly, and the variance is clustered, because the stars of one seed share their haystack and their
numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Finding: TypeAlias = Literal[
    "lost in the middle", "better in the middle", "recency", "primacy", "no depth effect"
]
Floats: TypeAlias = NDArray[np.float64]

MOST_STEPS = 200
SMALLEST = 1e-6
"""Log-odds nearer to 0 than this are rounding, not an effect."""


@dataclass(frozen=True)
class Coefficient:
    """One coefficient of the regression with its 95 % interval, in log-odds."""

    value: float
    low: float
    high: float

    @property
    def speaks(self) -> bool:
        """Whether the interval excludes 0 (up to rounding)."""
        return self.low > SMALLEST or self.high < -SMALLEST


@dataclass(frozen=True)
class DepthEffect:
    """What depth does to hits.

    Args:
        finding: `lost in the middle` only if the quadratic coefficient's interval lies above 0 and the first
            and the last third of the context are both found more often than the middle third (a model that
            sees only the end bends the curve too, but does not lose the middle); otherwise what the linear
            coefficient says.
        linear: Log-odds from the beginning to the end of the context; None when nothing could be fitted.
        quadratic: Coefficient of (depth - 1/2)².
        length: Log-odds for each doubling of the length; None with a single length.
        clusters: Independent groups behind the intervals.
        clustered_by: `seed`, or `prompt` where there are fewer than five seeds.
        note: Why nothing could be fitted, if so.
    """

    finding: Finding
    linear: Coefficient | None
    quadratic: Coefficient | None
    length: Coefficient | None
    clusters: int
    clustered_by: Literal["seed", "prompt"]
    note: str = ""

    @property
    def speaks(self) -> bool:
        """Whether any effect of depth is reported."""
        return self.finding != "no depth effect"


def depth_effect(hits: Floats, depths: Floats, lengths: Floats, seeds: Sequence[int]) -> DepthEffect:
    """Regress hits on length and depth.

    Args:
        hits: 0 or 1 (or the credit in between) of each star, (stars,).
        depths: Depth of each star in [0, 1], (stars,).
        lengths: Tokens of each star's context, (stars,).
        seeds: Seed of each star's prompt.
    """
    hits, depths, lengths = (np.asarray(values, dtype=float) for values in (hits, depths, lengths))
    by_seed = len(set(seeds)) >= 5
    keys = list(seeds) if by_seed else list(zip(seeds, lengths.tolist(), strict=True))
    groups = np.unique(np.array([hash(key) for key in keys]), return_inverse=True)[1]
    count = int(groups.max()) + 1 if len(groups) else 0
    by: Literal["seed", "prompt"] = "seed" if by_seed else "prompt"

    def silent(note: str) -> DepthEffect:
        return DepthEffect("no depth effect", None, None, None, count, by, note)

    if len(hits) == 0 or np.ptp(hits) == 0:
        return silent("every star was found" if len(hits) and hits[0] else "no star was found")
    if count < 3:
        return silent("fewer than three prompts")
    if np.ptp(depths) < 0.2:
        return silent("the stars stand at almost the same depth")
    columns = [np.ones_like(hits), depths - 0.5, (depths - 0.5) ** 2]
    if np.ptp(lengths) > 0:
        doublings = np.log2(lengths)
        columns.append(doublings - doublings.mean())
    design = np.stack(columns, axis=1)
    beta, covariance = firth_logistic(design, hits, groups)
    from scipy.stats import t

    reach = float(t.ppf(0.975, count - 1)) * np.sqrt(np.diag(covariance))
    fitted = [Coefficient(float(b), float(b - r), float(b + r)) for b, r in zip(beta, reach, strict=True)]
    linear, quadratic = fitted[1], fitted[2]
    length = fitted[3] if len(fitted) > 3 else None
    return DepthEffect(_finding(linear, quadratic, hits, depths), linear, quadratic, length, count, by)


def _finding(linear: Coefficient, quadratic: Coefficient, hits: Floats, depths: Floats) -> Finding:
    thirds = np.digitize(depths, [1 / 3, 2 / 3])
    if quadratic.speaks and len(np.unique(thirds)) == 3:
        first, middle, last = (float(hits[thirds == third].mean()) for third in range(3))
        if quadratic.value > 0 and middle < min(first, last):
            return "lost in the middle"
        if quadratic.value < 0 and middle > max(first, last):
            return "better in the middle"
    if linear.speaks:
        return "recency" if linear.value > 0 else "primacy"
    return "no depth effect"


def firth_logistic(
    design: Floats, hits: Floats, groups: NDArray[np.intp], *, penalty: float = 1.0
) -> tuple[Floats, Floats]:
    """Penalized logistic regression with a cluster-robust covariance.

    Args:
        design: Covariates with a column of ones, (n, k).
        hits: Outcomes in [0, 1], (n,).
        groups: Cluster of each row, 0 to G-1, (n,).
        penalty: Weight of Firth's penalty; 0 gives plain maximum likelihood.

    Returns:
        Coefficients (k,) and their covariance (k, k): the sandwich of Liang and Zeger with the factor
        G/(G-1).
    """
    k = design.shape[1]
    beta = np.zeros(k)
    step_limit = 5.0
    for _ in range(MOST_STEPS):
        p, information, leverage = _state(design, beta)
        score = design.T @ (hits - p + penalty * leverage * (0.5 - p))
        step = np.linalg.solve(information, score)
        largest = np.abs(step).max()
        beta = beta + step * min(1.0, step_limit / largest if largest > 0 else 1.0)
        if largest < 1e-8:
            break
    p, information, leverage = _state(design, beta)
    residual = hits - p + penalty * leverage * (0.5 - p)
    scores = np.zeros((int(groups.max()) + 1, k))
    np.add.at(scores, groups, design * residual[:, None])
    bread = np.linalg.inv(information)
    clusters = len(scores)
    return beta, bread @ (scores.T @ scores) @ bread * clusters / (clusters - 1)


def _state(design: Floats, beta: Floats) -> tuple[Floats, Floats, Floats]:
    """Fitted probabilities (n,), information matrix (k, k) and leverages (n,)."""
    eta = np.clip(design @ beta, -30, 30)
    p = 1 / (1 + np.exp(-eta))
    weight = p * (1 - p)
    information = design.T @ (design * weight[:, None]) + 1e-10 * np.eye(design.shape[1])
    leverage = weight * np.einsum("ij,jk,ik->i", design, np.linalg.inv(information), design)
    return p, information, leverage
