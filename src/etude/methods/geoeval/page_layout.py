"""Where a picture's points go on the page: figures level and side by side, scaled, y downwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from etude.methods.geoeval.cdl import Points
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.quantities import Array
from etude.methods.geoeval.realiser import Solution

WIDTH = 480
PADDING = 46


def unit_vector(vector: Array) -> Array:
    """The vector, one long."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


@dataclass(frozen=True)
class Fitted:
    """Points on a page of some size, and the map that brought them there."""

    points: Array
    width: float
    height: float
    scale: float
    origin: Array

    def map(self, points: Array) -> Array:
        """Problem units to picture coordinates."""
        mapped: Array = (points * np.array([1.0, -1.0]) - self.origin) * self.scale + PADDING
        return mapped


def fit(points: Array, circles: Sequence[tuple[Array, float]]) -> Fitted:
    """Scale into the picture, y downwards."""
    corners = [points] + [
        center + radius * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]) for center, radius in circles
    ]
    flipped = np.concatenate(corners) * np.array([1.0, -1.0])
    low, high = flipped.min(0), flipped.max(0)
    extent = np.maximum(high - low, 1e-9)
    scale = (WIDTH - 2 * PADDING) / max(extent)
    width, height = extent * scale + 2 * PADDING
    fitted = Fitted(points, float(max(width, 160)), float(max(height, 120)), float(scale), low)
    return Fitted(fitted.map(points), fitted.width, fitted.height, fitted.scale, low)


def upright(
    problem: Problem, solution: Solution, segments: Sequence[tuple[str, str]]
) -> tuple[dict[str, tuple[float, float]], list[tuple[Array, float]]]:
    """Coordinates and circles as one would draw them: every figure on its longest side, figures side by side.

    Args:
        problem: The problem.
        solution: Its solution.
        segments: The drawn lines.
    """
    centers = {
        c.arguments[1].letters: c.arguments[0].letters  # type: ignore[union-attr]
        for c in problem.facts
        if c.name == "IsCentreOfCircle"
    }
    rings = {name: centers.get(name, name) for name in solution.radii}
    links = [*segments]
    for fact in problem.construction:
        if fact.name == "Cocircular":
            circle, around = (a.letters for a in fact.arguments if isinstance(a, Points))
            links += [(rings.get(circle, circle), point) for point in around]
    placed: dict[str, tuple[float, float]] = {}
    right = 0.0
    for figure in _figures(list(solution.coordinates), links):
        points = np.array([solution.coordinates[name] for name in figure])
        own = [(p, q) for p, q in segments if p in figure]
        if own:
            points = points @ _leveling(dict(zip(figure, points, strict=True)), own)
        reach = np.array([abs(solution.radii[c]) for c, p in rings.items() if p in figure] or [0.0]).max()
        low, high = points.min(0) - reach, points.max(0) + reach
        points = points - low + np.array([right, 0.0])
        right += float(high[0] - low[0]) + 0.25 * float((high - low).max())
        placed |= {name: (float(x), float(y)) for name, (x, y) in zip(figure, points, strict=True)}
    circles = [(np.array(placed[p]), abs(solution.radii[c])) for c, p in rings.items() if p in placed]
    return placed, circles


def _leveling(at: dict[str, Array], segments: Sequence[tuple[str, str]]) -> Array:
    """The rotation, (2, 2), that lays the longest line level, with most of the figure above it."""
    start, end = max(segments, key=lambda pair: float(np.linalg.norm(at[pair[0]] - at[pair[1]])))
    along = unit_vector(at[end] - at[start])
    if (
        along[0] * (np.mean(list(at.values()), axis=0) - at[start])[1]
        < along[1] * (np.mean(list(at.values()), axis=0) - at[start])[0]
    ):
        along = -along
    return np.array([[along[0], -along[1]], [along[1], along[0]]])


def _figures(names: list[str], links: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Connected figures, in the order of their first points."""
    figure = {name: name for name in names}

    def root(name: str) -> str:
        while figure[name] != name:
            name = figure[name]
        return name

    for first, second in links:
        if first in figure and second in figure:
            figure[root(second)] = root(first)
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(root(name), []).append(name)
    return list(found.values())


def drawn_lines(problem: Problem) -> Iterator[tuple[str, str]]:
    """Drawn lines, each once: sides of regions and neighbors on a line."""
    seen: set[frozenset[str]] = set()
    for fact in problem.construction:
        groups = [a.letters for a in fact.arguments if isinstance(a, Points)]
        pairs: list[tuple[str, str]] = []
        if fact.name == "Shape":
            pairs = [(group[0], group[1]) for group in groups if len(group) == 2]
        elif fact.name == "Collinear":
            pairs = list(pairwise(groups[0]))
        for first, second in pairs:
            if frozenset((first, second)) not in seen and first != second:
                seen.add(frozenset((first, second)))
                yield first, second
