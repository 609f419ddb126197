"""What a forecaster has to beat: the last value, the usual value, and linear regressions.

Each function fits on training windows and returns a predictor from window starts to z-scores (W, P, N).
Regularization is chosen by mean absolute error on validation windows, never on test ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from etude.methods.stg_llm.windows import Split, Windows, evenly_spaced

Predictor: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float32]]
PENALTIES = tuple(10.0**power for power in range(-5, 3))  # per training row, on z-scored inputs
VALIDATION_WINDOWS = 400
CHUNK = 256


def persistence(windows: Windows, split: Split) -> Predictor:
    """The last observed value, for every step."""
    held = windows.held.numpy()[:, :, 0]

    def predict(starts: NDArray[np.int64]) -> NDArray[np.float32]:
        last = held[starts + windows.history - 1]
        return np.repeat(last[:, None], windows.horizon, axis=1)

    return predict


def historical_average(windows: Windows, split: Split) -> Predictor:
    """The training mean of each node at that slot of the week, if two whole weeks were seen, else of the day;
    its overall mean elsewhere.
    """
    slot, weekday = windows.slot.numpy(), windows.weekday.numpy()
    slots = int(slot.max()) + 1
    train = np.arange(split.first, split.train_end)
    target = windows.target.numpy()
    week = slot + slots * weekday
    weekly = np.bincount(week[train], minlength=int(week.max()) + 1).min() >= 2
    ahead = np.arange(windows.horizon)
    key = week if weekly else slot
    node_mean = _means(np.zeros(len(train), dtype=int), target[train], 1)[0]
    node_mean = np.where(np.isnan(node_mean), 0.0, node_mean)
    table = _means(key[train], target[train], int(key.max()) + 1)
    usual = np.where(np.isnan(table), node_mean, table).astype(np.float32)

    def predict(starts: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = starts[:, None] + windows.history + ahead
        forecast: NDArray[np.float32] = usual[_keys_of_rows(windows, rows, weekly, slots)]
        return forecast

    return predict


def _keys_of_rows(windows: Windows, rows: NDArray[np.int64], weekly: bool, slots: int) -> NDArray[np.int64]:
    """Slot of the day or week at rows that may lie beyond the panel's end."""
    slot, weekday = windows.slot.numpy(), windows.weekday.numpy()
    beyond = int(rows.max()) + 1 - len(slot)
    if beyond > 0:
        future = replace(windows.panel, times=windows.panel.future_times(beyond))
        slot = np.concatenate([slot, future.slots(windows.slots_per_day)])
        weekday = np.concatenate([weekday, future.weekdays()])
    return slot[rows] + slots * weekday[rows] if weekly else slot[rows]


def _means(key: NDArray[np.int64], values: NDArray[np.float32], keys: int) -> NDArray[np.float64]:
    """(keys, N) means of the known values by key; NaN where a key has none."""
    known = np.isfinite(values)
    total = np.zeros((keys, values.shape[1]))
    count = np.zeros((keys, values.shape[1]))
    np.add.at(total, key, np.where(known, values, 0.0))
    np.add.at(count, key, known)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def ridge_shared(windows: Windows, split: Split) -> Predictor:
    """One regression from a node's window to its next P values, shared by all nodes."""
    width = windows.history * windows.input.shape[2] + 1
    gram, cross = np.zeros((width, width)), np.zeros((width, windows.horizon))
    for x, y, known in _rows(windows, split.train()):
        kept = np.asarray(known.all(axis=2))
        a, b = x[kept], y[kept]
        gram += a.T @ a
        cross += a.T @ b
    return _best_penalty(windows, split, gram, cross, lambda x, w: x @ w)


def ridge_per_node(windows: Windows, split: Split) -> Predictor:
    """One such regression a node."""
    nodes, width = windows.input.shape[1], windows.history * windows.input.shape[2] + 1
    gram, cross = np.zeros((nodes, width, width)), np.zeros((nodes, width, windows.horizon))
    for x, y, known in _rows(windows, split.train()):
        kept = x * np.asarray(known.all(axis=2))[:, :, None]
        gram += np.einsum("wni,wnj->nij", kept, kept, optimize=True)
        cross += np.einsum("wni,wnp->nip", kept, y, optimize=True)
    return _best_penalty(
        windows, split, gram, cross, lambda x, w: np.einsum("wni,nip->wnp", x, w, optimize=True)
    )


def var_ridge(windows: Windows, split: Split) -> Predictor:
    """Vector autoregression: every node's future from every node's window. Unknown targets are taken as
    unchanged from the last value.
    """
    last = persistence(windows, split)
    nodes, horizon = windows.input.shape[1], windows.horizon
    width = windows.history * windows.input.shape[2] * nodes + 1
    gram, cross = np.zeros((width, width)), np.zeros((width, nodes * horizon))
    for start, (x, y, known) in zip(_chunks(split.train()), _rows(windows, split.train()), strict=True):
        a = _all_nodes(x)
        b = np.where(known, y, last(start).transpose(0, 2, 1)).reshape(len(x), -1)
        gram += a.T @ a
        cross += a.T @ b
    return _best_penalty(
        windows, split, gram, cross, lambda x, w: (_all_nodes(x) @ w).reshape(len(x), nodes, horizon)
    )


BASELINES: dict[str, Callable[[Windows, Split], Predictor]] = {
    "persistence": persistence,
    "historical-average": historical_average,
    "ridge-shared": ridge_shared,
    "ridge-per-node": ridge_per_node,
    "var-ridge": var_ridge,
}


def _chunks(starts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [starts[i : i + CHUNK] for i in range(0, len(starts), CHUNK)]


def _rows(
    windows: Windows, starts: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]]:
    """In chunks: inputs with a 1 (W, N, L·F + 1), targets (W, N, P), which targets are known."""
    for part in _chunks(starts):
        y = windows.batch(part)["target"].numpy().transpose(0, 2, 1).astype(np.float64)
        known = np.isfinite(y)
        yield _inputs(windows, part), np.where(known, y, 0.0), known


def _inputs(windows: Windows, starts: NDArray[np.int64]) -> NDArray[np.float64]:
    window = windows.inputs(starts)["window"][..., : windows.input.shape[2]].numpy().astype(np.float64)
    x = window.transpose(0, 2, 1, 3).reshape(len(starts), window.shape[2], -1)
    return np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)


def _all_nodes(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(W, N, L·F + 1) to (W, N·L·F + 1): all windows side by side and one constant."""
    return np.concatenate([x[:, :, :-1].reshape(len(x), -1), np.ones((len(x), 1))], axis=1)


def _best_penalty(
    windows: Windows,
    split: Split,
    gram: NDArray[np.float64],
    cross: NDArray[np.float64],
    apply: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> Predictor:
    """Solve for every penalty from one eigendecomposition of the Gram matrix, keep the best on validation
    windows.
    """
    value, vector = np.linalg.eigh(gram)
    turned = np.swapaxes(vector, -1, -2) @ cross
    rows = gram[..., -1, -1].mean()  # the constant's square sum counts the rows
    checks = evenly_spaced(split.validation(), VALIDATION_WINDOWS)
    truth = windows.batch(checks)["target"].numpy().transpose(0, 2, 1)
    x = _inputs(windows, checks)
    best_error, best = np.inf, None
    for penalty in PENALTIES:
        weights = vector @ (turned / (np.maximum(value, 0.0) + penalty * rows)[..., None])
        error = float(np.nanmean(np.abs(apply(x, weights) - truth)))
        if error < best_error:
            best_error, best = error, weights
    assert best is not None
    chosen = best

    def predict(starts: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = [apply(_inputs(windows, part), chosen) for part in _chunks(starts)]
        return np.concatenate(parts).transpose(0, 2, 1).astype(np.float32)

    return predict
