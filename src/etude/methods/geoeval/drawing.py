"""The picture of a solution as SVG and PNG: lines, circles, labels kept off the lines, what is given marked.

Deterministic: the same solution gives the same bytes. A picture is drawn only if it realizes all facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import Points
from etude.methods.geoeval.marks import Mark, marks_of
from etude.methods.geoeval.page_layout import drawn_lines, fit, unit_vector, upright
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.quantities import Array
from etude.methods.geoeval.realiser import Solution

FONT = 15
LABEL = 17
TOLERANCE = 1e-3
_INK, _GIVEN, _ASKED = "#1b1b1b", "#0b5394", "#c2410c"
_DIRECTIONS = 24
_DIMENSION = 24.0


@dataclass(frozen=True)
class Shape:
    """One drawn thing, in picture coordinates (y grows downwards).

    Args:
        kind: `line`, `circle`, `arc`, `dot` or `text`.
        points: Corners (n, 2): of a line, a polyline of an arc, the place of a dot or of a text's middle.
        text: Of a text.
        color: Of the stroke or the letters.
        size: Radius of a circle or dot, height of letters, width of a stroke.
    """

    kind: str
    points: Array
    text: str = ""
    color: str = _INK
    size: float = 1.6


@dataclass
class Drawing:
    """A picture: its size and its things in drawing order."""

    width: float
    height: float
    shapes: list[Shape] = field(default_factory=list)

    def svg(self) -> str:
        """The picture as a self-contained SVG document; every text is escaped."""
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:.0f}" height="{self.height:.0f}" '
            f'viewBox="0 0 {self.width:.0f} {self.height:.0f}" font-family="DejaVu Sans, Arial, sans-serif">',
            '<rect width="100%" height="100%" fill="white"/>',
        ]
        for shape in self.shapes:
            x, y = shape.points[0]
            if shape.kind == "line":
                path = " ".join(f"{a:.1f},{b:.1f}" for a, b in shape.points)
                lines.append(
                    f'<polyline points="{path}" fill="none" stroke="{shape.color}" '
                    f'stroke-width="{shape.size:.1f}" stroke-linejoin="round"/>'
                )
            elif shape.kind == "circle":
                lines.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{shape.size:.1f}" fill="none" '
                    f'stroke="{shape.color}" stroke-width="1.6"/>'
                )
            elif shape.kind == "dot":
                lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{shape.size:.1f}" fill="{shape.color}"/>')
            else:
                lines.append(
                    f'<text x="{x:.1f}" y="{y:.1f}" font-size="{shape.size:.0f}" fill="{shape.color}" '
                    f'text-anchor="middle" dominant-baseline="central">{escape(shape.text)}</text>'
                )
        return "\n".join([*lines, "</svg>\n"])

    def png(self, scale: float = 2.0) -> bytes:
        """The picture as PNG."""
        from io import BytesIO

        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import Circle

        figure = Figure(figsize=(self.width / 100, self.height / 100), dpi=100 * scale, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.axis("off")
        for shape in self.shapes:
            x, y = shape.points[0]
            points = 0.72 * shape.size
            if shape.kind == "line":
                axes.plot(*shape.points.T, color=shape.color, linewidth=points, solid_joinstyle="round")
            elif shape.kind in ("circle", "dot"):
                filled = shape.kind == "dot"
                style = {"fill": filled, "color": shape.color, "linewidth": 0 if filled else 1.15}
                axes.add_patch(Circle(shape.points[0], shape.size, **style))
            else:
                axes.text(
                    float(x),
                    float(y),
                    shape.text.replace("$", r"\$"),
                    color=shape.color,
                    fontsize=points,
                    ha="center",
                    va="center_baseline",
                )
        out = BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
        return out.getvalue()


def render_drawing(problem: Problem, solution: Solution) -> Drawing:
    """Draw a solved problem.

    Args:
        problem: Whose facts are marked: given lengths, angles, right angles, equal sides.
        solution: A certified solution of it.

    Raises:
        EtudeError: The solution has no coordinates, or does not realize the facts within 1e-3.
    """
    if not solution.coordinates or solution.certificate.residual > TOLERANCE:
        raise EtudeError(
            f"problem {problem.problem_id}: no picture ({solution.status}: {solution.certificate.reason})",
            "Only a problem whose facts can be realized can be drawn.",
        )
    segments = list(drawn_lines(problem))
    coordinates, circles = upright(problem, solution, segments)
    names = list(coordinates)
    places = fit(np.array([coordinates[n] for n in names]), circles)
    at = dict(zip(names, places.points, strict=True))
    drawing = Drawing(places.width, places.height)
    drawing.shapes += [Shape("line", np.array([at[first], at[second]])) for first, second in segments]
    rings = [(places.map(np.array([center]))[0], radius * places.scale) for center, radius in circles]
    drawing.shapes += [Shape("circle", center[None], size=radius) for center, radius in rings]
    drawn = sorted(_named_points(problem) & set(names))
    centers = {c.arguments[0].letters for c in problem.facts if c.name == "IsCentreOfCircle"}  # type: ignore[union-attr]
    for name in drawn:
        if name in centers or not any(name in segment for segment in segments):
            drawing.shapes.append(Shape("dot", at[name][None], size=2.6))
    marks = marks_of(problem, solution)
    middle = np.mean(list(at.values()), axis=0)
    strokes = [stroke for mark in marks for stroke in _strokes(mark, at, middle)]
    drawing.shapes += strokes
    lines = [(at[a], at[b]) for a, b in segments]
    lines += [(start, end) for stroke in strokes for start, end in pairwise(stroke.points)]
    obstacles = _obstacles(lines, rings, [at[n] for n in drawn])
    labels = _Labels(drawing, obstacles)
    for name in drawn:
        labels.write(name, at[name], 13.0, LABEL, _INK)
    for mark in marks:
        _caption(mark, at, middle, labels)
    return drawing


def _named_points(problem: Problem) -> set[str]:
    """Points that the picture shows: on lines and circles, and stated centers."""
    names: set[str] = set()
    for fact in problem.construction:
        for i, group in enumerate(fact.arguments):
            if isinstance(group, Points):
                circle = (fact.name == "Cocircular" and i == 0) or (
                    fact.name == "Shape" and len(group.letters) == 3
                )
                names |= set(group.letters[1:] if circle else group.letters)
    for fact in problem.facts:
        if fact.name == "IsCentreOfCircle":
            names |= set(fact.arguments[0].letters)  # type: ignore[union-attr]
    return names


def _obstacles(
    lines: Sequence[tuple[Array, Array]], rings: Sequence[tuple[Array, float]], dots: Sequence[Array]
) -> Array:
    """Points along everything drawn, (n, 2), dense enough to keep labels off."""
    pieces = [np.array(dots).reshape(-1, 2)]
    for start, end in lines:
        steps = max(2, int(np.linalg.norm(end - start) / 4))
        pieces.append(start + np.linspace(0, 1, steps)[:, None] * (end - start))
    for center, radius in rings:
        turn = np.linspace(0, 2 * np.pi, max(24, int(radius * 1.5)))
        pieces.append(center + radius * np.column_stack([np.cos(turn), np.sin(turn)]))
    return np.concatenate(pieces)


def _box(middle: Array, text: str, size: float) -> Array:
    """(left, top, right, bottom) of a text."""
    half = np.array([0.31 * size * len(text) + 1.0, 0.52 * size])
    return np.concatenate([middle - half, middle + half])


class _Labels:
    """Places texts one after the other, off everything that is already there."""

    def __init__(self, drawing: Drawing, obstacles: Array) -> None:
        self.drawing = drawing
        self.obstacles = obstacles
        self.placed: list[Array] = []

    def write(
        self, text: str, around: Array, distance: float, size: float, color: str, way: Array | None = None
    ) -> None:
        """Put a text at the least crowded place around a point.

        Args:
            text: The text.
            around: The point, (2,).
            distance: How far off, at least.
            size: Height of the letters.
            color: Of the letters.
            way: The direction that is preferred among equally free ones, (2,).
        """
        best: tuple[float, float] | None = None
        spot = around
        near = self.obstacles[np.abs(self.obstacles - around).max(1) < 90 + distance]
        for reach in distance + np.array([0.0, 5.0, 11.0, 18.0, 28.0]):
            for turn in np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False):
                heading = np.array([np.cos(turn), np.sin(turn)])
                middle = around + reach * (1 + 0.3 * (len(text) - 1) * abs(heading[0])) * heading
                room = min(float(np.abs(near - middle).max(1).min(initial=30.0)), 30.0)
                taste = 0.7 * reach - 0.25 * room - (0.0 if way is None else 8.0 * float(heading @ way))
                crowd = self._crowding(_box(middle, text, size), near)
                if best is None or (crowd, taste) < best:
                    best, spot = (crowd, taste), middle
        self.placed.append(_box(spot, text, size))
        self.drawing.shapes.append(Shape("text", spot[None], text, color=color, size=size))

    def _crowding(self, box: Array, near: Array) -> float:
        """How much is in a box's way: 0 is free."""
        left, top, right, bottom = box
        inside = (near[:, 0] > left) & (near[:, 0] < right) & (near[:, 1] > top) & (near[:, 1] < bottom)
        crowd = float(inside.sum())
        for other in self.placed:
            wide = min(right, other[2]) - max(left, other[0])
            high = min(bottom, other[3]) - max(top, other[1])
            if wide > 0 and high > 0:
                crowd += 6.0 + wide * high / 10
        outside = max(
            0.0, 2 - left, 2 - top, right - self.drawing.width + 2, bottom - self.drawing.height + 2
        )
        return crowd + 20 * float(outside)


def _strokes(mark: Mark, at: dict[str, Array], middle: Array) -> Iterator[Shape]:
    """The lines of a mark: ticks, the square of a right angle, the arc of an angle, a dimension line."""
    color = _ASKED if mark.asked else _GIVEN
    if mark.kind == "length" and mark.spans:
        start, end = at[mark.points[0]], at[mark.points[1]]
        outward = _outward(start, end, middle)
        yield Shape("line", np.array([start, end]) + _DIMENSION * outward, color=color, size=0.9)
        for corner in (start, end):
            ends = corner + np.outer([_DIMENSION - 5, _DIMENSION + 5], outward)
            yield Shape("line", ends, color=color, size=0.9)
    elif mark.kind == "ticks":
        start, end = at[mark.points[0]], at[mark.points[1]]
        along = unit_vector(end - start)
        across = np.array([-along[1], along[0]])
        for i in range(mark.count):
            middle = (start + end) / 2 + along * 5 * (i - (mark.count - 1) / 2)
            yield Shape("line", np.array([middle - 6 * across, middle + 6 * across]), color=_GIVEN)
    elif mark.kind in ("right", "angle"):
        a, b, c = (at[p] for p in mark.points)
        u, v = unit_vector(a - b), unit_vector(c - b)
        shorter = float(min(np.linalg.norm(a - b), np.linalg.norm(c - b)))
        if mark.kind == "right":
            size = min(11.0, 0.35 * shorter)
            yield Shape("line", b + size * np.array([u, u + v, v]), color=_GIVEN, size=1.2)
        else:
            begin, sweep = _swept(u, v)
            turns = begin + np.linspace(0, 1, 24) * sweep
            size = min(24.0, 0.4 * shorter)
            yield Shape(
                "line", b + size * np.column_stack([np.cos(turns), np.sin(turns)]), color=color, size=1.2
            )


def _caption(mark: Mark, at: dict[str, Array], middle: Array, labels: _Labels) -> None:
    """The text of a mark: a length beside its line, outwards; an angle inside its arc."""
    if not mark.text:
        return
    color = _ASKED if mark.asked else _GIVEN
    if mark.kind == "length":
        start, end = at[mark.points[0]], at[mark.points[1]]
        outward = _outward(start, end, middle)
        beside = (start + end) / 2 + (_DIMENSION * outward if mark.spans else 0.0)
        labels.write(mark.text, beside, 12.0, FONT, color, outward)
        return
    a, b, c = (at[p] for p in mark.points)
    begin, sweep = _swept(unit_vector(a - b), unit_vector(c - b))
    way = np.array([np.cos(begin + sweep / 2), np.sin(begin + sweep / 2)])
    shorter = float(min(np.linalg.norm(a - b), np.linalg.norm(c - b)))
    distance = shorter + 15.0 if mark.kind == "arc" else min(24.0, 0.4 * shorter) + 13.0
    labels.write(mark.text, b + distance * way, 2.5, FONT, color, way)


def _outward(start: Array, end: Array, middle: Array) -> Array:
    """The direction across a line that leads away from the middle of the picture."""
    along = unit_vector(end - start)
    across = np.array([along[1], -along[0]])
    return across if across @ ((start + end) / 2 - middle) >= 0 else -across


def _swept(u: Array, v: Array) -> tuple[float, float]:
    """Where the turn from v to u begins and how far it sweeps; y grows downwards, so it falls."""
    begin, end = np.arctan2(v[1], v[0]), np.arctan2(u[1], u[0])
    return float(begin), -float((begin - end) % (2 * np.pi))
