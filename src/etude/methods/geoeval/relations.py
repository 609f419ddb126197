"""What each relation says, as equations over measures (each is zero when the relation holds)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from etude.methods.geoeval.expressions import Expressions, matching_corners
from etude.methods.geoeval.quantities import Form


@dataclass(frozen=True)
class Vanishing:
    """A form that must be zero.

    Args:
        form: In problem units.
        kind: `length` (in units of length), `angle` (degrees, whole turns do not count) or `number`.
    """

    form: Form
    kind: str


def relation_equations(name: str, groups: list[str], e: Expressions) -> Iterator[Vanishing]:
    """The equations of one relation.

    Args:
        name: The predicate.
        groups: Its groups of points.
        e: Where the measures are registered.
    """
    m = e.measures
    own = groups[0]
    match name:
        case "Angle":
            return
        case "ParallelBetweenLine":
            yield Vanishing(m.sine(own, groups[1]), "number")
        case "PerpendicularBetweenLine":
            other = groups[1]
            if (
                own[1] == other[1]
            ):  # the right angle itself, counter-clockwise from the second line to the first
                yield Vanishing(m.turn(other[::-1], own[::-1]) + Form({}, -90.0), "angle")
            else:
                yield Vanishing(m.cosine(own, other), "number")
        case "IsMidpointOfLine":
            yield from _midpoint(own, groups[1], e)
        case "IsPerpendicularBisectorOfLine":
            for point in own:
                yield _equal_lengths(point + groups[1][0], point + groups[1][1], e)
        case "IsBisectorOfAngle":
            a, b, c = tuple(groups[1])
            yield _bisects(own[1] if own[0] == b else own[0], a + b + c, e)
        case "IsMedianOfTriangle":
            yield from _midpoint(own[1], groups[1][1:], e)
        case "IsAltitudeOfTriangle" | "IsAltitudeOfQuadrilateral":
            base = groups[1][1:3]
            if own[1] not in base:
                yield Vanishing(m.sine(base, base[0] + own[1]), "number")
            yield Vanishing(m.cosine(own, base), "number")
            top = groups[1][0] + groups[1][3:]
            if name.endswith("Quadrilateral") and own[0] not in top:
                yield Vanishing(m.sine(top, top[0] + own[0]), "number")
        case "IsMidsegmentOfTriangle":
            a, b, c = tuple(groups[1])
            yield from _midpoint(own[0], a + b, e)
            yield from _midpoint(own[1], a + c, e)
        case "IsMidsegmentOfQuadrilateral":
            yield from _midpoint(own[0], groups[1][:2], e)
            yield from _midpoint(own[1], groups[1][2:], e)
        case "IsIncenterOfTriangle" | "IsIncenterOfQuadrilateral":
            polygon = groups[1]
            for before, at, after in _corners(polygon):
                yield _bisects(own, before + at + after, e)
        case "IsCentroidOfTriangle":
            for axis in (0, 1):
                corners = [m.coordinates(p)[axis] for p in groups[1]]
                center = m.coordinates(own)[axis].times(3.0)
                yield Vanishing(corners[0] + corners[1] + corners[2] - center, "length")
        case "IsCircumcenterOfTriangle" | "IsCircumcenterOfQuadrilateral":
            for first, second in pairwise(groups[1]):
                yield _equal_lengths(own + first, own + second, e)
        case "IsOrthocenterOfTriangle":
            for before, at, after in _corners(groups[1]):
                yield Vanishing(m.cosine(own + at, before + after), "number")
        case "IsTangentOfCircle":
            middle = e.center(groups[1])
            yield Vanishing(m.length(middle, own[1]) - e.radius(groups[1]), "length")
            yield Vanishing(m.cosine(middle + own[1], own), "number")
        case "IsDiameterOfCircle":
            yield from _midpoint(e.center(groups[1]), own, e)
            yield Vanishing(m.length(*own) - e.radius(groups[1]).times(2.0), "length")
        case _ if name in _FIGURES:
            yield from _FIGURES[name](own, e)
        case _:
            yield from _matched(name, own, matching_corners(name, groups[1]), e)


def _midpoint(point: str, line: str, e: Expressions) -> Iterator[Vanishing]:
    for axis in (0, 1):
        start, middle, end = (e.measures.coordinates(p)[axis] for p in (line[0], point, line[1]))
        yield Vanishing(start + end - middle.times(2.0), "length")


def _equal_lengths(first: str, second: str, e: Expressions) -> Vanishing:
    return Vanishing(e.measures.length(*first) - e.measures.length(*second), "length")


def _bisects(point: str, angle: str, e: Expressions) -> Vanishing:
    """The ray from the vertex to the point turns as far from one side as the other from it."""
    a, b, c = tuple(angle)
    m = e.measures
    return Vanishing(m.turn(b + c, b + point) - m.turn(b + point, b + a), "angle")


def _corners(polygon: str) -> Iterator[tuple[str, str, str]]:
    for i in range(len(polygon)):
        yield polygon[i - 1], polygon[i], polygon[(i + 1) % len(polygon)]


def _parallelogram(q: str, e: Expressions) -> Iterator[Vanishing]:
    for axis in (0, 1):
        a, b, c, d = (e.measures.coordinates(p)[axis] for p in q)
        yield Vanishing(a + c - b - d, "length")


def _trapezoid(q: str, e: Expressions) -> Iterator[Vanishing]:
    yield Vanishing(e.measures.sine(q[0] + q[3], q[1] + q[2]), "number")


def _right_angle(corner: str, e: Expressions) -> Iterator[Vanishing]:
    yield Vanishing(e.measures.cosine(corner[1] + corner[0], corner[1] + corner[2]), "number")


def _sides(first: str, second: str) -> Callable[[str, Expressions], Iterator[Vanishing]]:
    """Two sides, given by corner numbers, are equally long."""

    def equal(p: str, e: Expressions) -> Iterator[Vanishing]:
        one, other = ("".join(p[int(i)] for i in side) for side in (first, second))
        yield _equal_lengths(one, other, e)

    return equal


def _all(
    *parts: Callable[[str, Expressions], Iterator[Vanishing]],
) -> Callable[[str, Expressions], Iterator[Vanishing]]:
    def together(p: str, e: Expressions) -> Iterator[Vanishing]:
        for part in parts:
            yield from part(p, e)

    return together


def _first_corner(q: str, e: Expressions) -> Iterator[Vanishing]:
    return _right_angle(q[:3], e)


_FIGURES: dict[str, Callable[[str, Expressions], Iterator[Vanishing]]] = {
    "EquilateralTriangle": _all(_sides("01", "12"), _sides("12", "20")),
    "IsoscelesTriangle": _sides("01", "02"),
    "RightTriangle": _first_corner,
    "IsoscelesRightTriangle": _all(lambda t, e: _right_angle(t[1] + t[0] + t[2], e), _sides("01", "02")),
    "Parallelogram": _parallelogram,
    "Rectangle": _all(_parallelogram, _first_corner),
    "Rhombus": _all(_parallelogram, _sides("01", "12")),
    "Square": _all(_parallelogram, _sides("01", "12"), _first_corner),
    "Kite": _all(_sides("01", "03"), _sides("21", "23")),
    "Trapezoid": _trapezoid,
    "IsoscelesTrapezoid": _all(_trapezoid, _sides("01", "23"), _sides("02", "13")),
    "RightTrapezoid": _all(_trapezoid, _first_corner),
}


def _matched(name: str, first: str, second: str, e: Expressions) -> Iterator[Vanishing]:
    """Similar or congruent figures: angles match, and sides do or keep one ratio."""
    m = e.measures
    mirror = name.startswith("Mirror")
    for (a, b, c), (p, q, r) in zip(list(_corners(first))[:-1], list(_corners(second))[:-1], strict=True):
        other = m.turn(q + p, q + r) if mirror else m.turn(q + r, q + p)
        yield Vanishing(m.turn(b + c, b + a) - other, "angle")
    sides = [(first[i - 1] + first[i], second[i - 1] + second[i]) for i in range(len(first))]
    if "Congruent" in name:
        for one, other_side in sides:
            yield _equal_lengths(one, other_side, e)
    elif len(first) > 3:
        ratios = [m.log_length(*one) - m.log_length(*other_side) for one, other_side in sides]
        for one_ratio, next_ratio in pairwise(ratios):
            yield Vanishing(one_ratio - next_ratio, "number")
