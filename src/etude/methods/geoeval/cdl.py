"""The fact language (CDL): from text to a tree and back.

    fact = parse_cdl("Equal(LengthOfLine(AB),3*x+11)")
    fact.name, fact.arguments[0]        # 'Equal', Call('LengthOfLine', (Points('AB'),))
    print_cdl(fact)                     # 'Equal(LengthOfLine(AB),3*x+11)'

Capital letters in a group of points are points; a letter inside an expression is an unknown. Angles and arcs
run counter-clockwise: `MeasureOfAngle(ABC)` turns from the ray BC to the ray BA, `MeasureOfArc(OAB)` from A
to B about O. Expressions are arithmetic only; nothing here is ever evaluated as Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from etude.errors import EtudeError
from etude.methods.geoeval.predicates import EDGE, EXPRESSION, MANY, POINTS, SIGNATURES


@dataclass(frozen=True)
class Points:
    """A group of point letters, e.g. `ABC`."""

    letters: str


@dataclass(frozen=True)
class Number:
    """A number as it was written, or `pi`."""

    text: str

    @property
    def value(self) -> float:
        """The number as a float."""
        return 3.141592653589793 if self.text == "pi" else float(self.text)


@dataclass(frozen=True)
class Variable:
    """An algebraic unknown: one letter."""

    name: str


@dataclass(frozen=True)
class Operation:
    """`left symbol right`; the symbol is one of `+ - * / ^`."""

    symbol: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Negative:
    """`-operand`."""

    operand: Node


@dataclass(frozen=True)
class Call:
    """A predicate with its arguments, or a function (`sqrt`, `sin`, `cos`, `tan`) in an expression."""

    name: str
    arguments: tuple[Node, ...]


Node: TypeAlias = Points | Number | Variable | Operation | Negative | Call

FUNCTIONS = ("sqrt", "sin", "cos", "tan")
_TOKEN = re.compile(r"\s*(?:(?P<number>\d+\.?\d*|\.\d+)|(?P<name>[A-Za-z]+)|(?P<symbol>\*\*|[-+*/^(){},]))")
_MOST_CHARACTERS = 2_000
_DEEPEST = 40


def mend_cdl(text: str) -> str:
    """Undo the slips of the published annotation that leave no doubt about what was meant.

    Full-width signs become plain ones, a point between two sides a comma, small point letters capitals; a
    missing or surplus closing parenthesis at the end is added or dropped; a circle written together with its
    points is set apart, an arc or line written apart is joined; a side where a number belongs is its length.
    """
    text = text.strip().translate(str.maketrans("，（）．", ",()."))
    for slip, meant in _SLIPS:
        text = slip.sub(meant, text)
    missing = text.count("(") - text.count(")")
    if missing < 0 and text.endswith(")" * -missing):
        return text[:missing]
    return text + ")" * missing


_SLIPS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"(?<=[A-Z])\.(?=[A-Z])"), ","),
    (re.compile(r"(?<=[(,])(?!pi\b)[A-Za-z]{2,3}(?=[,)])"), lambda match: match[0].upper()),
    (re.compile(r"^Cocircular\(([A-Z])([A-Z]+)\)$"), r"Cocircular(\1,\2)"),
    (re.compile(r"^Collinear\(([A-Z]),([A-Z]),([A-Z])\)$"), r"Collinear(\1\2\3)"),
    (re.compile(r"\b(MeasureOfArc|LengthOfArc|AreaOfSector)\(([A-Z]),([A-Z]{2})\)"), r"\1(\2\3)"),
    (re.compile(r"^(IsTangentOfCircle\([A-Z]{2},[A-Z]),[A-Z]\)$"), r"\1)"),
    (re.compile(r"^(Equal\(.*\)),([A-Z]{2})\)$"), r"\1,LengthOfLine(\2))"),
]


@lru_cache(maxsize=50_000)
def parse_cdl(text: str) -> Call:
    """Parse one fact.

    Args:
        text: E.g. `Equal(LengthOfLine(AB),7)`; white space is ignored, `3x` is read as `3*x`.

    Raises:
        EtudeError: Unknown predicate, wrong number of arguments, unbalanced parentheses: named with the
            position of the character.
    """
    node = _Parser(text).fact()
    assert isinstance(node, Call)
    return node


@lru_cache(maxsize=10_000)
def parse_expression(text: str) -> Node:
    """Parse an expression such as `3/2*sqrt(3)` or `LengthOfLine(AB)+x`.

    Raises:
        EtudeError: It is not one; the position is named.
    """
    return _Parser(text).whole_expression()


def print_cdl(node: Node) -> str:
    """The text of a tree; parsing it again gives the same tree."""
    return _print(node, 0)


def walk(node: Node) -> Iterator[Node]:
    """A tree's nodes, each before its children."""
    yield node
    if isinstance(node, Call):
        for argument in node.arguments:
            yield from walk(argument)
    elif isinstance(node, Operation):
        yield from walk(node.left)
        yield from walk(node.right)
    elif isinstance(node, Negative):
        yield from walk(node.operand)


def points_of(node: Node) -> str:
    """The point letters of a tree, in order of appearance, each once."""
    return "".join(dict.fromkeys("".join(n.letters for n in walk(node) if isinstance(n, Points))))


def variables_of(node: Node) -> list[str]:
    """The unknowns of a tree, in order of appearance, each once."""
    return list(dict.fromkeys(n.name for n in walk(node) if isinstance(n, Variable)))


_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 4}


def _print(node: Node, strength: int) -> str:
    match node:
        case Points(letters):
            return letters
        case Number(text):
            return text
        case Variable(name):
            return name
        case Call(name, arguments):
            return f"{name}({','.join(_print(argument, 0) for argument in arguments)})"
        case Negative(operand):
            text, own = f"-{_print(operand, 3)}", 3
        case Operation(symbol, left, right):
            own = _STRENGTH[symbol]
            tighter_left = own + 1 if symbol == "^" else own
            text = f"{_print(left, tighter_left)}{symbol}{_print(right, own + (symbol != '^'))}"
    return f"({text})" if own < strength else text


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.depth = 0
        self.tokens: list[tuple[str, str, int]] = []
        if len(text) > _MOST_CHARACTERS:
            raise self._error("longer than 2,000 characters", 0)
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise self._error(f"unexpected {text[at : at + 1]!r}", at)
            self.tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            at = match.end()
        self.tokens.append(("end", "", end))
        self.next = 0

    def fact(self) -> Node:
        kind, name, at = self._take()
        if kind != "name" or name not in SIGNATURES:
            raise self._error(f"unknown predicate {name!r}", at)
        node = self._call(name, at)
        self._finish()
        return node

    def whole_expression(self) -> Node:
        node = self._sum()
        self._finish()
        return node

    def _finish(self) -> None:
        kind, text, at = self._take()
        if kind != "end":
            raise self._error(f"unexpected {text!r} after the end", at)

    def _take(self) -> tuple[str, str, int]:
        token = self.tokens[self.next]
        self.next = min(self.next + 1, len(self.tokens) - 1)
        return token

    def _peek(self) -> str:
        return self.tokens[self.next][1]

    def _expect(self, symbol: str) -> None:
        _, text, at = self._take()
        if text != symbol:
            raise self._error(f"{symbol!r} expected, found {text!r}" if text else f"{symbol!r} missing", at)

    def _error(self, problem: str, at: int) -> EtudeError:
        shown = self.text if len(self.text) <= 120 else f"{self.text[:117]}..."
        return EtudeError(
            f"{shown}: {problem} at character {at + 1}",
            "A fact is a known predicate with its arguments, e.g. Equal(LengthOfLine(AB),2*x+3).",
        )

    def _call(self, name: str, at: int) -> Call:
        self._expect("(")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error("nested too deeply", at)
        signature = SIGNATURES[name]
        arguments: list[Node] = []
        while True:
            index = len(arguments)
            repeated = index >= len(signature) or signature[index] == MANY
            if repeated and signature[-1] != MANY:
                raise self._error(f"{name} takes {len(signature)} arguments", self.tokens[self.next][2])
            arguments.append(self._argument(signature[-2] if repeated else signature[index], name))
            if self._peek() != ",":
                break
            self._take()
        least = len(signature) - (signature[-1] == MANY)
        if len(arguments) < least:
            raise self._error(f"{name} takes {least} arguments", self.tokens[self.next][2])
        self._expect(")")
        self.depth -= 1
        return Call(name, tuple(arguments))

    def _argument(self, kind: int, name: str) -> Node:
        if kind == EXPRESSION:
            return self._sum()
        token, text, at = self._take()
        if token != "name" or not text.isupper() or not text.isascii():
            raise self._error(f"{name}: capital point letters expected, found {text!r}", at)
        right = {POINTS: len(text) >= 1, EDGE: len(text) <= 3}.get(kind, len(text) == kind)
        if not right or (kind in (EDGE, 2, 3, 4) and len(set(text)) < len(text)):
            wanted = {POINTS: "letters", EDGE: "a side AB or an arc OAB"}.get(
                kind, f"{kind} different letters"
            )
            raise self._error(f"{name}: {wanted} expected, found {text!r}", at)
        return Points(text)

    def _sum(self) -> Node:
        node = self._product()
        while self._peek() in ("+", "-"):
            symbol = self._take()[1]
            node = Operation(symbol, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._signed()
        while True:
            kind, text, _ = self.tokens[self.next]
            if text in ("*", "/"):
                self._take()
                node = Operation(text, node, self._signed())
            elif kind in ("name", "number") or text in ("(", "{"):
                node = Operation("*", node, self._power())  # 3a is 3*a
            else:
                return node

    def _signed(self) -> Node:
        if self._peek() == "-":
            self._take()
            return Negative(self._signed())
        if self._peek() == "+":
            self._take()
            return self._signed()
        return self._power()

    def _power(self) -> Node:
        base = self._atom()
        if self._peek() in ("^", "**"):
            self._take()
            return Operation("^", base, self._signed())
        return base

    def _atom(self) -> Node:
        kind, text, at = self._take()
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error("nested too deeply", at)
        try:
            if kind == "number":
                return Number(text)
            if text in ("(", "{"):
                node = self._sum()
                self._expect(")" if text == "(" else "}")
                return node
            if text == "pi":
                return Number("pi")
            if text in FUNCTIONS:
                self._expect("(")
                node = self._sum()
                self._expect(")")
                return Call(text, (node,))
            if text in SIGNATURES:
                return self._call(text, at)
            if kind == "name" and len(text) == 1:
                return Variable(text)
            raise self._error(f"a number, an unknown or a quantity expected, found {text!r}", at)
        finally:
            self.depth -= 1
