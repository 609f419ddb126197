r"""Answers as trees, and their values. Our own small parser: text is never handed to `eval` or to sympy's.

evaluate(parse_arithmetic("3/2*sqrt(3)"))            # 2.598...
evaluate(parse_arithmetic(r"\frac{3\sqrt{3}}{2}"))   # the same
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from etude.methods.geoeval.notation import Token, Unreadable, tokenize

_DEEPEST = 40
_MOST_TOKENS = 200


@dataclass(frozen=True, slots=True)
class Number:
    """A number.

    Args:
        value: Its value.
        decimals: Digits behind the point as it was written; 0 for whole numbers.
    """

    value: float
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """A free variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation: `+ - * / ^ neg degree percent root`, a function's name, or a constant (`pi`, `inf`).

    Args:
        operation: Which.
        operands: On what.
    """

    operation: str
    operands: tuple[Node, ...] = ()


Node: TypeAlias = Number | Symbol | Apply


class NoValue(ArithmeticError):
    """The expression has no real value: it divides by zero, is too large or holds a free variable."""


_FUNCTIONS: dict[str, Callable[[float], float]] = {
    "sqrt": math.sqrt, "cbrt": math.cbrt, "log": math.log, "exp": math.exp, "abs": abs, "neg": lambda x: -x,
    "degree": lambda x: x, "percent": lambda x: x / 100,
}  # fmt: skip
_TURNS: dict[str, Callable[[float], float]] = {
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "cot": lambda x: 1 / math.tan(x),
    "sec": lambda x: 1 / math.cos(x), "csc": lambda x: 1 / math.sin(x),
}  # fmt: skip
_ANGLES: dict[str, Callable[[float], float]] = {"asin": math.asin, "acos": math.acos, "atan": math.atan}
ANGULAR = frozenset((*_TURNS, *_ANGLES))
"""Functions whose value depends on the measure of angles."""


def parse_arithmetic(text: str) -> Node:
    """Parse one arithmetic expression, plain or LaTeX.

    Raises:
        Unreadable: It is not one.
    """
    return parse_tokens(tokenize(text))


def parse_tokens(tokens: Sequence[Token]) -> Node:
    """Parse the tokens of one arithmetic expression; all of them must belong to it.

    Raises:
        Unreadable: They do not.
    """
    if not tokens or len(tokens) > _MOST_TOKENS:
        raise Unreadable(f"{len(tokens)} tokens are no expression")
    reader = _Reader(tokens)
    node = reader.sum()
    if reader.next is not None:
        raise Unreadable(f"{reader.next.text!r} was not expected")
    return node


def evaluate(node: Node, values: Mapping[str, float] | None = None, *, degrees: bool = False) -> float:
    """The value of an expression in double precision.

    Args:
        node: The expression.
        values: Values of its variables.
        degrees: Whether angles without a degree sign are degrees (in `sin(30)` and in what `atan` gives).

    Raises:
        NoValue: There is none.
    """
    try:
        value = _value(node, values or {}, degrees)
    except (ArithmeticError, ValueError) as error:
        raise NoValue(str(error)) from error
    if not math.isfinite(value):
        raise NoValue("not finite")
    return value


def variables(node: Node) -> frozenset[str]:
    """Names of the free variables."""
    if isinstance(node, Symbol):
        return frozenset((node.name,))
    if isinstance(node, Apply):
        return frozenset().union(*map(variables, node.operands))
    return frozenset()


def operations(node: Node) -> frozenset[str]:
    """Names of all operations."""
    if isinstance(node, Apply):
        return frozenset((node.operation,)).union(*map(operations, node.operands))
    return frozenset()


def is_rounded(node: Node) -> bool:
    """Whether a number with decimals stands in it, so that its value is probably rounded."""
    if isinstance(node, Number):
        return node.decimals > 0 and not node.value.is_integer()
    return isinstance(node, Apply) and any(map(is_rounded, node.operands))


def _value(node: Node, values: Mapping[str, float], degrees: bool) -> float:
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Symbol):
        if node.name not in values:
            raise NoValue(f"{node.name} is free")
        return values[node.name]
    name, operands = node.operation, node.operands
    if not operands:
        return math.pi if name == "pi" else math.inf
    if name in _TURNS:
        argument = _value(operands[0], values, degrees)
        in_degrees = degrees or "degree" in operations(operands[0])
        return _TURNS[name](math.radians(argument) if in_degrees else argument)
    first = _value(operands[0], values, degrees)
    if name in _ANGLES:
        return math.degrees(_ANGLES[name](first)) if degrees else _ANGLES[name](first)
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](first)
    second = _value(operands[1], values, degrees)
    if name == "+":
        return first + second
    if name == "-":
        return first - second
    if name == "*":
        return first * second
    if name == "/":
        return first / second
    # math.pow raises ValueError instead of turning complex, and OverflowError instead of growing without end
    return math.pow(first, 1 / second if name == "root" else second)


class _Reader:
    """Recursive descent over tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    @property
    def next(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def accept(self, *signs: str) -> str | None:
        token = self.next
        if token is not None and token.kind == "sign" and token.text in signs:
            self.at += 1
            return token.text
        return None

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise Unreadable(f"{sign!r} is missing")

    def deeper(self, read: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unreadable("too deeply nested")
        node = read()
        self.depth -= 1
        return node

    def sum(self) -> Node:
        return self.deeper(self._sum)

    def _sum(self) -> Node:
        node = self.product()
        while sign := self.accept("+", "-"):
            node = Apply(sign, (node, self.product()))
        return node

    def product(self) -> Node:
        node = self.unary()
        while True:
            if sign := self.accept("*", "/"):
                node = Apply(sign, (node, self.unary()))
            elif (token := self.next) is not None and (token.kind != "sign" or token.text in "({["):
                if mixed := self._mixed(node):
                    node = mixed
                elif token.kind == "number":
                    raise Unreadable("two numbers side by side")
                else:
                    node = Apply("*", (node, self.power()))
            else:
                return node

    def unary(self) -> Node:
        return self.deeper(self._unary)

    def _unary(self) -> Node:
        if self.accept("-"):
            return Apply("neg", (self.unary(),))
        return self.unary() if self.accept("+") else self.power()

    def power(self) -> Node:
        node = self._signed(self.primary())
        if self.accept("^"):
            node = Apply("^", (node, self._braced() or self.unary()))
        return node

    def _signed(self, node: Node) -> Node:
        while sign := self.accept("°", "%"):
            node = Apply("degree" if sign == "°" else "percent", (node,))
        return node

    def primary(self) -> Node:
        token = self.next
        if token is None:
            raise Unreadable("it ends too early")
        self.at += 1
        if token.kind == "number":
            return _number(token.text)
        if token.kind == "name":
            return self._named(token.text)
        if token.kind == "word":
            return _letters(token.text)
        closing = {"(": ")", "{": "}", "[": "]", "|": "|"}.get(token.text)
        if closing is None:
            raise Unreadable(f"{token.text!r} was not expected")
        node = self.sum()
        self.expect(closing)
        return Apply("abs", (node,)) if closing == "|" else node

    def _named(self, name: str) -> Node:
        if name in ("pi", "inf"):
            return Apply(name)
        if name == "frac":
            return Apply("/", (self._argument(), self._argument()))
        if name == "sqrt" and self.accept("["):
            degree = self.sum()
            self.expect("]")
            return Apply("root", (self._argument(), degree))
        power: Node | None = None
        if name not in ("sqrt", "cbrt") and self.accept("^"):
            power = self._braced() or self.unary()
            if power == Apply("neg", (Number(1.0),)) and f"a{name}" in _ANGLES:
                name, power = f"a{name}", None
        node: Node = Apply(name, (self._argument(),))
        return node if power is None else Apply("^", (node, power))

    def _argument(self) -> Node:
        """What a function is applied to: a group, or the next number, name or letter with its degree sign."""
        return self._braced() or self.deeper(lambda: self._signed(self.primary()))

    def _braced(self) -> Node | None:
        if not self.accept("{"):
            return None
        node = self.sum()
        self.expect("}")
        return node

    def _mixed(self, whole: Node) -> Node | None:
        r"""`3 1/2` and `3\frac{1}{2}` are three and a half."""
        if not isinstance(whole, Number) or whole.decimals:
            return None
        texts = [token.text for token in self.tokens[self.at : self.at + 7]]
        if texts[:2] == ["frac", "{"] and texts[3:5] == ["}", "{"] and texts[6:] == ["}"]:
            above, below, length = texts[2], texts[5], 7
        elif texts[:1] == ["frac"] and len(texts) > 2:
            above, below, length = texts[1], texts[2], 3
        elif len(texts) > 2 and texts[1] == "/":
            above, below, length = texts[0], texts[2], 3
        else:
            return None
        if not (_is_whole(above) and _is_whole(below) and int(above) < int(below)):
            return None
        self.at += length
        return Apply("+", (whole, Apply("/", (_number(above), _number(below)))))


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _number(text: str) -> Number:
    try:
        value = float(text)
    except ValueError as error:
        raise Unreadable(f"{text!r} is no number") from error
    if not math.isfinite(value):
        raise Unreadable("the number is too large")
    mantissa = text.lower().partition("e")[0]
    return Number(value, len(mantissa.partition(".")[2]))


def _letters(word: str) -> Node:
    """Letters side by side are variables multiplied; a longer word is no mathematics."""
    if len(word) > 3 or not word.isalpha():
        raise Unreadable(f"{word!r} is a word")
    node: Node = Symbol(word[0])
    for letter in word[1:]:
        node = Apply("*", (node, Symbol(letter)))
    return node
