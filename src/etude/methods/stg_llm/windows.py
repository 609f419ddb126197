"""Windows over a panel by index: splits in time, scaling by training rows, and batches gathered from one
resident tensor.

A window is named by the row it starts at: its input is rows [s, s + L), its targets are rows [s + L, s + L +
P), and the forecast is issued at row s + L - 1. No window is ever copied ahead of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from etude.errors import EtudeError
from etude.methods.stg_llm.panel import SensorPanel

Fill = Literal["none", "forward", "linear"]


@dataclass(frozen=True)
class Split:
    """Rows of a panel cut in time (paper: 6:2:2); a window belongs where its *targets* lie.

    Attributes:
        first: First training row (later than 0 in few-shot runs).
        train_end, val_end, total: Rows [first, train_end) train, [train_end, val_end) validate, [val_end,
            total) test.
        history, horizon: L and P.
    """

    first: int
    train_end: int
    val_end: int
    total: int
    history: int
    horizon: int

    def train(self) -> NDArray[np.int64]:
        """Starts of the windows that lie within the training rows."""
        return np.arange(self.first, self.train_end - self.history - self.horizon + 1)

    def validation(self) -> NDArray[np.int64]:
        """Starts of the windows whose targets lie within the validation rows (their input may reach back)."""
        return np.arange(self.train_end - self.history, self.val_end - self.history - self.horizon + 1)

    def test(self) -> NDArray[np.int64]:
        """Starts of the windows whose targets lie within the test rows."""
        return np.arange(self.val_end - self.history, self.total - self.history - self.horizon + 1)


def split_rows(
    total: int,
    history: int,
    horizon: int,
    *,
    ratio: tuple[float, float] = (0.6, 0.2),
    samples: int | None = None,
) -> Split:
    """Cut `total` rows in time; with `samples`, keep only the most recent training windows.

    Raises:
        EtudeError: With fewer than (L + P)·5 rows, or fewer training windows than samples.
    """
    if history < 1 or horizon < 1:
        raise EtudeError(f"history {history} and horizon {horizon}", "both are numbers of steps, at least 1")
    if total < (history + horizon) * 5:
        raise EtudeError(
            f"{total} time steps are too few for {history} steps in and {horizon} out",
            f"at least {(history + horizon) * 5} are needed",
        )
    train_end = int(total * ratio[0])
    split = Split(0, train_end, int(total * (ratio[0] + ratio[1])), total, history, horizon)
    if samples is None:
        return split
    available = len(split.train())
    if not 1 <= samples <= available:
        raise EtudeError(
            f"{samples} samples asked for, {available} training windows are there", f"give 1 to {available}"
        )
    return Split(available - samples, train_end, split.val_end, total, history, horizon)


def evenly_spaced(starts: NDArray[np.int64], count: int | None) -> NDArray[np.int64]:
    """At most `count` of the starts, from the first to the last at equal distance."""
    if count is None or count >= len(starts):
        return starts
    chosen: NDArray[np.int64] = starts[np.linspace(0, len(starts) - 1, count).round().astype(int)]
    return chosen


@dataclass(frozen=True)
class Scaler:
    """z-scores with the mean and deviation of training rows: one pair a feature, or one a node and feature.

    Attributes:
        mean, std: (1, F) over all nodes, or (N, F) per node.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def fit(cls, panel: SensorPanel, split: Split, *, per_node: bool) -> Scaler:
        """Statistics of the observed values in the training rows only."""
        rows = panel.rows(split.first, split.train_end)
        seen = np.where(rows.observed, rows.values, np.nan).astype(np.float64)
        empty = np.asarray(np.isnan(seen[:, :, 0]).all(axis=0))
        if per_node and empty.any():
            names = ", ".join([n for n, e in zip(panel.nodes, empty, strict=True) if e][:20])
            raise EtudeError(
                f"no measurement in the training rows for node {names}", "drop them, or scale over all nodes"
            )
        axes: Any = 0 if per_node else (0, 1)
        mean, std = np.nanmean(seen, axis=axes), np.nanstd(seen, axis=axes)
        if not per_node:
            mean, std = mean[None], std[None]
            if std[0, 0] == 0:
                raise EtudeError("every training value is the same", "there is nothing to learn from")
        return cls(mean, np.where(std > 0, std, 1.0))

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., N, F) in units to z-scores."""
        return ((values - self.mean) / self.std).astype(np.float32)

    def restore(self, prediction: NDArray[np.float32]) -> NDArray[np.float32]:
        """(W, P, N) z-scores of feature 0 back to units."""
        return (prediction * self.std[:, 0] + self.mean[:, 0]).astype(np.float32)


class Windows:
    """A scaled panel as resident tensors, and batches gathered from it.

    Args:
        panel: Values (T, N, F) in units.
        scaler: Fitted on training rows.
        history, horizon: L and P.
        slots_per_day: Rows of the time-of-day table.
        fill: What stands in the place of a missing input: zero after scaling (`none`), the last value
            (`forward`), or a line between neighbors (`linear`). Only values up to the issue time are ever
            used; targets are never filled.
        mask_feature: Add one feature: 1 where the value was observed.
        prompts: (T, M) prompt token ids of a forecast issued at each row, (M,) one for all, or None.
    """

    def __init__(
        self,
        panel: SensorPanel,
        scaler: Scaler,
        *,
        history: int,
        horizon: int,
        slots_per_day: int,
        fill: Fill = "none",
        mask_feature: bool = False,
        prompts: NDArray[np.int64] | None = None,
    ):
        observed = panel.observed
        scaled = np.where(observed, scaler.apply(panel.values), np.nan)
        self.panel, self.scaler, self.history, self.horizon = panel, scaler, history, horizon
        self.slots_per_day = slots_per_day
        self.target = torch.from_numpy(scaled[:, :, 0].copy())  # (T, N), NaN where unknown
        self.held = torch.from_numpy(hold(scaled))  # (T, N, F), last value so far, 0 before the first
        self.input = torch.from_numpy(np.nan_to_num(scaled)) if fill == "none" else self.held
        self.line: Tensor | None = None
        self.line_ready: Tensor | None = None
        if fill == "linear":
            self.line, self.line_ready = (torch.from_numpy(a) for a in interpolate(scaled))
        self.seen = torch.from_numpy(observed[:, :, :1].astype(np.float32)) if mask_feature else None
        self.slot = torch.from_numpy(panel.slots(slots_per_day))
        self.weekday = torch.from_numpy(panel.weekdays())
        self.ids = prompts
        self.prompts = None if prompts is None else torch.from_numpy(prompts)

    def inputs(self, starts: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """The inputs of `STGForecaster`: window (B, L, N, F), slot (B,), weekday (B,) and prompt_ids if there
        are prompts.
        """
        first = torch.as_tensor(starts, dtype=torch.long)
        issued = first + self.history - 1
        rows = first[:, None] + torch.arange(self.history)
        window = self.input[rows]
        if (
            self.line is not None and self.line_ready is not None
        ):  # a line may not use a neighbor after the issue time
            window = torch.where(
                self.line_ready[rows] <= issued[:, None, None, None], self.line[rows], window
            )
        if self.seen is not None:
            window = torch.cat([window, self.seen[rows]], dim=-1)
        batch = {"window": window, "slot": self.slot[issued], "weekday": self.weekday[issued]}
        if self.prompts is not None:
            batch["prompt_ids"] = self.prompts if self.prompts.ndim == 1 else self.prompts[issued]
        return batch

    def batch(self, starts: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """`inputs` and `target` (B, P, N), NaN where the truth is missing."""
        first = torch.as_tensor(starts, dtype=torch.long)
        return {
            **self.inputs(starts),
            "target": self.target[first[:, None] + self.history + torch.arange(self.horizon)],
        }

    def truth(self, starts: NDArray[np.int64]) -> NDArray[np.float32]:
        """(W, P, N) feature 0 in units; NaN where nothing was measured or the panel ends, nulls left as they
        were written.
        """
        rows = starts[:, None] + self.history + np.arange(self.horizon)
        values = self.panel.values[:, :, 0]
        inside = rows < len(values)
        return np.where(inside[:, :, None], values[np.minimum(rows, len(values) - 1)], np.float32(np.nan))


class WindowStarts(Dataset[int]):
    """A dataset whose items are only row numbers; `Windows.batch` is its collate function."""

    def __init__(self, starts: NDArray[np.int64]):
        self.starts = starts

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> int:
        return int(self.starts[index])


def hold(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, ...) with each NaN replaced by the last value before it, or 0 (the mean, after scaling) where there
    is none.
    """
    rows = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows), axis=0)
    held = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= 0, held, np.float32(0.0))


def interpolate(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Lines across the gaps, and for each cell the row from which its line may be drawn (that of the next
    value; T if none follows).
    """
    total = len(values)
    rows = np.arange(total).reshape(-1, *[1] * (values.ndim - 1))
    missing = np.isnan(values)
    before = np.maximum.accumulate(np.where(missing, -1, rows), axis=0)
    after = np.minimum.accumulate(np.where(missing, total, rows)[::-1], axis=0)[::-1]
    left = np.take_along_axis(values, np.maximum(before, 0), axis=0)
    right = np.take_along_axis(values, np.minimum(after, total - 1), axis=0)
    inner = (before >= 0) & (after < total)
    share = np.where(inner, (rows - before) / np.maximum(after - before, 1), 0.0)
    line = np.where(inner, left + share * (right - left), 0.0).astype(np.float32)
    return line, np.where(inner, after, total).astype(np.int64)
