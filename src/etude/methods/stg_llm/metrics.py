"""MAE, RMSE and MAPE in the data's units: over the horizon, at single steps, with and without nulls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAMES = ("MAE", "RMSE", "MAPE")
REPORTED_STEPS = (3, 6, 12)


@dataclass(frozen=True)
class Scores:
    """The three errors over a set of forecasts.

    Attributes:
        MAE, RMSE: In the data's units; None without a single truth.
        MAPE: In percent; None where it is undefined because a truth of zero is counted.
        cells: How many truths were counted.
        left_out: How many were masked: never measured, or the null value.
        zeros: Truths of zero among those counted; MAPE has no value there.
    """

    MAE: float | None
    RMSE: float | None
    MAPE: float | None
    cells: int
    left_out: int
    zeros: int


def scores(
    prediction: NDArray[np.float32],
    truth: NDArray[np.float32],
    *,
    null: float | None = None,
    masked: bool = True,
) -> Scores:
    """Errors over all cells of two equal arrays.

    Args:
        prediction: In units, any shape.
        truth: Of the same shape; NaN was never measured and never counts.
        null: The value that stands for missing.
        masked: Leave out truths equal to `null`, and zeros from MAPE; otherwise both count, and MAPE is None
            with a zero.
    """
    counted = np.isfinite(truth)
    if masked and null is not None:
        counted &= truth != np.float32(null)
    y, error = truth[counted].astype(np.float64), (prediction[counted] - truth[counted]).astype(np.float64)
    zero = y == 0
    if not len(y):
        return Scores(None, None, None, 0, truth.size, 0)
    with np.errstate(over="ignore"):
        ratio = np.abs(error[~zero] / y[~zero])
    undefined = not len(ratio) or (zero.any() and not masked)
    return Scores(
        MAE=float(np.abs(error).mean()),
        RMSE=float(np.sqrt(np.square(error).mean())),
        MAPE=None if undefined else float(100 * ratio.mean()),
        cells=len(y),
        left_out=truth.size - len(y),
        zeros=int(zero.sum()),
    )


def score_table(
    prediction: NDArray[np.float32], truth: NDArray[np.float32], *, null: float | None = None
) -> dict[str, dict[str, Scores]]:
    """`masked` and `unmasked`, each `average` over the horizon and at steps 3, 6 and 12 where the horizon has
    them.

    Args:
        prediction: (W, P, N) in units.
        truth: Of the same shape.
        null: The value that stands for missing.
    """
    horizon = truth.shape[1]
    cuts = {"average": slice(None)} | {f"step {s}": slice(s - 1, s) for s in REPORTED_STEPS if s <= horizon}
    return {
        name: {
            cut: scores(prediction[:, part], truth[:, part], null=null, masked=masked)
            for cut, part in cuts.items()
        }
        for name, masked in (("masked", True), ("unmasked", False))
    }


def window_mae(
    prediction: NDArray[np.float32], truth: NDArray[np.float32], *, null: float | None = None
) -> NDArray[np.float64]:
    """(W,) mean absolute error of each window, in units; NaN for a window without any truth."""
    counted = np.isfinite(truth) if null is None else np.isfinite(truth) & (truth != np.float32(null))
    error = np.where(counted, np.abs(prediction.astype(np.float64) - truth), 0.0)
    cells = counted.sum(axis=(1, 2))
    return np.where(cells > 0, error.sum(axis=(1, 2)) / np.maximum(cells, 1), np.nan)
