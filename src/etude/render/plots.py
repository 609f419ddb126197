"""One plot style: readable at phone width, colors that the color-blind can tell apart, text kept as text."""

from __future__ import annotations

import io
from typing import Any

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B8A200")
"""Okabe-Ito colors, in the order in which arms are drawn."""

_STYLE: Any = {
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar sign in data is a dollar sign
    "svg.hashsalt": "etude",
    "figure.dpi": 120,
}


def figure_style() -> Any:
    """The shared style, as a context manager."""
    import matplotlib
    from cycler import cycler

    return matplotlib.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=COLORS)})


def new_figure(width: float = 5.6, height: float = 3.4, **subplots: Any) -> tuple[Any, Any]:
    """A figure and its axes in the shared style, without a window or global state.

    Text is never read as TeX (a dollar sign in data is a dollar sign), so a logarithmic axis needs plain tick
    labels: `axes.xaxis.set_major_formatter("{x:g}")`.

    Args:
        width: In inches.
        height: In inches.
        **subplots: Passed to `Figure.subplots`, e.g. `ncols=2`.

    Returns:
        `(figure, axes)`; `axes` is one axes or an array of them.
    """
    from matplotlib.figure import Figure

    with figure_style():
        figure = Figure(figsize=(width, height))
        return figure, figure.subplots(**subplots)


def svg(figure: Any) -> str:
    """The figure as an `<svg>` element: same figure, same bytes."""
    buffer = io.StringIO()
    with figure_style():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Any) -> bytes:
    """The figure as PNG bytes on white."""
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(buffer, format="png", facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
