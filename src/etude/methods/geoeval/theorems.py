"""The theorems of the forward chainer, laid out for one problem.

Most school theorems say that a few measures add up: points of a line, angles at a point, angles of a
triangle, parallels, figures, circles. They become linear relations. The others (Pythagoras, sines and
cosines, proportions) become lists of triangles and proportions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import TypeAlias

from etude.methods.geoeval.cdl import Call, Points
from etude.methods.geoeval.expressions import matching_corners
from etude.methods.geoeval.problems import Problem

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class Relation:
    """Σ factor · measure = total, by a theorem."""

    terms: tuple[tuple[float, Key], ...]
    total: float
    theorem: str


@dataclass(frozen=True)
class Proportion:
    """first / second = third / fourth, by a theorem."""

    measures: tuple[Key, Key, Key, Key]
    theorem: str


@dataclass
class Theorems:
    """Everything that the theorems say about a problem's picture.

    Args:
        problem: With parseable facts.
    """

    problem: Problem
    relations: list[Relation] = field(default_factory=list)
    proportions: list[Proportion] = field(default_factory=list)
    triangles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay out lines, then let every theorem speak."""
        self.lines = [_letters(f)[0] for f in self.problem.construction if f.name == "Collinear"]
        for fact in self.problem.construction:
            if fact.name == "Shape":
                self.lines += [edge for edge in _letters(fact) if len(edge) == 2 and not self.on_line(edge)]
        self.points = "".join(dict.fromkeys("".join(self.lines)))
        self.joined = {frozenset(pair) for line in self.lines for pair in combinations(line, 2)}
        self.centers = {
            _letters(f)[1]: _letters(f)[0] for f in self.problem.facts if f.name == "IsCentreOfCircle"
        }
        self._lines()
        self._regions()
        for triple in combinations(self.points, 3):
            if all(frozenset(pair) in self.joined for pair in combinations(triple, 2)) and not self.on_line(
                triple
            ):
                self.triangles.append("".join(triple))
        for a, b, c in map(tuple, self.triangles):
            self._sum(
                [self.angle(b, a, c), self.angle(a, b, c), self.angle(a, c, b)], 180, "angles of a triangle"
            )
        for fact in self.problem.construction:
            if fact.name == "Cocircular":
                self._circle(*_letters(fact))
        for fact in self.problem.facts:
            groups = _letters(fact)
            if groups and len(groups) == len(fact.arguments):
                self._stated(fact.name, groups)

    def length(self, first: str, second: str) -> Key:
        """A distance."""
        return "length", frozenset((first, second))

    def angle(self, first: str, at: str, second: str) -> Key:
        """The angle below 180 degrees between two rays; points on one ray are one."""
        return "angle", at, frozenset((self._ray(at, first), self._ray(at, second)))

    def arc(self, circle: str, start: str, end: str) -> Key:
        """An arc, counter-clockwise."""
        return "arc", circle, start, end

    def on_line(self, points: str | tuple[str, ...]) -> bool:
        """Whether the points are known to be on one line."""
        return any(set(points) <= set(line) for line in self.lines)

    def _ray(self, at: str, toward: str) -> str:
        """The nearest named point on the ray."""
        for line in self.lines:
            if at in line and toward in line:
                return line[line.index(at) + (1 if line.index(toward) > line.index(at) else -1)]
        return toward

    def _sum(self, keys: list[Key], total: float, theorem: str) -> None:
        self.relations.append(Relation(tuple((1.0, key) for key in keys), total, theorem))

    def _difference(self, whole: Key, parts: list[Key], theorem: str) -> None:
        self.relations.append(Relation(((1.0, whole), *((-1.0, part) for part in parts)), 0.0, theorem))

    def _same(self, first: Key, second: Key, theorem: str) -> None:
        if first != second:
            self._difference(first, [second], theorem)

    def _lines(self) -> None:
        for line in self.lines:
            for start, middle, end in combinations(line, 3):
                parts = [self.length(start, middle), self.length(middle, end)]
                self._difference(self.length(start, end), parts, "points of a line")
            for before, at, after in zip(line, line[1:], line[2:], strict=False):
                for other in self.points:
                    if frozenset((other, at)) in self.joined and other not in line:
                        pair = [self.angle(before, at, other), self.angle(other, at, after)]
                        self._sum(pair, 180, "angles on a line")

    def _regions(self) -> None:
        """Corners of regions: neighbors add up, all around a point make 360, a polygon's have their sum."""
        corners: dict[str, dict[str, str]] = {}
        for fact in self.problem.construction:
            edges = _letters(fact)
            if fact.name != "Shape":
                continue
            closed = len(edges) > 2 and all(len(edge) == 2 for edge in edges)
            for before, after in zip(edges, edges[1:] + edges[:1], strict=True):
                if len(before) == len(after) == 2 and before[1] == after[0] and before[0] != after[1]:
                    at = after[0]
                    corners.setdefault(at, {})[self._ray(at, after[1])] = self._ray(at, before[0])
            if closed and len(edges) > 3:
                ring = "".join(edge[0] for edge in edges)
                inner = [
                    self.angle(ring[i - 1], ring[i], ring[(i + 1) % len(ring)]) for i in range(len(ring))
                ]
                self._sum(inner, 180.0 * (len(ring) - 2), "angles of a polygon")
        for at, turns in corners.items():
            for start, middle in turns.items():
                end = turns.get(middle)
                if end is not None and end != start and not self.on_line((start, at, end)):
                    parts = [self.angle(start, at, middle), self.angle(middle, at, end)]
                    self._difference(self.angle(start, at, end), parts, "angle addition")
            start = next(iter(turns))
            around: list[Key] = []
            ray = start
            while ray in turns and len(around) <= len(turns):
                around.append(self.angle(ray, at, turns[ray]))
                ray = turns[ray]
                if ray == start:
                    self._sum(around, 360, "angles around a point")
                    break

    def _circle(self, circle: str, around: str) -> None:
        center = self.centers.get(circle, circle)
        radius: Key = ("radius", circle)
        for point in around:
            self._same(self.length(center, point), radius, "radius")
        ring = around + around
        count = len(around)
        for i in range(count):
            for j in range(i + 1, i + count):
                start, end = ring[i], ring[j]
                steps = [self.arc(circle, p, q) for p, q in pairwise(ring[i : j + 1])]
                if len(steps) > 1:
                    self._difference(self.arc(circle, start, end), steps, "arcs of a circle")
                for at in set(around) - set(ring[i : j + 1]):
                    pair = {frozenset((at, start)), frozenset((at, end))}
                    if pair <= self.joined:
                        inscribed = self.angle(start, at, end)
                        self.relations.append(
                            Relation(
                                ((2.0, inscribed), (-1.0, self.arc(circle, start, end))),
                                0.0,
                                "inscribed angle",
                            )
                        )
        for first, second in combinations(around, 2):
            both = [self.arc(circle, first, second), self.arc(circle, second, first)]
            self._sum(both, 360, "arcs of a circle")
        for fact in self.problem.construction:
            edges = _letters(fact)
            if fact.name == "Shape" and len(edges) == 3 and sum(len(edge) == 3 for edge in edges) == 1:
                own = next(edge for edge in edges if len(edge) == 3)
                if own[0] == circle and all(center in edge for edge in edges if len(edge) == 2):
                    self._same(self.angle(own[1], center, own[2]), self.arc(*own), "central angle")

    def _stated(self, name: str, groups: list[str]) -> None:
        own, second = groups[0], groups[-1]
        if name == "ParallelBetweenLine":
            self._parallel(own, second)
        elif name == "PerpendicularBetweenLine":
            shared = set(own) & set(second)
            if len(shared) == 1:
                [at] = shared
                self._sum([self.angle(own.replace(at, ""), at, second.replace(at, ""))], 90, "right angle")
        elif name == "IsMidpointOfLine":
            self._halves(own, second)
        elif name == "IsMedianOfTriangle":
            self._halves(own[1], second[1:])
        elif name == "IsBisectorOfAngle":
            a, b, c = tuple(second)
            point = own.replace(b, "")
            self._same(self.angle(a, b, point), self.angle(point, b, c), "angle bisector")
        elif name == "IsIncenterOfTriangle":
            for i in range(3):
                before, at, after = second[i - 1], second[i], second[(i + 1) % 3]
                self._same(self.angle(before, at, own), self.angle(own, at, after), "incenter")
        elif name == "IsAltitudeOfTriangle":
            for foot in second[1:]:
                if foot != own[1]:
                    self._sum([self.angle(own[0], own[1], foot)], 90, "altitude")
        elif name == "IsPerpendicularBisectorOfLine":
            for point in own:
                self._same(
                    self.length(point, second[0]), self.length(point, second[1]), "perpendicular bisector"
                )
        elif name.startswith("IsMidsegmentOfTriangle"):
            a, b, c = tuple(second)
            self._halves(own[0], a + b)
            self._halves(own[1], a + c)
            self.relations.append(
                Relation(((2.0, self.length(*own)), (-1.0, self.length(b, c))), 0.0, "midsegment")
            )
            self._parallel(own, b + c)
        elif name == "IsMidsegmentOfQuadrilateral":
            a, b, c, d = tuple(second)
            terms = ((2.0, self.length(*own)), (-1.0, self.length(a, d)), (-1.0, self.length(b, c)))
            self.relations.append(Relation(terms, 0.0, "midsegment"))
        elif name == "IsTangentOfCircle":
            center = self.centers.get(second, second)
            self._sum([self.angle(own[0], own[1], center)], 90, "tangent")
            for other in self.problem.facts:
                others = _letters(other)
                if other.name == name and others[1] == second and others[0][0] == own[0] and others[0] != own:
                    self._same(self.length(*own), self.length(*others[0]), "two tangents")
        elif name == "IsDiameterOfCircle":
            self.relations.append(
                Relation(((1.0, self.length(*own)), (-2.0, ("radius", second))), 0.0, "diameter")
            )
            self._sum([self.arc(second, own[0], own[1])], 180, "half circle")
        elif "Similar" in name or "Congruent" in name:
            self._matched(name, own, matching_corners(name, second))
        else:
            self._figure(name, own)

    def _halves(self, middle: str, line: str) -> None:
        self._same(self.length(line[0], middle), self.length(middle, line[1]), "midpoint")
        self.relations.append(
            Relation(((1.0, self.length(*line)), (-2.0, self.length(line[0], middle))), 0.0, "midpoint")
        )

    def _parallel(self, first: str, second: str) -> None:
        """Interior angles on one side of a transversal make 180; cut lines are proportional."""
        a, b, c, d = tuple(first + second)
        one = next((line for line in self.lines if {a, b} <= set(line)), first)
        other = next((line for line in self.lines if {c, d} <= set(line)), second)
        if one.index(a) > one.index(b):
            one = one[::-1]
        if other.index(c) > other.index(d):
            other = other[::-1]
        for p in one:
            for q in other:
                if p == q or frozenset((p, q)) not in self.joined:
                    continue
                for back in (slice(None, None, 1), slice(None, None, -1)):
                    u, v = one[back], other[back]
                    if u.index(p) > 0 and v.index(q) > 0:
                        pair = [self.angle(u[0], p, q), self.angle(v[0], q, p)]
                        self._sum(pair, 180, "parallel lines")
        for apex in self.points:
            if apex in one or apex in other:
                continue
            for p, q in combinations(one, 2):
                for r, s in combinations(other, 2):
                    if self.on_line((apex, p, r)) and self.on_line((apex, q, s)):
                        small = [self.length(apex, p), self.length(apex, q), self.length(p, q)]
                        large = [self.length(apex, r), self.length(apex, s), self.length(r, s)]
                        self._proportional(small, large, "parallel in a triangle")
                        between = [self.length(p, r), self.length(q, s)]
                        self._proportional(small[:2], between, "parallel in a triangle")

    def _proportional(self, first: list[Key], second: list[Key], theorem: str) -> None:
        for i, j in combinations(range(len(first)), 2):
            self.proportions.append(Proportion((first[i], second[i], first[j], second[j]), theorem))

    def _matched(self, name: str, first: str, second: str) -> None:
        size = len(first)
        for i in range(size):
            pair = [figure[i - 1] + figure[i] + figure[(i + 1) % size] for figure in (first, second)]
            self._same(self.angle(*pair[0]), self.angle(*pair[1]), "matching angles")
        sides = [[self.length(figure[i - 1], figure[i]) for i in range(size)] for figure in (first, second)]
        if "Congruent" in name:
            for one, other in zip(*sides, strict=True):
                self._same(one, other, "matching sides")
        else:
            self._proportional(sides[0], sides[1], "similar figures")

    def _figure(self, name: str, corners: str) -> None:
        if len(corners) == 3:
            a, b, c = tuple(corners)
            if name == "EquilateralTriangle":
                self._same(self.length(a, b), self.length(b, c), name)
                self._same(self.length(b, c), self.length(c, a), name)
                for i in range(3):
                    self._sum([self.angle(corners[i - 1], corners[i], corners[(i + 1) % 3])], 60, name)
            elif name == "RightTriangle":
                self._sum([self.angle(a, b, c)], 90, name)
            elif name.startswith("Isosceles"):
                self._same(self.length(a, b), self.length(a, c), name)
                self._same(self.angle(a, b, c), self.angle(a, c, b), name)
        elif len(corners) == 4:
            self._quadrilateral(name, corners)

    def _quadrilateral(self, name: str, corners: str) -> None:
        a, b, c, d = tuple(corners)
        if name in ("Parallelogram", "Rectangle", "Rhombus", "Square"):
            self._same(self.length(a, b), self.length(c, d), name)
            self._same(self.length(b, c), self.length(d, a), name)
            self._same(self.angle(d, a, b), self.angle(b, c, d), name)
            self._same(self.angle(a, b, c), self.angle(c, d, a), name)
            self._parallel(a + b, d + c)
            self._parallel(a + d, b + c)
            for middle in self.points:
                if self.on_line((a, middle, c)) and self.on_line((b, middle, d)):
                    self._halves(middle, a + c)
                    self._halves(middle, b + d)
                    if name in ("Rhombus", "Square"):
                        self._sum([self.angle(a, middle, b)], 90, name)
        if name in ("Rhombus", "Square"):
            self._same(self.length(a, b), self.length(b, c), name)
            for at, before, after in ((a, d, b), (b, a, c), (c, b, d), (d, c, a)):
                opposite = next(p for p in corners if p not in (at, before, after))
                self._same(self.angle(before, at, opposite), self.angle(opposite, at, after), name)
        if name in ("Rectangle", "Square"):
            self._sum([self.angle(d, a, b)], 90, name)
            self._sum([self.angle(a, b, c)], 90, name)
            self._same(self.length(a, c), self.length(b, d), name)
        if name.endswith("Trapezoid"):
            self._parallel(a + d, b + c)
        if name == "RightTrapezoid":
            self._sum([self.angle(a, b, c)], 90, name)
        if name == "IsoscelesTrapezoid":
            self._same(self.length(a, b), self.length(c, d), name)
            self._same(self.length(a, c), self.length(b, d), name)
            self._same(self.angle(a, b, c), self.angle(b, c, d), name)
            self._same(self.angle(d, a, b), self.angle(c, d, a), name)
        if name == "Kite":
            self._same(self.length(a, b), self.length(a, d), name)
            self._same(self.length(c, b), self.length(c, d), name)
            self._same(self.angle(a, b, c), self.angle(a, d, c), name)


def _letters(fact: Call) -> list[str]:
    return [argument.letters for argument in fact.arguments if isinstance(argument, Points)]
