"""Measures of a picture and their derivatives, for many pictures at once.

A picture is a vector z: two numbers a point (in units of a typical length), one a circle's radius, one an
unknown. Every measure follows from the length and the direction of the edges between points, so one pass
over the edges gives all values and all derivatives; what is not linear in them (products, sines of unknowns
…) is derived after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import numpy as np

Array: TypeAlias = np.ndarray
Key: TypeAlias = tuple[object, ...]

_GROUPS = ("length", "log", "turn", "sin", "cos", "cross")
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Form:
    """A linear form over measures: Σ coefficient · measure + constant."""

    terms: Mapping[Key, float] = field(default_factory=dict)
    constant: float = 0.0

    def __add__(self, other: Form) -> Form:
        terms = dict(self.terms)
        for key, value in other.terms.items():
            terms[key] = terms.get(key, 0.0) + value
        return Form({key: value for key, value in terms.items() if value}, self.constant + other.constant)

    def __sub__(self, other: Form) -> Form:
        return self + other.times(-1.0)

    def times(self, factor: float) -> Form:
        """The form, multiplied by a number."""
        return Form({key: value * factor for key, value in self.terms.items()}, self.constant * factor)

    @property
    def frozen(self) -> tuple[tuple[tuple[Key, float], ...], float]:
        """The form as a key, for derived measures."""
        return tuple(self.terms.items()), self.constant


class Measures:
    """The registry of all measures of one problem, and their batched evaluation.

    Args:
        unit: The typical length; coordinates and radii in z are multiples of it.
    """

    def __init__(self, unit: float) -> None:
        self.unit = unit
        self.points: dict[str, int] = {}
        self.others: dict[str, int] = {}
        self.edges: dict[tuple[str, str], int] = {}
        self.keys: dict[str, dict[Key, None]] = {group: {} for group in (*_GROUPS, "derived")}

    def coordinates(self, point: str) -> tuple[Form, Form]:
        """A point's x and y, in the problem's unit."""
        return Form({("z", point, 0): self.unit}), Form({("z", point, 1): self.unit})

    def scalar(self, name: str, scale: float) -> Form:
        """An unknown number (a radius, a variable) that is `scale` times its entry in z."""
        self.others.setdefault(name, len(self.others))
        return Form({("z", name): scale})

    def length(self, start: str, end: str) -> Form:
        """Distance of two points."""
        return self._add("length", self._edge(start, end)[0]).times(self.unit)

    def log_length(self, start: str, end: str) -> Form:
        """Logarithm of the distance in units of the typical length."""
        return self._add("log", self._edge(start, end)[0])

    def turn(self, first: str, second: str) -> Form:
        """Counter-clockwise turn from one directed edge `PQ` to another, in degrees, 0 to 360."""
        (e, e_flip), (f, f_flip) = self._edge(*first), self._edge(*second)
        return self._add("turn", e, f, 180.0 * (e_flip != f_flip))

    def sine(self, first: str, second: str) -> Form:
        """Sine of the turn from one directed edge to another."""
        return self._trigonometric("sin", first, second)

    def cosine(self, first: str, second: str) -> Form:
        """Cosine of the turn from one directed edge to another."""
        return self._trigonometric("cos", first, second)

    def cross(self, first: str, second: str) -> Form:
        """Cross product of two directed edges: twice the signed area of the triangle they span."""
        return self._trigonometric("cross", first, second).times(self.unit**2)

    def derived(self, operation: str, left: Form, right: Form | None = None) -> Form:
        """A nonlinear function of forms: `mul div pow sin cos tan sqrt abs`; angles in degrees."""
        return self._add("derived", operation, left.frozen, right.frozen if right else None)

    def _trigonometric(self, group: str, first: str, second: str) -> Form:
        (e, e_flip), (f, f_flip) = self._edge(*first), self._edge(*second)
        return self._add(group, e, f).times(-1.0 if e_flip != f_flip else 1.0)

    def _add(self, group: str, *detail: object) -> Form:
        key = (group, *detail)
        self.keys[group].setdefault(key)
        return Form({key: 1.0})

    def _edge(self, start: str, end: str) -> tuple[int, bool]:
        flip = start > end
        pair = (end, start) if flip else (start, end)
        return self.edges.setdefault(pair, len(self.edges)), flip

    def add_point(self, name: str) -> None:
        """Make sure that a point has a place in z."""
        self.points.setdefault(name, len(self.points))

    def freeze(self) -> None:
        """Fix the order of all measures; after this, forms can be turned into rows."""
        self.size = 2 * len(self.points) + len(self.others)
        columns: dict[Key, int] = {}
        for name, i in self.points.items():
            columns["z", name, 0], columns["z", name, 1] = 2 * i, 2 * i + 1
        for name, i in self.others.items():
            columns["z", name] = 2 * len(self.points) + i
        self.slices: dict[str, slice] = {}
        for group in (*_GROUPS, "derived"):
            start = len(columns)
            for key in self.keys[group]:
                columns[key] = len(columns)
            self.slices[group] = slice(start, len(columns))
        self.columns = columns
        self.count = len(columns)
        self._differences = np.zeros((2, len(self.edges), self.size))
        for (start_point, end_point), e in self.edges.items():
            for axis in (0, 1):
                self._differences[axis, e, columns["z", end_point, axis]] += 1.0
                self._differences[axis, e, columns["z", start_point, axis]] -= 1.0
        self._flat = self._differences.reshape(2 * len(self.edges), self.size).T.copy()

        def index(group: str, position: int) -> Array:
            return np.array([key[position] for key in self.keys[group]], dtype=np.intp)

        self._length, self._log = index("length", 1), index("log", 1)
        self._pairs = {g: (index(g, 1), index(g, 2)) for g in ("turn", "sin", "cos", "cross")}
        self._offset = np.array([key[3] for key in self.keys["turn"]], dtype=float)
        self._steps = []
        for key in self.keys["derived"]:
            _, operation, left, right = key
            rows = [self._thaw(part) for part in (left, right) if part is not None]
            self._steps.append((operation, columns[key], rows))

    def _thaw(self, frozen: object) -> tuple[Array, float]:
        terms, constant = cast("tuple[tuple[tuple[Key, float], ...], float]", frozen)
        return self.row(Form(dict(terms), constant))

    def row(self, form: Form) -> tuple[Array, float]:
        """A form as a row over the measures, (count,), and its constant."""
        row = np.zeros(self.count)
        for key, value in form.terms.items():
            row[self.columns[key]] += value
        return row, form.constant

    def evaluate(self, z: Array, cut: Array) -> tuple[Array, Array]:
        """Values and derivatives of all measures.

        Args:
            z: Pictures, (pictures, unknowns).
            cut: Where the scale of turns begins, in degrees, (pictures, 1): turns lie in [cut, cut + 360).

        Returns:
            Values (pictures, measures) and derivatives (pictures, measures, unknowns).
        """
        count = len(z)
        values = np.empty((count, self.count))
        slopes = np.zeros((count, self.count, self.size))
        values[:, : self.size] = z
        diagonal = np.arange(self.size)
        slopes[:, diagonal, diagonal] = 1.0
        if self.edges:
            self._evaluate_edges(z, cut, values, slopes)
        for operation, at, rows in self._steps:
            arguments = [values[:, :at] @ row[:at] + constant for row, constant in rows]
            tangents = [np.einsum("smn,m->sn", slopes[:, :at], row[:at]) for row, _ in rows]
            values[:, at], slopes[:, at] = _apply(operation, arguments, tangents)
        return values, slopes

    def _evaluate_edges(self, z: Array, cut: Array, values: Array, slopes: Array) -> None:
        flat = z @ self._flat
        dx, dy = flat[:, : len(self.edges)], flat[:, len(self.edges) :]
        length = np.maximum(np.hypot(dx, dy), _SMALLEST)
        ux, uy = dx / length, dy / length
        x_slope, y_slope = self._differences
        stretch = ux[:, :, None] * x_slope + uy[:, :, None] * y_slope
        swing = (ux / length)[:, :, None] * y_slope - (uy / length)[:, :, None] * x_slope
        where = self.slices
        if len(self._length):
            values[:, where["length"]] = length[:, self._length]
            slopes[:, where["length"]] = stretch[:, self._length]
        if len(self._log):
            values[:, where["log"]] = np.log(length[:, self._log])
            slopes[:, where["log"]] = stretch[:, self._log] / length[:, self._log, None]
        direction = np.arctan2(dy, dx)
        for group, (e, f) in self._pairs.items():
            if not len(e):
                continue
            angle = direction[:, f] - direction[:, e]
            slope = swing[:, f] - swing[:, e]
            if group == "turn":
                degrees = np.degrees(angle) + self._offset
                values[:, where[group]] = (degrees - cut) % 360.0 + cut
                slopes[:, where[group]] = np.degrees(slope)
                continue
            sine, cosine = np.sin(angle), np.cos(angle)
            if group == "sin":
                values[:, where[group]] = sine
                slopes[:, where[group]] = cosine[:, :, None] * slope
            elif group == "cos":
                values[:, where[group]] = cosine
                slopes[:, where[group]] = -sine[:, :, None] * slope
            else:
                le, lf = length[:, e], length[:, f]
                values[:, where[group]] = le * lf * sine
                slopes[:, where[group]] = (
                    (le * lf * cosine)[:, :, None] * slope
                    + (lf * sine)[:, :, None] * stretch[:, e]
                    + (le * sine)[:, :, None] * stretch[:, f]
                )


def _apply(operation: object, arguments: list[Array], tangents: list[Array]) -> tuple[Array, Array]:
    """Value (pictures,) and derivative (pictures, unknowns) of one nonlinear step."""
    a, da = arguments[0], tangents[0]
    if operation == "mul":
        b, db = arguments[1], tangents[1]
        return a * b, b[:, None] * da + a[:, None] * db
    if operation == "div":
        b, db = arguments[1], tangents[1]
        b = np.where(np.abs(b) < _SMALLEST, _SMALLEST, b)
        return a / b, da / b[:, None] - (a / b**2)[:, None] * db
    if operation == "pow":
        exponent = arguments[1]
        base = np.where(exponent == np.round(exponent), a, np.maximum(a, _SMALLEST))
        base = np.where((exponent < 1) & (np.abs(base) < _SMALLEST), _SMALLEST, base)
        return base**exponent, (exponent * base ** (exponent - 1))[:, None] * da
    if operation == "abs":
        return np.abs(a), np.where(a < 0, -1.0, 1.0)[:, None] * da
    if operation == "sqrt":
        root = np.sqrt(np.maximum(a, _SMALLEST))
        return root, da / (2 * root)[:, None]
    radians = np.radians(a)
    if operation == "sin":
        return np.sin(radians), np.radians(np.cos(radians))[:, None] * da
    if operation == "cos":
        return np.cos(radians), -np.radians(np.sin(radians))[:, None] * da
    tangent = np.tan(radians)
    return tangent, np.radians(1 + tangent**2)[:, None] * da
