"""A problem's facts as one system: equations that must vanish, inequalities that must hold, a goal.

Equations come from what is stated; inequalities from how the picture is drawn: closed regions run
counter-clockwise, points of a line stand in their order, points of a circle go round it once. An equation's
residual is scaled: lengths by the typical given length, angles by 57.3 degrees.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import (
    Call,
    Number,
    Operation,
    Points,
    Variable,
    print_cdl,
    walk,
)
from etude.methods.geoeval.expressions import Expressions, Measured
from etude.methods.geoeval.predicates import CONSTRUCTIONS, RELATIONS
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.quantities import Array, Form, Measures
from etude.methods.geoeval.relations import relation_equations

DEGREES = 180 / np.pi


@dataclass(frozen=True)
class Equation:
    """A form that must be zero, in units of its scale; `wraps` says that whole turns do not count."""

    form: Form
    scale: float
    wraps: bool
    fact: Call


@dataclass(frozen=True)
class Inequality:
    """A form that must be above a bound; the search aims at a margin beyond it.

    Args:
        form: Without unit.
        bound: An admissible picture is above this.
        margin: The search pushes a picture up to this.
        usual: True for what pictures usually, but not always do: given up if no picture does it.
        fact: Where it comes from.
    """

    form: Form
    bound: float
    margin: float
    usual: bool
    fact: Call


class Constraints:
    """Equations, inequalities and goal of one problem.

    Args:
        problem: With parseable facts and a goal `Value(expression)`.

    Raises:
        EtudeError: A fact cannot be parsed or has no meaning, or the goal asks for a point that is nowhere
            drawn.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        everything = sorted(
            {*problem.construction, *problem.facts}, key=print_cdl
        )  # their order must not matter
        self.centers = {
            f.arguments[1].letters: f.arguments[0].letters  # type: ignore[union-attr]
            for f in everything
            if f.name == "IsCentreOfCircle"
        }
        self.unit = typical_length(problem.facts)
        self.measures = Measures(self.unit)
        self.expressions = Expressions(self.measures, self.center, variable_scales(problem.facts, self.unit))
        self.equations: list[Equation] = []
        self.inequalities: list[Inequality] = []
        self._declare(everything)
        for fact in everything:
            self._add(fact)
        [asked] = problem.goal.arguments
        self._check_points(problem.goal)
        self.goal: Measured = self.expressions.measure(asked)
        self.measures.freeze()
        self._assemble()

    def center(self, circle: str) -> str:
        """The point at a circle's center: the stated one, else the point of the circle's name."""
        return self.centers.get(circle, circle)

    def residuals(self, z: Array, cut: Array) -> tuple[Array, Array]:
        """Scaled residuals of all equations with their Jacobian.

        Args:
            z: Pictures, (pictures, unknowns).
            cut: Where turns begin, in degrees, (pictures, 1).

        Returns:
            (pictures, equations) and (pictures, equations, unknowns).
        """
        values, slopes = self.measures.evaluate(z, cut)
        return self._equation_residuals(values), np.matmul(self._matrix, slopes)

    def search_residuals(self, z: Array, cut: Array, usual: bool) -> tuple[Array, Array]:
        """As `residuals`, followed by how far each inequality falls short of its margin.

        Args:
            z: Pictures, (pictures, unknowns).
            cut: Where turns begin, in degrees, (pictures, 1).
            usual: Whether what is only usual counts.
        """
        values, slopes = self.measures.evaluate(z, cut)
        kept = slice(None) if usual else self._strict
        short = values @ self._bounded[kept].T + self._bounded_constants[kept] - self._margins[kept]
        violated = short < 0
        jacobian = np.matmul(self._bounded[kept], slopes) * violated[:, :, None]
        r = np.concatenate([self._equation_residuals(values), np.where(violated, short, 0.0)], axis=1)
        return r, np.concatenate([np.matmul(self._matrix, slopes), jacobian], axis=1)

    def slack(self, z: Array) -> tuple[Array, Array]:
        """Distance of each picture's nearest inequality from its bound, negative where it is violated.

        Args:
            z: Pictures, (pictures, unknowns).

        Returns:
            (pictures,) over the strict inequalities, and over all.
        """
        slack = self._slack(z)
        return slack[:, self._strict].min(1, initial=np.inf), slack.min(1, initial=np.inf)

    def most_violated(self, z: Array) -> Call:
        """The drawing fact that a picture, (unknowns,), violates most."""
        return self.inequalities[int(np.argmin(self._slack(z[None])[0]))].fact

    def _slack(self, z: Array) -> Array:
        values, _ = self.measures.evaluate(z, np.zeros((len(z), 1)))
        slack: Array = values @ self._bounded.T + self._bounded_constants - self._bounds
        return slack

    def goal_values(self, z: Array) -> tuple[Array, Array]:
        """The goal's value, (pictures,), and gradient, (pictures, unknowns)."""
        values, slopes = self.measures.evaluate(z, np.zeros((len(z), 1)))
        row, constant = self._goal
        return values @ row + constant, np.einsum("smn,m->sn", slopes, row)

    def _equation_residuals(self, values: Array) -> Array:
        r: Array = values @ self._matrix.T + self._constants
        if len(self._wraps):
            turned = r[:, self._wraps]
            r[:, self._wraps] = turned - self._full_turns * np.round(turned / self._full_turns)
        return r

    def _assemble(self) -> None:
        count = self.measures.count
        pairs = [self.measures.row(e.form) for e in self.equations]
        scales = np.array([e.scale for e in self.equations])
        self._matrix = np.array([row for row, _ in pairs]).reshape(-1, count) / scales[:, None]
        self._constants = np.array([constant for _, constant in pairs]) / scales
        self._wraps = np.flatnonzero([e.wraps for e in self.equations])
        self._full_turns = 360.0 / scales[self._wraps]
        pairs = [self.measures.row(i.form) for i in self.inequalities]
        self._bounded = np.array([row for row, _ in pairs]).reshape(-1, count)
        self._bounded_constants = np.array([constant for _, constant in pairs])
        self._bounds = np.array([i.bound for i in self.inequalities])
        self._margins = np.array([i.margin for i in self.inequalities])
        self._strict = np.flatnonzero([not i.usual for i in self.inequalities])
        self._goal = self.measures.row(self.goal.form)

    def _declare(self, everything: Iterable[Call]) -> None:
        """Points and circles of the picture."""
        for fact in everything:
            if fact.name == "Cocircular":
                circle, around = (a.letters for a in fact.arguments if isinstance(a, Points))
                self.measures.add_point(self.center(circle))
                self.expressions.radius(circle)
                names = around
            elif fact.name == "Shape":
                names = ""
                for edge in fact.arguments:
                    assert isinstance(edge, Points)
                    names += edge.letters if len(edge.letters) < 3 else edge.letters[1:]
            elif fact.name == "Collinear":
                [line] = fact.arguments
                assert isinstance(line, Points)
                names = line.letters
            else:
                names = self.center(fact.arguments[1].letters) if fact.name == "IsCentreOfCircle" else ""  # type: ignore[union-attr]
            for name in names:
                self.measures.add_point(name)

    def _check_points(self, fact: Call) -> None:
        for node in walk(fact):
            if not isinstance(node, Call):
                continue
            for position, argument in enumerate(node.arguments):
                if not isinstance(argument, Points):
                    continue
                letters = argument.letters
                if _names_circle(node.name, position):
                    letters = self.center(letters[0]) + letters[1:]
                missing = [p for p in letters if p not in self.measures.points]
                if missing:
                    raise EtudeError(
                        f"problem {self.problem.problem_id}: {print_cdl(fact)}: "
                        f"point {missing[0]} is drawn nowhere",
                        "Name every point in a Shape, Collinear or Cocircular of construction_cdl.",
                    )

    def _add(self, fact: Call) -> None:
        groups = [a.letters for a in fact.arguments if isinstance(a, Points)]
        if fact.name in CONSTRUCTIONS:
            getattr(self, f"_draw_{fact.name.lower()}")(groups, fact)
            return
        if fact.name == "IsCentreOfCircle":
            return
        self._check_points(fact)
        if fact.name == "Equal":
            left, right = (self.expressions.measure(side) for side in fact.arguments)
            power = max(left.power, right.power)
            form = left.form - right.form
            if not form.terms:
                return
            if left.angle or right.angle:
                self.equations.append(Equation(form, DEGREES, _only_turns(form), fact))
            else:
                self.equations.append(Equation(form, self.unit**power, False, fact))
        elif fact.name in RELATIONS:
            scale = {"length": self.unit, "angle": DEGREES, "number": 1.0}
            for equation in relation_equations(fact.name, groups, self.expressions):
                self.equations.append(
                    Equation(equation.form, scale[equation.kind], equation.kind == "angle", fact)
                )
            if fact.name.endswith("Trapezoid"):
                a, b, c, d = tuple(groups[0])
                self._require(self.measures.cosine(a + d, b + c), fact, 0.0, 0.7)
            if fact.name == "ParallelBetweenLine":
                self._require(self.measures.cosine(*groups), fact, 0.0, 0.7, usual=True)
        else:
            raise EtudeError(
                f"problem {self.problem.problem_id}: {print_cdl(fact)} states nothing",
                "Give a relation or Equal.",
            )

    def _require(self, form: Form, fact: Call, bound: float, margin: float, *, usual: bool = False) -> None:
        self.inequalities.append(Inequality(form, bound, margin, usual, fact))

    def _draw_collinear(self, groups: list[str], fact: Call) -> None:
        """Points on one line, in order."""
        line, m = groups[0], self.measures
        for point in line[1:-1]:
            self.equations.append(Equation(m.sine(line[0] + line[-1], line[0] + point), 1.0, False, fact))
        for pair in pairwise(line):
            self._require(m.cosine(line[0] + line[-1], "".join(pair)), fact, 0.0, 0.7)

    def _draw_cocircular(self, groups: list[str], fact: Call) -> None:
        """Points on one circle, counter-clockwise."""
        circle, around = groups
        m, center = self.measures, self.center(circle)
        around = around.replace(center, "")
        for point in around:
            form = m.length(center, point) - self.expressions.radius(circle)
            self.equations.append(Equation(form, self.unit, False, fact))
        for second, third in pairwise(around[1:]):
            sine = m.sine(around[0] + second, around[0] + third)
            self._require(sine, fact, 0.005, 0.1, usual=True)

    def _draw_shape(self, groups: list[str], fact: Call) -> None:
        """A closed region, counter-clockwise; two sides alone are the corner of an angle."""
        m = self.measures
        sides = [edge for edge in groups if len(edge) == 2]
        for side in sides:
            self._require(m.length(*side).times(1 / self.unit), fact, 0.005, 0.1)
        if len(sides) < len(groups):
            return
        corners = "".join(side[0] for side in sides)
        if len(sides) == 2 and sides[0][1] == sides[1][0] and sides[0][0] != sides[1][1]:
            before, at, _, after = tuple("".join(sides))
            self._require(m.sine(at + after, at + before), fact, 0.005, 0.1, usual=True)
        elif len(sides) == 3 == len(set(corners)):
            a, b, c = tuple(corners)
            self._require(m.sine(a + b, a + c), fact, 0.005, 0.1)
        elif len(sides) > 3 and len(set(corners)) == len(corners):
            self._require(self.expressions.area(corners).times(1 / self.unit**2), fact, 1e-4, 0.05)
            for before, at, after in zip(
                corners[-1] + corners, corners, corners[1:] + corners[0], strict=False
            ):
                self._require(m.sine(at + after, at + before), fact, 0.005, 0.05, usual=True)


def typical_length(facts: Iterable[Call]) -> float:
    """The median of the numbers beside lengths (beside areas, of their square roots); 1 without any."""
    found: list[float] = []
    for fact in facts:
        if fact.name != "Equal":
            continue
        names = {node.name for node in walk(fact) if isinstance(node, Call)}
        power = 1 if any(n.startswith(_LENGTHS) for n in names) else 0
        power = 2 if not power and any(n.startswith("AreaOf") for n in names) else power
        numbers = [node.value for node in walk(fact) if isinstance(node, Number) and node.value > 0]
        if power and numbers:
            found.append(max(numbers) ** (1 / power))
    return float(median(found)) if found else 1.0


_LENGTHS = ("LengthOf", "RadiusOf", "DiameterOf", "PerimeterOf", "HeightOf")


def variable_scales(facts: Iterable[Call], unit: float) -> dict[str, float]:
    """How large each unknown may be: it makes a length typical, or an angle 60 degrees."""
    found: dict[str, list[float]] = {}
    for fact in facts:
        if fact.name != "Equal":
            continue
        names = {node.name for node in walk(fact) if isinstance(node, Call)}
        whole = 60.0 if names & {"MeasureOfAngle", "MeasureOfArc"} else unit
        for node in walk(fact):
            factor = 1.0
            if isinstance(node, Operation) and node.symbol == "*" and isinstance(node.left, Number):
                factor, node = node.left.value, node.right
            if isinstance(node, Variable) and factor:
                found.setdefault(node.name, []).append(whole / abs(factor))
    return {name: min(sizes) for name, sizes in found.items()}


def _names_circle(predicate: str, position: int) -> bool:
    """Whether this argument of the predicate begins with a circle's name."""
    if predicate in ("IsTangentOfCircle", "IsDiameterOfCircle", "IsCentreOfCircle"):
        return position == 1
    return predicate.endswith(("OfCircle", "OfArc", "OfSector"))


def _only_turns(form: Form) -> bool:
    """Whether the form is one or two turns and a number, so that whole turns do not count."""
    keys = list(form.terms.items())
    return len(keys) <= 2 and all(key[0] == "turn" and abs(value) == 1 for key, value in keys)
