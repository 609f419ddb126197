"""The pictures: sensitivity along an axis, and errors after context modification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.methods.word_sensitivity.results import Fit
from etude.render import new_figure
from etude.render.plots import COLORS, png
from etude.runs import atomic_path


def curve_figure(fits: Mapping[str, Fit], axis: str, *, quantity: str = "word sensitivity") -> Any:
    """Sensitivity against an axis, log-log, one color a map; dashed: the median over random Δ.

    Args:
        fits: Name to fit.
        axis: Name of the axis.
        quantity: Name of the other axis.
    """
    figure, axes = new_figure(6.0, 3.8)
    for color, (name, fit) in zip(COLORS * 3, fits.items(), strict=False):
        label = f"{name}: {axis}^{fit.exponent:.2f}"
        axes.plot(fit.lengths, fit.means, "o-", color=color, ms=4, label=label)
        if fit.typical:
            axes.plot(fit.lengths, fit.typical, "--", color=color, lw=1, alpha=0.7)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({length for fit in fits.values() for length in fit.lengths})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel=axis, ylabel=f"{quantity} (dashed: typical)")
    axes.legend(fontsize=8)
    return figure


def errors_figure(groups: Mapping[str, Sequence[tuple[float, float]]]) -> Any:
    """Error against γ after context modification, one color a group, with the curve (2 - γ)² of the bound.

    Args:
        groups: Name to (γ, error) of every text.
    """
    import numpy as np

    figure, axes = new_figure(5.6, 3.6)
    for color, (name, points) in zip(COLORS * 3, groups.items(), strict=False):
        axes.plot(*zip(*points, strict=True), "o", color=color, ms=4, label=name)
    gamma = np.linspace(0, 2, 100)
    axes.plot(gamma, (2 - gamma) ** 2, color="0.4", lw=1, label="(2 - γ)²")
    axes.set(xlabel="γ: change of the old prediction", ylabel="error on the modified text")
    axes.legend(fontsize=8)
    return figure


def save_png(path: Path, figure: Any) -> None:
    """Write a figure as PNG, in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png(figure))
