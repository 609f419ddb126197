"""Does an answer say what the gold answer says? Numbers first, then structure; a computer algebra system
only for what is left, in a process of its own under a time limit.

    check_answer("3/2*sqrt(3)", "2.598").correct        # True: the gold answer is rounded
    check_answer("-1000000", "7").correct               # False: the comparison is two-sided

Tolerances (absolute difference): 1e-3 or 5e-3 of the gold value, whichever is larger, where the gold answer
was written with decimals; 1e-6 of it where it is exact. A prediction with at least three significant digits
is also right when it is an exact gold answer rounded to the digits it shows.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from etude.methods.geoeval.answers import Answer, as_interval, parse_answer
from etude.methods.geoeval.arithmetic import (
    ANGULAR,
    Apply,
    Node,
    NoValue,
    Number,
    evaluate,
    operations,
    variables,
)
from etude.methods.geoeval.units import conversion

Kind: TypeAlias = Literal["auto", "exact", "rounded", "choice"]

ROUNDED_ABSOLUTE, ROUNDED_RELATIVE, EXACT_RELATIVE = 1e-3, 5e-3, 1e-6
_POINTS = 8
_LETTER = re.compile(
    r"^\W*(?:(?:option|choice|answer)\s*:?\s*)?\(?\s*\**([A-Za-z])\**\s*(?:[).:,]|$)(?P<rest>.*)$",
    re.I | re.S,
)
_OPTION_LABEL = re.compile(r"^\s*\(?[A-Za-z]\s*[).:]\s*")


@dataclass(frozen=True, slots=True)
class Check:
    """What a comparison found.

    Args:
        correct: Whether the prediction says what the gold answer says.
        method: What decided: `number`, `rounding`, `ratio`, `tuple`, `set`, `interval`, `expression`,
            `equation`, `choice`, `text`, `math-verify`, `kind` (they are of different kinds), `empty` or
            `unread`.
        pred: The prediction as it was compared.
        gold: The gold answer as it was compared.
        note: What else should be known.
    """

    correct: bool
    method: str
    pred: str
    gold: str
    note: str = ""


def check_answer(
    pred: str, gold: str, kind: Kind = "auto", *, options: Sequence[str] = (), time_limit: float = 2.0
) -> Check:
    """Compare a prediction with a gold answer. Neither text is ever evaluated as code.

    Args:
        pred: The answer found in a response (`extraction` finds it).
        gold: The right answer; with `kind="choice"` the right letter or the right option's text.
        kind: `exact` and `rounded` say how the gold value was written; `auto` looks whether it has decimals;
            `choice` compares options.
        options: The choices, if the problem has some: a letter stands for its option.
        time_limit: Seconds for the algebra system, where it is needed.
    """
    if kind == "choice":
        return _choice(pred, gold, options, time_limit)
    note = ""
    if options and (index := option_index(pred, options)) is not None and _is_letter(pred):
        note, pred = f"option {chr(65 + index)}", option_text(options[index])
    elif not options and re.fullmatch(r"\W*[A-E]\W*", pred) and parse_answer(gold).kind == "number":
        note = "a letter, but the problem has no choices"
    said, right = parse_answer(pred), parse_answer(gold)
    found = _compare(said, right, _tolerance(kind, right), time_limit)
    return (
        found
        if not note
        else Check(found.correct, found.method, found.pred, found.gold, _joined(note, found.note))
    )


def same_number(pred: float, gold: float, *, rounded: bool) -> bool:
    """Whether two values agree, in either direction; see the tolerances above."""
    if not (math.isfinite(pred) and math.isfinite(gold)):
        return False
    if rounded:
        return abs(pred - gold) <= max(ROUNDED_ABSOLUTE, ROUNDED_RELATIVE * abs(gold))
    return abs(pred - gold) <= max(1e-9, EXACT_RELATIVE * abs(gold))


def option_text(option: str) -> str:
    """An option without its label: `(A) 13.3` is `13.3`."""
    return _OPTION_LABEL.sub("", option, count=1).strip()


def option_index(text: str, options: Sequence[str]) -> int | None:
    """Which option a text names: by its letter, or else by being equal to just one of them."""
    found = _LETTER.match(text.strip())
    if found and (index := ord(found[1].upper()) - 65) < len(options):
        rest = found["rest"].strip()
        if not rest or _same_text(rest, option_text(options[index])) or not found[1].islower():
            return index
    values = [option_text(option) for option in options]
    exact = [i for i, value in enumerate(values) if _same_text(text, value)]
    if len(exact) == 1:
        return exact[0]
    said = parse_answer(text)
    if said.kind in ("text", "empty"):
        return None
    near = [i for i, value in enumerate(values) if _rules(said, parse_answer(value), None)[0]]
    return near[0] if len(near) == 1 else None


def _choice(pred: str, gold: str, options: Sequence[str], time_limit: float) -> Check:
    if not options:
        same = _letter_of(pred) is not None and _letter_of(pred) == _letter_of(gold)
        return Check(same, "choice", pred, gold, "no choices were given, so only letters compare")
    said, right = option_index(pred, options), option_index(gold, options)
    if right is None:
        return Check(False, "choice", pred, gold, "no choice is the gold answer")
    shown = "" if said is None else chr(65 + said)
    note = "the answer names no choice" if said is None else ""
    same = said is not None and (
        said == right or _same_text(option_text(options[said]), option_text(options[right]))
    )
    return Check(same, "choice", shown, chr(65 + right), note)


def _compare(said: Answer, right: Answer, rounded: bool | None, time_limit: float) -> Check:
    if said.kind == "empty":
        return Check(False, "empty", "", right.text, "there is no answer")
    if right.kind == "interval":
        said = as_interval(said)
    elif said.kind == "interval" and right.kind in ("tuple", "set") and said.closed == (True, True):
        said = replace(said, kind=right.kind)  # [2, 3] is also how a program prints a list
    elif said.kind == "interval" and right.kind == "tuple":
        right = as_interval(right)
    if "text" in (said.kind, right.kind):
        if _same_text(said.text, right.text):
            return Check(True, "text", said.text, right.text)
        return _by_latex(said, right, time_limit)
    correct, method, note = _rules(said, right, rounded)
    if method == "kind":
        return Check(False, method, said.text, right.text, f"{said.kind} against {right.kind}")
    if correct is None:
        return _by_algebra(said, right, method, time_limit)
    return Check(correct, method, said.text, right.text, note)


def _rules(said: Answer, right: Answer, rounded: bool | None) -> tuple[bool | None, str, str]:
    """Correct (None: not decided), method and note, by rules alone."""
    rounded = right.rounded if rounded is None else rounded
    kinds = (said.kind, right.kind)
    if kinds == ("number", "number"):
        return _numbers(said, right, rounded)
    if "ratio" in kinds and set(kinds) <= {"ratio", "number"}:
        return _ratios(said, right, rounded), "ratio", ""
    if kinds in (("tuple", "tuple"), ("interval", "interval")):
        same = _all_same(said.parts, right.parts, rounded)
        ends = said.closed == right.closed or said.closed is None or right.closed is None
        return same and ends, said.kind, "" if ends else "an end is open on one side and closed on the other"
    if kinds == ("set", "set"):
        return _same_set(said.parts, right.parts, rounded), "set", ""
    if kinds == ("tuple", "set") or kinds == ("set", "tuple"):
        return _all_same(said.parts, right.parts, rounded), "tuple", ""
    if "equation" in kinds and set(kinds) <= {"equation", "expression"}:
        return _equations(said, right)
    if kinds == ("expression", "expression"):
        return _identity(said.parts[0], right.parts[0]), "expression", ""
    return False, "kind", ""


def _numbers(said: Answer, right: Answer, rounded: bool) -> tuple[bool, str, str]:
    assert said.value is not None and right.value is not None
    factor = conversion(said.unit, right.unit)
    if factor is None:
        return False, "number", "the units do not compare"
    if same_number(said.value * factor, right.value, rounded=rounded):
        return True, "number", "" if factor == 1.0 else "after a change of units"
    for value, note in _other_readings(said, right):
        if same_number(value, right.value, rounded=rounded):
            return True, "number", note
    if not rounded and factor == 1.0 and _is_rounding_of(said, right.value):
        return True, "rounding", "the exact gold answer, rounded"
    for value in _in_degrees(right):
        if same_number(said.value * factor, value, rounded=rounded):
            return True, "number", "angles read as degrees"
    return False, "number", ""


def _other_readings(said: Answer, right: Answer) -> Iterator[tuple[float, str]]:
    """Values the prediction may have meant besides its first one."""
    assert said.value is not None
    for value in _in_degrees(said):
        yield value, "angles read as degrees"
    if right.unit is None and said.unit is not None and said.unit.quantity == "angle":
        yield said.value * said.unit.factor, "radians changed to degrees"
    if "percent" in operations(said.parts[0]) and "percent" not in operations(right.parts[0]):
        yield said.value * 100, "read as per cent"


def _in_degrees(answer: Answer) -> Iterator[float]:
    if not ANGULAR.isdisjoint(operations(answer.parts[0])):
        try:
            yield evaluate(answer.parts[0], degrees=True)
        except NoValue:
            return


def _is_rounding_of(said: Answer, value: float) -> bool:
    node = said.parts[0]
    if isinstance(node, Apply) and node.operation == "neg":
        node = node.operands[0]
    if not isinstance(node, Number) or node.decimals == 0 or said.value is None:
        return False
    digits = len(f"{node.value:.{node.decimals}f}".replace(".", "").lstrip("0"))
    return digits >= 3 and abs(said.value - value) <= 0.5 * 10.0**-node.decimals + 1e-12


def _ratios(said: Answer, right: Answer, rounded: bool) -> bool:
    try:
        a, b = (_values(answer.parts) for answer in (said, right))
    except NoValue:
        return False
    a, b = ([*values, 1.0] if len(values) == 1 else values for values in (a, b))
    if len(a) != len(b) or not (a[-1] and b[-1]):
        return False
    return all(same_number(x / a[-1], y / b[-1], rounded=rounded) for x, y in zip(a, b, strict=True))


def _values(nodes: Sequence[Node]) -> list[float]:
    return [evaluate(node) for node in nodes]


def _all_same(a: Sequence[Node], b: Sequence[Node], rounded: bool) -> bool:
    return len(a) == len(b) and all(_same_node(x, y, rounded) for x, y in zip(a, b, strict=True))


def _same_set(a: Sequence[Node], b: Sequence[Node], rounded: bool) -> bool:
    """Each of one has a partner of its own in the other; sets of answers are small."""
    if len(a) != len(b) or len(a) > 6:
        return False
    return any(_all_same(order, b, rounded) for order in itertools.permutations(a))


def _same_node(a: Node, b: Node, rounded: bool) -> bool:
    if a == b:
        return True
    if variables(a) or variables(b):
        return _identity(a, b) is not False
    try:
        return same_number(evaluate(a), evaluate(b), rounded=rounded)
    except NoValue:
        return False


def _equations(said: Answer, right: Answer) -> tuple[bool | None, str, str]:
    """Two equations say the same when one is a multiple of the other; a lone side stands for `y =` it."""
    sides = [Apply("-", (a.parts[0], a.parts[1])) if a.kind == "equation" else None for a in (said, right)]
    if sides[0] is None or sides[1] is None:
        equation, lone = (right, said) if sides[0] is None else (said, right)
        return _identity(lone.parts[0], equation.parts[1]), "equation", ""
    ratios = [
        f / g
        for values in _sample(variables(sides[0]) | variables(sides[1]))
        if (f := _at(sides[0], values)) is not None and (g := _at(sides[1], values)) and g
    ]
    if len(ratios) < 3:
        return None, "equation", ""
    return all(abs(r - ratios[0]) <= 1e-7 * abs(ratios[0]) and r for r in ratios), "equation", ""


def _identity(a: Node, b: Node) -> bool | None:
    """Whether two expressions agree at random points; None where too few points have values."""
    names = variables(a) | variables(b)
    compared = 0
    for values in _sample(names):
        x, y = _at(a, values), _at(b, values)
        if (x is None) != (y is None):
            return False
        if x is None or y is None:
            continue
        if abs(x - y) > 1e-7 * max(1.0, abs(x), abs(y)):
            return False
        compared += 1
    return True if compared >= 3 else None


def _sample(names: frozenset[str]) -> Iterator[dict[str, float]]:
    rng = np.random.default_rng(0)
    for _ in range(_POINTS):
        yield {name: float(rng.uniform(0.3, 3.0)) for name in sorted(names)}


def _at(node: Node, values: dict[str, float]) -> float | None:
    try:
        return evaluate(node, values)
    except NoValue:
        return None


def _by_algebra(said: Answer, right: Answer, method: str, time_limit: float) -> Check:
    """What too few points decide: does the difference simplify to nothing?"""
    from etude.methods.geoeval.symbolic_worker import is_identity

    verdict, note = is_identity(said.parts[-1], right.parts[-1], time_limit)
    return Check(bool(verdict), method, said.text, right.text, note)


def _by_latex(said: Answer, right: Answer, time_limit: float) -> Check:
    """What our own notation does not read: LaTeX is left to math-verify, anything else is a text."""
    if not any("\\" in answer.text for answer in (said, right)):
        unread = right.kind != "text"
        note = "not read as mathematics" if unread else ""
        return Check(False, "unread" if unread else "text", said.text, right.text, note)
    from etude.methods.geoeval.symbolic_worker import same_latex

    verdict, note = same_latex(said.text, right.text, time_limit)
    method = "unread" if verdict is None else "math-verify"
    return Check(bool(verdict), method, said.text, right.text, note)


def _tolerance(kind: Kind, right: Answer) -> bool | None:
    return {"exact": False, "rounded": True}.get(kind)


def _is_letter(text: str) -> bool:
    return _letter_of(text) is not None


def _letter_of(text: str) -> str | None:
    found = _LETTER.match(text.strip())
    return found[1].upper() if found else None


def _same_text(a: str, b: str) -> bool:
    return _bare(a) == _bare(b) != ""


def _bare(text: str) -> str:
    return re.sub(r"[\s$*`]+", "", text).strip(".,;!").casefold()


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
