"""Expressions as forms over measures: lengths, angles, arcs, areas, and arithmetic on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import Call, Negative, Node, Number, Operation, Points, Variable, print_cdl
from etude.methods.geoeval.quantities import Form, Measures


@dataclass(frozen=True)
class Measured:
    """An expression over the measures of a picture.

    Args:
        form: Its value.
        power: Its dimension as a power of length; 0 for angles and plain numbers.
        angle: Whether it contains an angle.
    """

    form: Form
    power: float = 0.0
    angle: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether it is a plain number."""
        return not self.form.terms


class Expressions:
    """Turns expressions into forms.

    Args:
        measures: Where the measures are registered.
        center: From a circle's name to its center point.
        variable_scale: Typical size of each unknown.
    """

    def __init__(
        self, measures: Measures, center: Callable[[str], str], variable_scale: dict[str, float]
    ) -> None:
        self.measures = measures
        self.center = center
        self.variable_scale = variable_scale

    def measure(self, node: Node) -> Measured:
        """An expression as a form.

        Raises:
            EtudeError: It uses something that has no value.
        """
        match node:
            case Number():
                return Measured(Form({}, node.value))
            case Variable(name):
                return Measured(self.measures.scalar(f"variable {name}", self.variable_scale.get(name, 1.0)))
            case Negative(operand):
                inner = self.measure(operand)
                return Measured(inner.form.times(-1.0), inner.power, inner.angle)
            case Operation(symbol, left, right):
                return self._combine(symbol, self.measure(left), self.measure(right))
            case Call(name, arguments):
                return self._call(name, arguments, node)
        raise EtudeError(f"{print_cdl(node)}: has no value", "Give a number, an unknown or a quantity.")

    def radius(self, circle: str) -> Form:
        """A circle's radius."""
        return self.measures.scalar(f"radius {circle}", self.measures.unit)

    def area(self, polygon: str) -> Form:
        """Signed area of a polygon, positive if its corners run counter-clockwise."""
        first, rest = polygon[0], polygon[1:]
        total = Form()
        for second, third in pairwise(rest):
            total = total + self.measures.cross(first + second, first + third)
        return total.times(0.5)

    def perimeter(self, polygon: str) -> Form:
        """Sum of the sides."""
        total = Form()
        for start, end in pairwise(polygon + polygon[0]):
            total = total + self.measures.length(start, end)
        return total

    def angle(self, corner: str) -> Form:
        """The turn from the ray BC to the ray BA of `ABC`."""
        a, b, c = tuple(corner)
        return self.measures.turn(b + c, b + a)

    def arc(self, arc: str) -> Form:
        """The central angle of an arc `OAB`."""
        circle, start, end = tuple(arc)
        center = self.center(circle)
        return self.measures.turn(center + start, center + end)

    def _combine(self, symbol: str, left: Measured, right: Measured) -> Measured:
        angle = left.angle or right.angle
        if symbol in "+-":
            form = left.form + right.form if symbol == "+" else left.form - right.form
            return Measured(form, max(left.power, right.power), angle)
        if symbol == "*":
            power = left.power + right.power
            if left.is_constant:
                return Measured(right.form.times(left.form.constant), power, angle)
            if right.is_constant:
                return Measured(left.form.times(right.form.constant), power, angle)
            return Measured(self.measures.derived("mul", left.form, right.form), power, angle)
        if symbol == "/":
            if right.is_constant:
                if not right.form.constant:
                    raise EtudeError("division by zero", "Mend the expression.")
                return Measured(left.form.times(1 / right.form.constant), left.power, angle)
            form = self.measures.derived("div", left.form, right.form)
            return Measured(form, left.power - right.power, angle)
        if not right.is_constant:
            raise EtudeError("an unknown in an exponent", "Only constant exponents are supported.")
        exponent = right.form.constant
        if left.is_constant:
            base = left.form.constant
            if base < 0 and exponent != round(exponent):
                raise EtudeError("a root of a negative number", "Mend the expression.")
            try:
                return Measured(Form({}, float(base**exponent)))
            except (OverflowError, ZeroDivisionError) as error:
                raise EtudeError(f"{base:g}^{exponent:g} has no value", "Mend the expression.") from error
        return Measured(self.measures.derived("pow", left.form, right.form), left.power * exponent, angle)

    def _call(self, name: str, arguments: tuple[Node, ...], node: Node) -> Measured:
        groups = [argument.letters for argument in arguments if isinstance(argument, Points)]
        if len(groups) == len(arguments):
            return self._quantity(name, groups, node)
        inner = [self.measure(argument) for argument in arguments]
        if name in ("Add", "Mul", "Sub", "Div", "Pow"):
            symbol = {"Add": "+", "Mul": "*", "Sub": "-", "Div": "/", "Pow": "^"}[name]
            total = inner[0]
            for other in inner[1:]:
                total = self._combine(symbol, total, other)
            return total
        operation = name.lower()
        if inner[0].is_constant:
            value = inner[0].form.constant
            if operation == "sqrt" and value < 0:
                raise EtudeError(f"{print_cdl(node)}: root of a negative number", "Mend the expression.")
            radians = np.radians(value)
            plain = {
                "sqrt": abs(value) ** 0.5,
                "sin": np.sin(radians),
                "cos": np.cos(radians),
                "tan": np.tan(radians),
            }
            return Measured(Form({}, float(plain[operation])))
        power = inner[0].power / 2 if operation == "sqrt" else 0.0
        return Measured(self.measures.derived(operation, inner[0].form), power)

    def _quantity(self, name: str, groups: list[str], node: Node) -> Measured:
        own, m = groups[0], self.measures
        if name == "LengthOfLine":
            return Measured(m.length(*own), 1)
        if name == "MeasureOfAngle":
            return Measured(self.angle(own), 0, True)
        if name == "MeasureOfArc":
            return Measured(self.arc(own), 0, True)
        if name in ("RadiusOfCircle", "DiameterOfCircle", "PerimeterOfCircle"):
            factor = {"R": 1.0, "D": 2.0, "P": 2 * np.pi}[name[0]]
            return Measured(self.radius(own).times(factor), 1)
        if name == "AreaOfCircle":
            return Measured(self._square(self.radius(own)).times(np.pi), 2)
        if name in ("AreaOfTriangle", "AreaOfQuadrilateral"):
            return Measured(m.derived("abs", self.area(own)), 2)
        if name in ("PerimeterOfTriangle", "PerimeterOfQuadrilateral"):
            return Measured(self.perimeter(own), 1)
        if name in ("HeightOfTriangle", "HeightOfQuadrilateral"):
            doubled = m.derived("abs", self.area(own[:3])).times(2)
            return Measured(m.derived("div", doubled, m.length(own[1], own[2])), 1)
        if name in ("LengthOfArc", "AreaOfSector", "PerimeterOfSector"):
            radius, turn = self.radius(own[0]), self.arc(own).times(np.pi / 180)
            if name == "AreaOfSector":
                return Measured(m.derived("mul", self._square(radius).times(0.5), turn), 2)
            along = m.derived("mul", radius, turn)
            return Measured(along + radius.times(2) if name == "PerimeterOfSector" else along, 1)
        if name.startswith("RatioOf"):
            first, second = groups
            return Measured(
                m.derived("div", m.length(*first[:2]), m.length(*matching_corners(name, second)[:2]))
            )
        raise EtudeError(f"{print_cdl(node)}: has no value", "Give a quantity such as LengthOfLine(AB).")

    def _square(self, form: Form) -> Form:
        return self.measures.derived("mul", form, form)


def matching_corners(name: str, letters: str) -> str:
    """The second figure's corners in the order of the first's; a mirror image runs the other way round."""
    return letters[0] + letters[:0:-1] if "Mirror" in name else letters
