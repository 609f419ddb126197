"""The table of results, the power law fitted to it, and where they are written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.evidence.evidence import finite
from etude.evidence.statistics import mean_interval
from etude.runs import atomic_path, write_json

SENSITIVITY = "sensitivity.parquet"
FITS = "fits.json"

_SCHEMA = {
    "map": str, "site": str, "head": int, "source": str, "n": int, "d": int, "k": int, "depth": int,
    "seed": int, "text_id": str, "position": int, "method": str, "radius": float, "value": float,
    "bound": float, "norm": float, "steps": int, "token_id": int, "token": str, "bound_kind": str,
    "typical": float,
}  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """A power law S ∝ axis^exponent, by least squares in log-log.

    Args:
        exponent: The slope, averaged over texts and seeds.
        low: Lower end of its 95 % bootstrap interval over texts and seeds; None with a single text and seed.
        high: Upper end.
        r2: Of the line through the mean logarithms.
        lengths: The values along the axis.
        means: Geometric mean of S at each.
        typical: Geometric mean of the typical (median random) change at each.
    """

    exponent: float
    low: float | None
    high: float | None
    r2: float
    lengths: tuple[int, ...]
    means: tuple[float, ...]
    typical: tuple[float, ...]

    @property
    def interval(self) -> str:
        """The interval as text."""
        return "–" if self.low is None or self.high is None else f"{self.low:.3f} to {self.high:.3f}"


def fit_power_law(lengths: Sequence[int], values: np.ndarray, typical: np.ndarray | None = None) -> Fit:
    """Fit log S against log of the axis.

    Args:
        lengths: Values along the axis, at least two different ones.
        values: S, (texts, seeds, lengths).
        typical: Typical changes, of the same shape.
    """
    logs = np.log(np.maximum(values, 1e-300))  # (texts, seeds, lengths)
    slopes = logs @ slope_weights(lengths)  # (texts, seeds)
    if slopes.shape[0] < 2:
        slopes = slopes.T  # one text: the seeds are what varies independently
    low, high = mean_interval(slopes.T)
    mean = logs.mean((0, 1))
    exponent = float(slopes.mean())
    axis = np.log(np.asarray(lengths, dtype=float))
    residual = mean - mean.mean() - exponent * (axis - axis.mean())
    total = float(np.square(mean - mean.mean()).sum())
    r2 = 1.0 - float(np.square(residual).sum()) / total if total > 0 else 1.0
    usual = np.exp(np.log(np.maximum(typical, 1e-300)).mean((0, 1))) if typical is not None else ()
    return Fit(
        exponent,
        float(low) if np.isfinite(low) else None,
        float(high) if np.isfinite(high) else None,
        r2,
        tuple(lengths),
        tuple(map(float, np.exp(mean))),
        tuple(map(float, usual)),
    )


def slope_weights(lengths: Sequence[int]) -> np.ndarray:
    """The weights whose product with log S is its least-squares slope against log n, (lengths,)."""
    axis = np.log(np.asarray(lengths, dtype=float))
    centered = axis - axis.mean()
    weights: np.ndarray = centered / np.square(centered).sum()
    return weights


def best_per_text(rows: Sequence[Mapping[str, Any]], axis: str, column: str = "value") -> np.ndarray:
    """The largest value over positions, as (texts, seeds, values along the axis)."""
    texts = sorted({row["text_id"] for row in rows})
    seeds = sorted({row["seed"] or 0 for row in rows})
    points = sorted({row[axis] for row in rows})
    best = np.full((len(texts), len(seeds), len(points)), -np.inf)
    for row in rows:
        at = texts.index(row["text_id"]), seeds.index(row["seed"] or 0), points.index(row[axis])
        best[at] = max(best[at], row[column])
    return best


def fit_rows(rows: Sequence[Mapping[str, Any]], axis: str) -> Fit | None:
    """The power law of a table's rows along an axis, or None with a single point."""
    points = sorted({row[axis] for row in rows})
    if len(points) < 2:
        return None
    return fit_power_law(points, best_per_text(rows, axis), best_per_text(rows, axis, "typical"))


def write_results(folder: Path, rows: Sequence[Mapping[str, Any]], fits: Mapping[str, Fit | None]) -> None:
    """Write `sensitivity.parquet` and `fits.json`."""
    write_table(folder / SENSITIVITY, rows, _SCHEMA)
    write_json(folder / FITS, finite({name: asdict(fit) for name, fit in fits.items() if fit is not None}))


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], schema: Mapping[str, type]) -> None:
    """Write rows as Parquet, in one step, with columns of these types (absent values are null)."""
    import polars as pl

    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=dict(schema))
    with atomic_path(path) as temporary:
        frame.write_parquet(temporary)


@contextmanager
def folder_of(out: Path | None) -> Iterator[Path]:
    """The user's folder, or one that vanishes."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / "run"
