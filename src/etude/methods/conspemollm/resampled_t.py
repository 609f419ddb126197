"""The corrected resampled t-test: paired differences over folds whose training sets overlap.

Nadeau & Bengio 2003: the variance of the mean over J train/test splits is taken as (1/J + n_test/n_train)
times the sample variance, since the plain 1/J ignores that the splits share their training texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """A mean difference over splits.

    Args:
        mean: Mean of the differences.
        low: Lower end of the 95 % interval.
        high: Upper end.
        error: Corrected standard error.
        p_value: Two-sided.
        splits: How many differences.
    """

    mean: float
    low: float
    high: float
    error: float
    p_value: float
    splits: int

    @property
    def verdict(self) -> str:
        """`supported`, `not supported` (reliably worse) or `inconclusive`."""
        return "supported" if self.low > 0 else "not supported" if self.high < 0 else "inconclusive"

    def __str__(self) -> str:
        """As `+0.003 [-0.012, 0.018], corrected se 0.008, p 0.71`."""
        interval = f"[{self.low:.3f}, {self.high:.3f}]"
        return f"{self.mean:+.3f} {interval}, corrected se {self.error:.3f}, p {self.p_value:.2g}"


def corrected_resampled_t(differences: Sequence[float], test_share: float) -> PairedDifference:
    """Test a mean paired difference.

    Args:
        differences: One value for each split, two or more.
        test_share: Test texts per training text of a split: 1/4 for five folds.

    Returns:
        Mean, interval and p-value, from Student's t with J - 1 degrees of freedom.
    """
    from scipy.stats import t as student

    values = np.asarray(differences, dtype=float)
    count = len(values)
    mean = float(values.mean())
    if count < 2:
        return PairedDifference(mean, -np.inf, np.inf, np.inf, 1.0, count)
    error = float(np.sqrt((1 / count + test_share) * values.var(ddof=1)))
    reach = float(student.ppf(0.5 + LEVEL / 2, count - 1)) * error
    p_value = float(2 * student.sf(abs(mean) / error, count - 1)) if error else float(mean == 0)
    return PairedDifference(mean, mean - reach, mean + reach, error, p_value, count)
