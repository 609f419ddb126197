"""Forecasts to look at: lines with past, truth and prediction, and the network with each node's coming
change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from etude.data import read_frame
from etude.errors import EtudeError
from etude.methods.stg_llm.panel import SensorPanel, time_name
from etude.methods.stg_llm.windows import Windows
from etude.render import Block, Figure, TableBlock, Text, figure_style, new_figure, save_page

LINES = 6


def lines_figure(
    panel: SensorPanel,
    windows: Windows,
    start: int,
    prediction: NDArray[np.float32],
    nodes: list[int],
    *,
    past: int | None = None,
) -> Any:
    """One small plot a node: the past, the truth where it is known, and the forecast.

    Args:
        panel: Values in units.
        windows: For history and horizon.
        start: The window's first row.
        prediction: (P, N) in units.
        nodes: Which nodes.
        past: Steps of the past to draw; three histories by default.
    """
    issued = start + windows.history - 1
    first = max(0, issued + 1 - (past or 3 * windows.history))
    columns = min(3, len(nodes))
    rows = -(-len(nodes) // columns)
    figure, axes = new_figure(
        2.9 * columns, 1.9 * rows, nrows=rows, ncols=columns, squeeze=False, sharex=True
    )
    before, ahead = np.arange(first, issued + 1), np.arange(issued + 1, issued + 1 + windows.horizon)
    inside = ahead[ahead < len(panel.times)]
    with figure_style():
        for axis, node in zip(axes.flat, nodes, strict=False):
            axis.plot(before - issued, panel.values[before, node, 0], color="0.45", label="past")
            if len(inside):
                truth = np.concatenate([[panel.values[issued, node, 0]], panel.values[inside, node, 0]])
                axis.plot(np.arange(len(truth)), truth, color="black", linewidth=1, label="truth")
            axis.plot(ahead - issued, prediction[:, node], color="#D55E00", linewidth=2, label="prediction")
            axis.axvline(0, color="0.8", linewidth=1, zorder=0)
            axis.set_title(panel.nodes[node])
        for axis in axes.flat[len(nodes) :]:
            axis.set_visible(False)
        axes[0, 0].legend(fontsize=8)
        figure.supxlabel(f"steps from {time_name(panel.times[issued])}", fontsize=9)
        if panel.units:
            figure.supylabel(panel.units, fontsize=9)
    return figure


def map_figure(
    panel: SensorPanel,
    windows: Windows,
    start: int,
    prediction: NDArray[np.float32],
    places: NDArray[np.float64],
) -> Any:
    """The network at the end of the horizon: color is the forecast change since now; beside it the true
    change, if known.

    Args:
        panel: Values in units.
        windows: For history and horizon, and the last known values.
        start: The window's first row.
        prediction: (P, N) in units.
        places: (N, 2) coordinates.
    """
    issued = start + windows.history - 1
    now = windows.scaler.restore(windows.held[issued, :, 0].numpy()[None, None])[0, 0]
    changes = {"prediction": prediction[-1] - now}
    if issued + windows.horizon < len(panel.times):
        changes["truth"] = panel.values[issued + windows.horizon, :, 0] - now
    bound = max(float(np.nanmax(np.abs(np.stack(list(changes.values()))))), 1e-6)
    figure, axes = new_figure(3.4 * len(changes), 3.0, ncols=len(changes), squeeze=False)
    with figure_style():
        for axis, (name, change) in zip(axes[0], changes.items(), strict=True):
            if panel.graph is not None:
                ends = np.stack([places[panel.graph.source], places[panel.graph.target]], axis=1)
                axis.plot(*ends.transpose(2, 1, 0), color="0.85", linewidth=0.5, zorder=0)
            drawn = axis.scatter(
                *places.T,
                c=change,
                cmap="RdBu_r",
                vmin=-bound,
                vmax=bound,
                s=28,
                edgecolors="0.4",
                linewidths=0.3,
            )
            axis.set_title(f"{name}: change in {windows.horizon} steps")
            axis.set_axis_off()
        figure.colorbar(drawn, ax=list(axes[0]), shrink=0.7, label=panel.units)
    return figure


def place_nodes(panel: SensorPanel, stations: Path | None = None) -> NDArray[np.float64] | None:
    """(N, 2) coordinates: from a table node,lat,lon, else from the graph's Laplacian; None without either.

    Raises:
        EtudeError: If the table lacks a column or a node.
    """
    if stations is not None:
        frame = read_frame(stations)
        if not {"node", "lat", "lon"} <= set(frame.columns):
            raise EtudeError(
                f"{stations}: the columns are {', '.join(frame.columns)}", "a station table has node,lat,lon"
            )
        lat, lon = (frame[c].cast(pl.Float64, strict=False).to_list() for c in ("lat", "lon"))
        known = {
            n: (x, y) for n, x, y in zip(frame["node"].to_list(), lon, lat, strict=True) if None not in (x, y)
        }
        absent = [n for n in panel.nodes if n not in known]
        if absent:
            raise EtudeError(
                f"{stations}: no place for node {', '.join(absent[:10])}", "give every node lat and lon"
            )
        return np.array([known[n] for n in panel.nodes])
    if panel.graph is None or not len(panel.graph.source):
        return None
    count = len(panel.nodes)
    weight = np.zeros((count, count))
    weight[panel.graph.source, panel.graph.target] = np.abs(panel.graph.weight)
    weight = np.maximum(weight, weight.T)
    np.fill_diagonal(weight, 0.0)
    weight += 1e-3 / count  # ties separate parts of the network together
    scale = 1 / np.sqrt(weight.sum(axis=1))
    _, vector = np.linalg.eigh(np.eye(count) - scale[:, None] * weight * scale)
    return np.asarray(vector[:, 1:3] * scale[:, None])


def most_telling(
    panel: SensorPanel, start: int, windows: Windows, prediction: NDArray[np.float32], count: int = LINES
) -> list[int]:
    """Nodes whose forecast moves most against their usual spread; the others are mostly flat lines."""
    issued = start + windows.history - 1
    now = windows.scaler.restore(windows.held[issued, :, 0].numpy()[None, None])[0, 0]
    move = np.abs(prediction - now).max(axis=0) / (np.nanstd(panel.values[:, :, 0], axis=0) + 1e-9)
    return [int(n) for n in np.argsort(-move, kind="stable")[:count]]


def forecast_page(
    path: Path,
    panel: SensorPanel,
    windows: Windows,
    starts: NDArray[np.int64],
    prediction: NDArray[np.float32],
    *,
    places: NDArray[np.float64] | None = None,
) -> None:
    """A page on the last forecast: lines of the nodes that move most, the map, the numbers.

    Args:
        path: HTML to write.
        panel: Values in units.
        windows: Where the inputs came from.
        starts: (W,) window starts.
        prediction: (W, P, N) in units.
        places: Coordinates for the map.
    """
    start, last = int(starts[-1]), prediction[-1]
    issued = start + windows.history - 1
    nodes = most_telling(panel, start, windows, last)
    when = time_name(panel.times[issued])
    blocks: list[Block] = [
        Text(
            f"Issued {when}: the next {windows.horizon} steps at {len(panel.nodes)} nodes. "
            "Drawn: those that move most."
        ),
        Figure(
            lines_figure(panel, windows, start, last, nodes), alt="Past, truth and prediction of single nodes"
        ),
    ]
    if places is not None:
        alt = "The network, colored by the change to come"
        blocks.append(Figure(map_figure(panel, windows, start, last, places), alt=alt))
    rows = [
        [
            panel.nodes[n],
            float(panel.values[issued, n, 0]),
            *[float(last[s, n]) for s in (0, windows.horizon - 1)],
        ]
        for n in nodes
    ]
    blocks.append(
        TableBlock(["node", "now", "next step", f"step {windows.horizon}"], rows, caption=panel.units)
    )
    save_page(path, "stg-llm forecast", [("Forecast", blocks)])
