"""Where the search for a picture starts: a planar layout of the closed regions, disturbed.

Sides that border one region only form the outline; its points are put on a circle in their order, every other
point at the center of its neighbors (a barycentric embedding), so that regions start counter-clockwise. Every
start stretches, shears and disturbs this, some little, some beyond recognition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from etude.methods.geoeval.cdl import Call, Points
from etude.methods.geoeval.quantities import Array


def planar_layout(construction: Sequence[Call], points: Sequence[str], centers: dict[str, str]) -> Array:
    """A first position of every point, (points, 2), sides about 1 long.

    Args:
        construction: `Shape`, `Collinear` and `Cocircular` facts.
        points: Names of the points, in the order of the rows.
        centers: From a circle's name to its center.
    """
    index = {name: i for i, name in enumerate(points)}
    half_edges: dict[tuple[int, int], None] = {}
    links: set[tuple[int, int]] = set()
    for fact in construction:
        groups = [a.letters for a in fact.arguments if isinstance(a, Points)]
        if fact.name == "Shape":
            for edge in groups:
                if len(edge) > 1:
                    half_edges[index[edge[-2]], index[edge[-1]]] = None
                    links.add((index[edge[-2]], index[edge[-1]]))
        elif fact.name == "Collinear":
            links |= {(index[a], index[b]) for a, b in zip(groups[0], groups[0][1:], strict=False)}
        else:
            center = index[centers.get(groups[0], groups[0])]
            links |= {(center, index[p]) for p in groups[1] if index[p] != center}
    fixed: dict[int, tuple[float, float]] = {}
    for number, cycle in enumerate(_outlines(half_edges)):
        for i, corner in enumerate(cycle):
            angle = 2 * np.pi * i / len(cycle)
            radius = 0.5 / np.sin(np.pi / max(len(cycle), 3))
            fixed.setdefault(corner, (radius * np.cos(angle) + 6.0 * number, radius * np.sin(angle)))
    return _barycentric(len(points), links, fixed)


def starts(layout: Array, others: int, count: int, rng: np.random.Generator) -> Array:
    """Starting vectors z, (count, unknowns): the layout, stretched, sheared, turned and disturbed.

    Args:
        layout: (points, 2).
        others: Radii and unknowns behind the points.
        count: How many.
        rng: Source of chance.
    """
    points = len(layout)
    z = np.empty((count, 2 * points + others))
    for row in range(count):
        strength = (0.3, 1.0)[row % 2]
        shear = np.eye(2) + np.array([[0.0, rng.normal(0, strength)], [0.0, 0.0]])
        stretch = np.diag(np.exp(rng.normal(0, strength, 2))) @ shear @ _rotation(rng.uniform(0, 2 * np.pi))
        placed = layout @ stretch + rng.normal(0, (0.08, 0.08, 0.2, 1.0)[row % 4], layout.shape)
        z[row, : 2 * points] = placed.ravel()
        z[row, 2 * points :] = rng.uniform(0.3, (1.3, 2.6)[row % 2], others)
    return z


def _rotation(angle: float) -> Array:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _outlines(half_edges: dict[tuple[int, int], None]) -> list[list[int]]:
    """Cycles of half edges without a partner, longest first, sharing no point."""
    after: dict[int, list[int]] = {}
    for start, end in half_edges:
        if (end, start) not in half_edges:
            after.setdefault(start, []).append(end)
    cycles: list[list[int]] = []
    while after:
        path, at = [], next(iter(after))
        while at in after:
            path.append(at)
            following = after[at].pop(0)
            if not after[at]:
                del after[at]
            at = following
            if at in path:
                cycles.append(path[path.index(at) :])
                path = path[: path.index(at)]
    cycles.sort(key=len, reverse=True)
    kept: list[list[int]] = []
    for cycle in cycles:
        if len(cycle) > 2 and not any(set(cycle) & set(other) for other in kept):
            kept.append(cycle)
    return kept


def _barycentric(count: int, links: set[tuple[int, int]], fixed: dict[int, tuple[float, float]]) -> Array:
    laplacian = 1e-3 * np.eye(count)
    for a, b in {(min(link), max(link)) for link in links}:
        laplacian[a, a] += 1
        laplacian[b, b] += 1
        laplacian[a, b] -= 1
        laplacian[b, a] -= 1
    target = np.zeros((count, 2))
    for point, place in fixed.items():
        laplacian[point] = 0.0
        laplacian[point, point] = 1.0
        target[point] = place
    return np.linalg.solve(laplacian, target)
