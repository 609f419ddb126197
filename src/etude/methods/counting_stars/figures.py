"""The pictures: star × length heat maps on one color scale, depth curves, means by length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from etude.methods.counting_stars.summary import ModelSummary
from etude.render import new_figure

DEPTH_BINS = 10


def heat_maps(stars: pl.DataFrame, column: str, titles: Sequence[tuple[str, str, str]]) -> Any:
    """One heat map for each (model, task, language), star index upward, length to the right, all on the scale
    0 to 1.

    Args:
        stars: The stars' table.
        column: `score_official` or `score`.
        titles: The (model, task, language) triples, in order.
    """
    columns = min(len(titles), 3)
    rows = -(-len(titles) // columns)
    figure, axes = new_figure(3.4 * columns + 1.2, 3.2 * rows, nrows=rows, ncols=columns, squeeze=False)
    image = None
    for axis, key in zip(axes.flat, titles, strict=False):
        lengths, grid = heat_map(stars, column, *key)
        image = axis.imshow(
            grid, vmin=0, vmax=1, aspect="auto", origin="lower", cmap="viridis", interpolation="nearest"
        )
        axis.set_title(_title(key, titles), fontsize=9)
        shown = np.unique(np.linspace(0, len(lengths) - 1, min(len(lengths), 6)).round().astype(int))
        axis.set_xticks(shown, [_short(lengths[i]) for i in shown])
        axis.set_yticks(*_star_ticks(grid.shape[0]))
        axis.set_xlabel("context length")
        axis.set_ylabel("star")
        axis.grid(visible=False)
    for axis in axes.flat[len(titles) :]:
        axis.set_axis_off()
    if image is not None:
        figure.colorbar(image, ax=axes, label="score", shrink=0.8)
    return figure


def heat_map(
    stars: pl.DataFrame, column: str, model: str, task: str, lang: str
) -> tuple[list[int], np.ndarray]:
    """Mean score over seeds of each star at each length.

    Returns:
        The lengths (ascending), and the means, (stars, lengths); NaN where a context has no such star.
    """
    chosen = stars.filter(pl.col("model") == model, pl.col("task") == task, pl.col("lang") == lang)
    lengths = sorted(chosen["length"].unique().to_list())
    most: Any = chosen["star"].max()
    grid = np.full((int(most) + 1, len(lengths)), np.nan)
    for length, star, mean in chosen.group_by("length", "star").agg(pl.col(column).mean()).iter_rows():
        grid[star, lengths.index(length)] = mean
    return lengths, grid


def depth_curves(stars: pl.DataFrame, column: str, titles: Sequence[tuple[str, str, str]]) -> Any:
    """Mean score against depth in tenths of the context, one line for each (model, task, language)."""
    figure, axis = new_figure(6.4, 3.4)
    for key in titles:
        middles, means = depth_curve(stars, column, *key)
        axis.plot(middles, means, marker="o", markersize=3.5, label=_title(key, titles))
    axis.set(
        xlabel="depth (0: beginning of the context, 1: next to the question)",
        ylabel="score",
        ylim=(-0.03, 1.03),
    )
    axis.legend(fontsize=8)
    return figure


def depth_curve(
    stars: pl.DataFrame, column: str, model: str, task: str, lang: str
) -> tuple[list[float], list[float]]:
    """Middles of the occupied tenths of depth, and the mean score within each."""
    chosen = stars.filter(pl.col("model") == model, pl.col("task") == task, pl.col("lang") == lang)
    tenth = (pl.col("depth") * DEPTH_BINS).floor().clip(0, DEPTH_BINS - 1).cast(pl.Int64).alias("tenth")
    means = chosen.group_by(tenth).agg(pl.col(column).mean()).sort("tenth")
    return [(tenth + 0.5) / DEPTH_BINS for tenth in means["tenth"]], means[column].to_list()


def length_curves(summaries: Sequence[ModelSummary]) -> Any:
    """Mean score against length with its interval, one line for each model, task and language; chance
    dotted.
    """
    figure, axis = new_figure(6.4, 3.4)
    titles = [(s.model, s.task, s.lang) for s in summaries]
    for summary, key in zip(summaries, titles, strict=True):
        lengths = list(summary.by_length)
        scores = list(summary.by_length.values())
        [line] = axis.plot(
            lengths, [s.mean for s in scores], marker="o", markersize=3.5, label=_title(key, titles)
        )
        if all(s.low is not None for s in scores):
            axis.fill_between(
                lengths, [s.low for s in scores], [s.high for s in scores], color=line.get_color(), alpha=0.15
            )
        axis.axhline(summary.chance, color=line.get_color(), linestyle=":", linewidth=0.8)
    axis.set(xlabel="context length", ylabel="score", ylim=(-0.03, 1.03))
    if len({length for s in summaries for length in s.by_length}) > 1:
        axis.set_xscale("log", base=2)
        ticks = sorted({length for s in summaries for length in s.by_length})
        ticks = [
            ticks[i]
            for i in np.unique(np.linspace(0, len(ticks) - 1, min(len(ticks), 7)).round().astype(int))
        ]
        axis.set_xticks(ticks, [_short(tick) for tick in ticks])
        axis.minorticks_off()
    axis.legend(fontsize=8)
    return figure


def _title(key: tuple[str, str, str], keys: Sequence[tuple[str, str, str]]) -> str:
    """The model's name, with task and language only where they differ."""
    model, task, lang = key
    parts = [model.removeprefix("instrument/")]
    parts += [task] if len({k[1] for k in keys}) > 1 else []
    parts += [lang] if len({k[2] for k in keys}) > 1 else []
    return ", ".join(parts)


def _short(length: int) -> str:
    return f"{length / 1000:g}k" if length >= 1000 else str(length)


def _star_ticks(stars: int) -> tuple[list[int], list[str]]:
    step = max(1, -(-stars // 8))
    shown = list(range(step - 1, stars, step))
    return shown, [str(star + 1) for star in shown]
