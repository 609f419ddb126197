"""Facts in English, and English of this kind back to facts.

    verbalize(parse_cdl("Equal(MeasureOfAngle(ABC),2*x+3)"))      # 'angle ABC = (2x+3)°'
    read_english("angle ABC = (2x+3)°")                           # the same tree again

Because every sentence can be read back, a rewording is known to keep its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import (
    Call,
    Negative,
    Node,
    Number,
    Operation,
    Points,
    Variable,
    parse_expression,
    print_cdl,
    walk,
)
from etude.methods.geoeval.lexicon import FACTS, OPERATORS, QUANTITIES
from etude.methods.geoeval.predicates import ANGLES, SIGNATURES

_TRIGONOMETRIC = {"Sin": "sine", "Cos": "cosine", "Tan": "tangent", "Sqrt": "square root"}


def verbalize(fact: Call, variant: int = 0) -> str:
    """One fact or goal as a sentence (goals end with a full stop or question mark, facts have none).

    Args:
        fact: A parsed fact.
        variant: Which of the synonyms; 0 is the plain one, numbers beyond the last begin again.
    """
    templates = FACTS[fact.name]
    template = templates[variant % len(templates)]
    if fact.name in ("Equal", "Value"):
        angles = any(_is_angle(side) for side in fact.arguments)
        return template.format(*(_side(side, angles, variant) for side in fact.arguments))
    groups = [argument.letters for argument in fact.arguments if isinstance(argument, Points)]
    if fact.name == "Shape":
        return template.format(_listed([g if len(g) < 3 else f"arc {g}" for g in groups]))
    if fact.name == "Collinear":
        return template.format(_listed(list(groups[0])))
    if fact.name == "Cocircular":
        return template.format(groups[0], _listed(list(groups[1])))
    return template.format(*groups)


def read_english(sentence: str) -> Call:
    """The fact that a sentence of the verbalizer's kind states.

    Raises:
        EtudeError: No template of the lexicon fits.
    """
    for name, pattern, _ in _fact_patterns():
        match = pattern.fullmatch(sentence)
        if match is None:
            continue
        try:
            return Call(name, tuple(_read_arguments(name, match)))
        except EtudeError:
            continue
    raise EtudeError(
        f"{sentence}: not a sentence of the verbalizer", "Only its own templates can be read back."
    )


def variants(fact: Call) -> int:
    """How many ways there are to say a fact."""
    return len(FACTS[fact.name])


def _side(node: Node, angles: bool, variant: int) -> str:
    """One side of an equation; next to an angle, numbers and unknowns carry a degree sign."""
    text = _expression(node, variant)
    if not angles or _is_angle(node):
        return text
    return f"{text}°" if isinstance(node, Number | Variable) else f"({text})°"


def _is_angle(node: Node) -> bool:
    """Whether a side is measured in degrees: it has an angle outside of sine, cosine, tangent and ratios."""
    if isinstance(node, Call):
        if node.name in ANGLES:
            return True
        return node.name in ("Add", "Sub", "Mul") and any(_is_angle(a) for a in node.arguments)
    if isinstance(node, Operation):
        return _is_angle(node.left) or _is_angle(node.right)
    return isinstance(node, Negative) and _is_angle(node.operand)


def _expression(node: Node, variant: int) -> str:
    if isinstance(node, Call) and node.name in OPERATORS:
        opening, last = OPERATORS[node.name]
        operands = [_operand(argument, variant) for argument in node.arguments]
        if len(operands) == 1:
            return opening + operands[0]
        return opening + ", ".join(operands[:-1]) + last + operands[-1]
    if isinstance(node, Call) and node.name in _TRIGONOMETRIC:
        return f"the {_TRIGONOMETRIC[node.name]} of {_operand(node.arguments[0], variant)}"
    if isinstance(node, Call) and node.name in QUANTITIES:
        return _quantity(node, variant)
    text = print_cdl(node)
    for inner in walk(node):
        if isinstance(inner, Call) and inner.name in QUANTITIES:
            text = text.replace(print_cdl(inner), f"[{_quantity(inner, variant)}]")
    return re.sub(r"(?<=\d)\*(?=[a-zA-Z](?![a-zA-Z]))", "", text)


def _operand(node: Node, variant: int) -> str:
    text = _expression(node, variant)
    compound = isinstance(node, Call) and (node.name in OPERATORS or node.name in _TRIGONOMETRIC)
    return f"({text})" if compound else text


def _quantity(node: Call, variant: int) -> str:
    templates = QUANTITIES[node.name]
    template = templates[variant % len(templates)]
    groups = [argument.letters for argument in node.arguments if isinstance(argument, Points)]
    if node.name in ("MeasureOfArc", "LengthOfArc"):
        groups = [groups[0][0], groups[0][1:]]
    return template.format(*groups)


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


@cache
def _fact_patterns() -> list[tuple[str, re.Pattern[str], str]]:
    """Every template as a pattern, relations before equations, because `is` occurs in both."""
    found = []
    for name, templates in sorted(FACTS.items(), key=lambda entry: entry[0] in ("Equal", "Value")):
        for template in templates:
            slot = "(.+?)" if name in ("Equal", "Value", "Shape", "Collinear", "Cocircular") else "([A-Z]+)"
            parts = re.split(r"\{[01]\}", template)
            order = "".join(re.findall(r"\{([01])\}", template))
            found.append((name, re.compile(slot.join(map(re.escape, parts)), re.DOTALL), order))
    return found


def _read_arguments(name: str, match: re.Match[str]) -> Iterator[Node]:
    order = next(o for n, p, o in _fact_patterns() if n == name and p is match.re)
    texts = [text for _, text in sorted(zip(order, match.groups(), strict=True))]
    if name in ("Equal", "Value"):
        yield from (_read_side(text) for text in texts)
        return
    if name == "Shape":
        texts = [item.removeprefix("arc ") for item in _unlisted(texts[0])]
    elif name in ("Collinear", "Cocircular"):
        texts[-1] = "".join(_unlisted(texts[-1]))
    for text, size in zip(texts, _sizes(name, len(texts)), strict=True):
        if not re.fullmatch("[A-Z]+", text) or (size > 0 and len(text) != size):
            raise EtudeError(f"{text}: not {size} points", "Only the verbalizer's own sentences can be read.")
        yield Points(text)


def _sizes(name: str, count: int) -> list[int]:
    return [-1] * count if name in ("Shape", "Collinear") else list(SIGNATURES[name])[:count]


def _unlisted(text: str) -> list[str]:
    return re.split(r", | and ", text)


def _read_side(text: str) -> Node:
    text = text.strip()
    if text.endswith("°"):
        text = text[:-1]
        if text.startswith("(") and text.endswith(")"):
            text = text[1:-1]
    return _read_expression(text)


def _read_expression(text: str) -> Node:
    if text.startswith("(") and text.endswith(")") and _closes(text) == len(text) - 1:
        return _read_expression(text[1:-1])
    for name, (opening, last) in OPERATORS.items():
        if text.startswith(opening):
            operands = _split(text[len(opening) :], last)
            return Call(name, tuple(_read_expression(operand) for operand in operands))
    for name, word in _TRIGONOMETRIC.items():
        if text.startswith(f"the {word} of "):
            return Call(name, (_read_expression(text.removeprefix(f"the {word} of ")),))
    found = _read_quantity(text)
    if found is not None:
        return found

    def inner(match: re.Match[str]) -> str:
        quantity = _read_quantity(match[1])
        return match[0] if quantity is None else print_cdl(quantity)

    return parse_expression(re.sub(r"\[([^\]]+)\]", inner, text))


def _read_quantity(text: str) -> Call | None:
    for name, templates in QUANTITIES.items():
        for template in templates:
            parts = re.split(r"\{[01]\}", template)
            match = re.fullmatch("([A-Z]+)".join(map(re.escape, parts)), text)
            if match is None:
                continue
            order = re.findall(r"\{([01])\}", template)
            groups = [group for _, group in sorted(zip(order, match.groups(), strict=True))]
            sizes = list(SIGNATURES[name])
            if name in ("MeasureOfArc", "LengthOfArc"):
                groups = ["".join(groups)]
            if [len(group) for group in groups] == sizes:
                return Call(name, tuple(map(Points, groups)))
    return None


def _split(text: str, last: str) -> list[str]:
    """Operands at commas and at the last word, outside of parentheses."""
    pieces, depth, start, i = [], 0, 0, 0
    while i < len(text):
        depth += (text[i] in "([") - (text[i] in ")]")
        mark = next((m for m in (", ", last) if depth == 0 and text.startswith(m, i)), None)
        if mark is None:
            i += 1
            continue
        pieces.append(text[start:i])
        i = start = i + len(mark)
    return [*pieces, text[start:]]


def _closes(text: str) -> int:
    """Where the parenthesis that opens the text closes."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i
    return -1


def question_of(text_facts: Iterable[Call], goal: Call, variant: int = 0) -> str:
    """A question: the facts given in words, then what is asked.

    Args:
        text_facts: What the text says.
        goal: `Value(expression)`.
        variant: Which synonyms.
    """
    said = [f"{_capital(verbalize(fact, variant))}." for fact in text_facts]
    return " ".join([*said, verbalize(goal, variant)])


def _capital(sentence: str) -> str:
    """A capital at the beginning of a word; an unknown `x` stays small."""
    return sentence[0].upper() + sentence[1:] if sentence[:2].isalpha() else sentence
