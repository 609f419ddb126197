"""What an answer says: a number, a ratio, coordinates, a set, an interval, an equation, or only words.

parse_answer("AB = 12 cm")          # a number with a unit
parse_answer("3 : 4")               # a ratio
parse_answer("2 < x <= 5")          # an interval
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from etude.methods.geoeval.arithmetic import (
    Apply,
    Node,
    NoValue,
    evaluate,
    is_rounded,
    parse_tokens,
    variables,
)
from etude.methods.geoeval.arithmetic import Number as NumberNode
from etude.methods.geoeval.notation import MOST_CHARACTERS, Token, Unreadable, tokenize
from etude.methods.geoeval.units import Unit, split_unit

Kind = Literal["number", "expression", "ratio", "tuple", "set", "interval", "equation", "text", "empty"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it was understood.

    Args:
        kind: What it is; `text` when no mathematics could be read in it.
        text: As it was written, trimmed.
        parts: Its expressions: one of a number or expression, several of a ratio, tuple or set, the two ends
            of an interval (`inf` where open-ended), both sides of an equation.
        unit: Its unit, if it names one.
        closed: For an interval: whether its ends belong to it; None where it does not say.
        rounded: Whether a number in it was written with decimals.
        value: Of a number: its value in double precision, angles without a degree sign in radians.
    """

    kind: Kind
    text: str
    parts: tuple[Node, ...] = ()
    unit: Unit | None = None
    closed: tuple[bool, bool] | None = None
    rounded: bool = False
    value: float | None = None


_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})")
_LEADING = re.compile(
    r"^\W*?(?:about|approximately|approx\.?|roughly|around|nearly|exactly|equal to|equals|is|are"
    r"|=|≈|\\approx|~)\s+",
    re.I,
)
_BETWEEN = re.compile(
    r"^(?:between\s+(?P<a>.+?)\s+and\s+(?P<b>.+)|(?:from\s+)?(?P<c>\S+)\s+to\s+(?P<d>\S.*))$", re.I
)
_DASH = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*[-–—]\s*(\d+(?:\.\d+)?)\s*$")
_LABEL_SIGNS = frozenset("∠△⊙'()")
_ORDER = ("<", ">", "<=", ">=")


def parse_answer(text: str) -> Answer:
    """Read an answer.

    Returns:
        The answer; of kind `text` if it cannot be read as mathematics, `empty` if nothing is there.
    """
    if len(text) > MOST_CHARACTERS:
        return Answer("text", text[:MOST_CHARACTERS])
    text = " ".join(text.split()).strip("*").strip().rstrip(".;,").strip()
    if _PLAIN_NUMBER.fullmatch(text):
        return _plain_number(text)
    return _parse(text)


@lru_cache(maxsize=20_000)
def _parse(text: str) -> Answer:
    if not text:
        return Answer("empty", "")
    trimmed = _LEADING.sub("", text)
    try:
        if found := _BETWEEN.match(trimmed):
            ends = [end for end in found.groups() if end is not None]
            return _interval(text, _one(tokenize(ends[0])), _one(tokenize(ends[1])), None)
        return _structured(text, [t for t in tokenize(trimmed) if t.text not in ("≈", "$")])
    except (Unreadable, RecursionError):
        return Answer("text", text)


def as_interval(answer: Answer) -> Answer:
    """`2-5` read as a range instead of a difference, and a pair as its ends; anything else as it is."""
    if found := _DASH.match(answer.text):
        return _interval(answer.text, _number(found[1]), _number(found[2]), None)
    if (
        answer.kind == "tuple"
        and len(answer.parts) == 2
        and answer.text[:1] in "(["
        and answer.text[-1:] in ")]"
    ):
        closed = (answer.text[0] == "[", answer.text[-1] == "]")
        return Answer("interval", answer.text, answer.parts, answer.unit, closed, answer.rounded)
    return answer


def _plain_number(text: str) -> Answer:
    node = _number(text.lstrip("+-"))
    signed: Node = Apply("neg", (node,)) if text[0] == "-" else node
    return Answer("number", text, (signed,), None, None, is_rounded(node), float(text))


def _number(text: str) -> NumberNode:
    return NumberNode(float(text), len(text.partition(".")[2]))


def _structured(text: str, tokens: Sequence[Token]) -> Answer:
    """The outermost structure first: relations, then ratios, tuples and sets, then one expression."""
    choices = _places(tokens, ("or", "and"))
    if choices:
        return _several("set", text, [piece for piece in _cut(tokens, choices) if piece], None)
    orders = _places(tokens, _ORDER)
    if orders:
        return _ordered(text, tokens, orders)
    equals = _places(tokens, ("=",))
    if equals:
        return _equation(text, _cut(tokens, equals))
    tokens, unit = split_unit(tokens)
    ratio = _cut(tokens, _places(tokens, (":",)))
    if len(ratio) > 1:
        return _several("ratio", text, ratio, unit)
    listed = _listed(text, tokens, unit)
    if listed is not None:
        return listed
    return _single(text, _one(tokens), unit)


def _single(text: str, node: Node, unit: Unit | None) -> Answer:
    if variables(node):
        return Answer("expression", text, (node,), unit, None, is_rounded(node))
    return Answer("number", text, (node,), unit, None, is_rounded(node), _value(node))


def _value(node: Node) -> float:
    try:
        return evaluate(node)
    except NoValue as error:
        raise Unreadable(str(error)) from error


def _several(kind: Kind, text: str, pieces: Sequence[Sequence[Token]], unit: Unit | None) -> Answer:
    nodes = tuple(_one(_without_label(piece)) for piece in pieces)
    if len(nodes) < 2:
        raise Unreadable("only one of several is there")
    return Answer(kind, text, nodes, unit, None, any(map(is_rounded, nodes)))


def _listed(text: str, tokens: Sequence[Token], unit: Unit | None) -> Answer | None:
    """Coordinates, brackets, and sets: `(2, 3)`, `A(2, 3)`, `[2, 5)`, `{1, 2}`, `2 or 3`, `2, 3`."""
    tokens = _without_point_name(tokens)
    if tokens and tokens[0].text in ("(", "[", "{") and tokens[-1].text in (")", "]", "}"):
        inside = tokens[1:-1]
        pieces = _cut(inside, _places(inside, (",",)))
        if len(pieces) > 1 and _balanced(inside):
            if tokens[0].text == "{":
                return _several("set", text, pieces, unit)
            if tokens[0].text == "[" or tokens[-1].text == "]":
                return _bracketed(text, tokens, pieces, unit)
            return _several("tuple", text, pieces, unit)
    joints = _places(tokens, (",", "∪"))
    if not joints:
        return _plus_or_minus(text, tokens, unit)
    pieces = [piece for piece in _cut(tokens, joints) if piece]
    return _several("set", text, pieces, unit) if len(pieces) > 1 else None


def _bracketed(
    text: str, tokens: Sequence[Token], pieces: Sequence[Sequence[Token]], unit: Unit | None
) -> Answer:
    if len(pieces) != 2:
        return _several("tuple", text, pieces, unit)
    ends = _several("interval", text, pieces, unit)
    closed = (tokens[0].text == "[", tokens[-1].text == "]")
    return Answer("interval", text, ends.parts, unit, closed, ends.rounded)


def _plus_or_minus(text: str, tokens: Sequence[Token], unit: Unit | None) -> Answer | None:
    places = [i for i, token in enumerate(tokens) if token.text == "±"]
    if not places:
        return None
    both = []
    for sign in "+-":
        both.append([Token("sign", sign) if i in places else token for i, token in enumerate(tokens)])
    return _several("set", text, both, unit)


def _ordered(text: str, tokens: Sequence[Token], places: Sequence[int]) -> Answer:
    """`2 < x <= 5`, `x > 3`: an interval."""
    pieces, signs = _cut(tokens, places), [tokens[i].text for i in places]
    if len(pieces) > 3 or (len(pieces) == 3 and signs[0][0] != signs[1][0]):
        raise Unreadable("these relations are no interval")
    low: Node
    high: Node
    low = high = Apply("inf", ())
    closed = [False, False]
    nodes = [_one(split_unit(piece)[0]) for piece in pieces]
    if signs[0][0] == ">":
        nodes, signs = nodes[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    if len(nodes) == 3:
        low, high, closed = nodes[0], nodes[2], ["=" in sign for sign in signs]
    elif variables(nodes[0]) and not variables(nodes[1]):
        high, closed[1] = nodes[1], "=" in signs[0]
    elif variables(nodes[1]) and not variables(nodes[0]):
        low, closed[0] = nodes[0], "=" in signs[0]
    else:
        raise Unreadable("the relation bounds no variable")
    return _interval(text, low, high, (closed[0], closed[1]))


def _interval(text: str, low: Node, high: Node, closed: tuple[bool, bool] | None) -> Answer:
    return Answer("interval", text, (low, high), None, closed, is_rounded(low) or is_rounded(high))


def _equation(text: str, sides: Sequence[Sequence[Token]]) -> Answer:
    """`x = 7` and `AB = 3 + 4 = 7` say 7; `y = 2x + 1` is an equation."""
    last = _structured(text, sides[-1])
    if last.kind != "expression":
        if not _is_label(sides[-2]):
            try:
                left = _one(split_unit(sides[-2])[0])
            except Unreadable:
                return last
            if len(sides) == 2 and len(variables(left)) > 1:  # x + 2y = 7
                return Answer("equation", text, (left, last.parts[0]), None, None, last.rounded)
        return last
    if len(sides) == 2:
        try:
            left = _one(sides[0])
        except Unreadable:
            return last
        return Answer("equation", text, (left, last.parts[0]), None, None, last.rounded)
    return last


def _is_label(tokens: Sequence[Token]) -> bool:
    """`x`, `AB`, `m∠ABC`, `the area`: a name of what the answer is the value of."""
    return all(token.kind == "word" or token.text in _LABEL_SIGNS for token in tokens)


def _without_label(tokens: Sequence[Token]) -> Sequence[Token]:
    equals = _places(tokens, ("=",))
    return tokens[equals[-1] + 1 :] if equals and _is_label(tokens[: equals[-1]]) else tokens


def _without_point_name(tokens: Sequence[Token]) -> Sequence[Token]:
    """`A(2, 3)` is the point (2, 3)."""
    named = (
        len(tokens) > 3 and tokens[0].kind == "word" and tokens[0].text.isupper() and tokens[1].text == "("
    )
    return tokens[1:] if named and _places(tokens[2:-1], (",",)) else tokens


def _one(tokens: Sequence[Token]) -> Node:
    """One expression, with its unit left out."""
    tokens, _ = split_unit(tokens)
    if len(tokens) > 1 and tokens[0].text == "{" and tokens[-1].text == "}" and _balanced(tokens[1:-1]):
        tokens = tokens[1:-1]
    return parse_tokens(tokens)


def _places(tokens: Sequence[Token], signs: Sequence[str]) -> list[int]:
    """Where these signs or words stand outside of all brackets."""
    depth, found = 0, []
    for index, token in enumerate(tokens):
        if token.kind == "sign" and token.text in "([{":
            depth += 1
        elif token.kind == "sign" and token.text in ")]}":
            depth -= 1
        elif depth == 0 and token.text in signs:
            found.append(index)
    return found


def _balanced(tokens: Sequence[Token]) -> bool:
    depth = 0
    for token in tokens:
        if token.kind == "sign":
            depth += (token.text in "([{") - (token.text in ")]}")
        if depth < 0:
            return False
    return depth == 0


def _cut(tokens: Sequence[Token], places: Sequence[int]) -> list[Sequence[Token]]:
    edges = [-1, *places, len(tokens)]
    return [tokens[a + 1 : b] for a, b in pairwise(edges)]
