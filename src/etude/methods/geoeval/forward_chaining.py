"""A baseline that reasons forwards: theorems compute one unknown from known values until the goal is known.

It solves no equations: from `AB = 2x+3` it gets AB when x is known, never x when AB is. So it answers many
forward problems and cannot follow a backward one that asks for a number inside a formula.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations
from math import acos, cos, degrees, isfinite, pi, radians, sin, sqrt

from etude.methods.geoeval.cdl import (
    Call,
    Negative,
    Node,
    Number,
    Operation,
    Points,
    Variable,
)
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.theorems import Key, Theorems

_ROUNDS = 40
_OPERATORS = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Pow": "^"}


@dataclass(frozen=True)
class Derivation:
    """What was derived.

    Args:
        value: The answer; None if the theorems do not reach it.
        steps: What each step found, by which theorem.
    """

    value: float | None
    steps: tuple[str, ...] = ()


@dataclass
class _Known:
    """Values so far, and how each was found."""

    theorems: Theorems
    values: dict[Key, float] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    def learn(self, key: Key, value: float, theorem: str) -> bool:
        """Keep a new value; impossible ones (no length, an angle beyond 180) are not believed."""
        limit = {"angle": 180.0, "arc": 360.0}.get(str(key[0]), 1e12)
        if (
            key in self.values
            or not isfinite(value)
            or value > limit
            or (key[0] != "variable" and value <= 0)
        ):
            return False
        self.values[key] = value
        self.steps.append(f"{_shown(key)} = {value:.6g} ({theorem})")
        return True


def forward_chain(problem: Problem) -> Derivation:
    """Apply all theorems until the goal is known or nothing new comes out.

    Args:
        problem: With parseable facts and a goal.

    Raises:
        EtudeError: A fact cannot be read.
    """
    theorems = Theorems(problem)
    known = _Known(theorems)
    [asked] = problem.goal.arguments
    for _ in range(_ROUNDS):
        value = _evaluate(asked, known)
        if value is not None:
            return Derivation(value, tuple(known.steps))
        if not any([_state(problem, known), _add_up(known), _triangles(known), _proportions(known)]):
            break
    return Derivation(None, tuple(known.steps))


def _state(problem: Problem, known: _Known) -> bool:
    """Given facts: a quantity, or an unknown alone, equals what can be computed."""
    news = False
    for fact in problem.facts:
        if fact.name != "Equal":
            continue
        for one, other in (fact.arguments, fact.arguments[::-1]):
            key, factor = _key(one, known.theorems)
            if key is not None and key not in known.values:
                value = _evaluate(other, known)
                if value is not None:
                    news |= known.learn(key, value / factor, "given")
    return news


def _add_up(known: _Known) -> bool:
    news = False
    for relation in known.theorems.relations:
        unknown = [term for term in relation.terms if term[1] not in known.values]
        if len({key for _, key in unknown}) == 1:
            factor = sum(f for f, _ in unknown)
            rest = relation.total - sum(f * known.values[k] for f, k in relation.terms if k in known.values)
            if factor:
                news |= known.learn(unknown[0][1], rest / factor, relation.theorem)
    return news


def _triangles(known: _Known) -> bool:
    """Isosceles triangles, Pythagoras and cosines, sines."""
    news = False
    t, values = known.theorems, known.values
    for triangle in t.triangles:
        for a, b, c in permutations(triangle):
            ab, ac, bc = (values.get(t.length(*pair)) for pair in (a + b, a + c, b + c))
            at_a, at_b, at_c = (values.get(t.angle(*corner)) for corner in (b + a + c, a + b + c, a + c + b))
            if at_b is not None and at_b == at_c and ab is not None:
                news |= known.learn(t.length(a, c), ab, "equal angles, equal sides")
            if ab is not None and ab == ac and at_b is not None:
                news |= known.learn(t.angle(a, c, b), at_b, "equal sides, equal angles")
            if ab is not None and ac is not None and at_a is not None:
                square = ab**2 + ac**2 - 2 * ab * ac * cos(radians(at_a))
                news |= known.learn(t.length(b, c), sqrt(max(square, 0.0)), "law of cosines")
            if ab is not None and ac is not None and bc is not None:
                cosine = (ab**2 + ac**2 - bc**2) / (2 * ab * ac)
                if -1 < cosine < 1:
                    news |= known.learn(t.angle(b, a, c), degrees(acos(cosine)), "law of cosines")
            if at_a == 90 and bc is not None and ab is not None and bc > ab:
                news |= known.learn(t.length(a, c), sqrt(bc**2 - ab**2), "Pythagoras")
            if at_a is not None and at_b is not None and bc is not None and sin(radians(at_a)) > 1e-9:
                other = bc * sin(radians(at_b)) / sin(radians(at_a))
                news |= known.learn(t.length(a, c), other, "law of sines")
    return news


def _proportions(known: _Known) -> bool:
    news = False
    for proportion in known.theorems.proportions:
        first, second, third, fourth = (known.values.get(key) for key in proportion.measures)
        missing = [value for value in (first, second, third, fourth) if value is None]
        if len(missing) != 1:
            continue
        if fourth is None and first and second and third:
            news |= known.learn(proportion.measures[3], third * second / first, proportion.theorem)
        elif third is None and first and second and fourth:
            news |= known.learn(proportion.measures[2], fourth * first / second, proportion.theorem)
        elif second is None and first and third and fourth:
            news |= known.learn(proportion.measures[1], first * fourth / third, proportion.theorem)
        elif first is None and second and third and fourth:
            news |= known.learn(proportion.measures[0], second * third / fourth, proportion.theorem)
    return news


def _key(node: Node, t: Theorems) -> tuple[Key | None, float]:
    """The measure that an expression is, with its factor; None if it is none."""
    if isinstance(node, Variable):
        return ("variable", node.name), 1.0
    if not isinstance(node, Call) or not isinstance(node.arguments[0], Points):
        return None, 1.0
    letters = node.arguments[0].letters
    if node.name == "LengthOfLine":
        return t.length(*letters), 1.0
    if node.name == "MeasureOfAngle":
        return t.angle(*letters), 1.0
    if node.name == "MeasureOfArc":
        return t.arc(*letters), 1.0
    if node.name in ("RadiusOfCircle", "DiameterOfCircle"):
        return ("radius", letters), 1.0 if node.name[0] == "R" else 2.0
    groups = tuple(a.letters for a in node.arguments if isinstance(a, Points))
    return (node.name, *(frozenset(g) for g in groups)), 1.0


def _evaluate(node: Node, known: _Known) -> float | None:
    """An expression's value from what is known; None if something is missing."""
    key, factor = _key(node, known.theorems)
    if key is not None:
        if key in known.values:
            return factor * known.values[key]
        return _formula(node, known) if isinstance(node, Call) else None
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Negative):
        inner = _evaluate(node.operand, known)
        return None if inner is None else -inner
    if isinstance(node, Operation):
        return _compute(node.symbol, [_evaluate(node.left, known), _evaluate(node.right, known)])
    assert isinstance(node, Call)
    operands = [_evaluate(argument, known) for argument in node.arguments]
    if node.name in _OPERATORS:
        return _compute(_OPERATORS[node.name], operands)
    [operand] = operands
    if operand is None:
        return None
    name = node.name.lower()
    if name == "sqrt":
        return sqrt(operand) if operand >= 0 else None
    angle = radians(operand)
    return {"sin": sin(angle), "cos": cos(angle), "tan": sin(angle) / (cos(angle) or 1e-300)}[name]


def _compute(symbol: str, operands: list[float | None]) -> float | None:
    total: float | None = operands[0]
    for operand in operands[1:]:
        if total is None or operand is None:
            return None
        try:
            if symbol == "+":
                total += operand
            elif symbol == "-":
                total -= operand
            elif symbol == "*":
                total *= operand
            elif symbol == "/":
                total /= operand
            else:
                power = total**operand
                total = power if isinstance(power, float) else None
        except (ZeroDivisionError, OverflowError):
            return None
    return total


def _formula(node: Call, known: _Known) -> float | None:
    """Formulas for perimeters, areas, arcs, heights and ratios."""
    t, values = known.theorems, known.values
    groups = [a.letters for a in node.arguments if isinstance(a, Points)]
    own = groups[0]
    radius = values.get(("radius", own[0]))
    sides = [values.get(t.length(own[i - 1], own[i])) for i in range(len(own))] if len(own) > 1 else []
    if node.name.endswith("OfCircle"):
        scale = {"PerimeterOfCircle": 2 * pi, "AreaOfCircle": pi}.get(node.name)
        return (
            None if radius is None or scale is None else scale * radius ** (2 if "Area" in node.name else 1)
        )
    if node.name in ("LengthOfArc", "AreaOfSector", "PerimeterOfSector"):
        turn = values.get(t.arc(*own))
        if radius is None or turn is None:
            return None
        along = radius * radians(turn)
        return {"L": along, "A": along * radius / 2, "P": along + 2 * radius}[node.name[0]]
    if node.name.startswith("Perimeter"):
        return None if None in sides else sum(side for side in sides if side is not None)
    if node.name.startswith("RatioOf"):
        return _compute("/", [values.get(t.length(*group[:2])) for group in groups])
    if node.name == "AreaOfTriangle":
        return _triangle_area(own, known)
    if node.name == "AreaOfQuadrilateral":
        halves = [_triangle_area(own[:3], known), _triangle_area(own[0] + own[2:], known)]
        return _compute("+", halves)
    if node.name.startswith("HeightOf"):
        area, base = _triangle_area(own[:3], known), values.get(t.length(*own[1:3]))
        return None if area is None or not base else 2 * area / base
    return None


def _triangle_area(triangle: str, known: _Known) -> float | None:
    """Half of two sides and the sine between them, or half of base and height."""
    t, values = known.theorems, known.values
    for a, b, c in permutations(triangle):
        ab, ac = values.get(t.length(a, b)), values.get(t.length(a, c))
        angle, base = values.get(t.angle(b, a, c)), values.get(t.length(b, c))
        if ab is not None and ac is not None and angle is not None:
            return ab * ac * sin(radians(angle)) / 2
        for foot in t.points:
            upright = values.get(t.angle(a, foot, b)) == 90 or values.get(t.angle(a, foot, c)) == 90
            height = values.get(t.length(a, foot))
            if base is not None and height is not None and upright and t.on_line((foot, b, c)):
                return base * height / 2
    return None


def _shown(key: Key) -> str:
    kind = str(key[0])
    letters = ["".join(sorted(part)) if isinstance(part, frozenset) else str(part) for part in key[1:]]
    if kind == "angle":
        first, second = letters[1][0], letters[1][-1]
        return f"angle {first}{letters[0]}{second}"
    return f"{kind} {''.join(letters)}".removeprefix("length ").removeprefix("variable ")
