"""How answers are written: LaTeX, Unicode signs, units and thousands separators become one list of tokens.

Nothing here knows what the tokens mean; `arithmetic` reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "name", "word", "sign"]

MOST_CHARACTERS = 1_000
"""A longer text is no answer."""


class Unreadable(ValueError):
    """The text is not an answer in any notation known here."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an answer.

    Args:
        kind: `number`, `name` (a constant or function that expressions know), `word` (any other letters) or
            `sign`.
        text: As it is read: numbers without separators, names in lower case.
        spaced: Whether white space stands before it.
    """

    kind: Kind
    text: str
    spaced: bool = False


_ALIASES = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsine": "asin", "arctangent": "atan",
    "arccosine": "acos", "sine": "sin", "cosine": "cos", "tangent": "tan", "ln": "log", "sqroot": "sqrt",
    "infinity": "inf", "infty": "inf", "oo": "inf", "dfrac": "frac", "tfrac": "frac", "cfrac": "frac",
}  # fmt: skip
NAMES = frozenset(
    ("sqrt", "cbrt", "sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "log", "exp", "abs",
     "pi", "inf", "frac")
)  # fmt: skip
_SUPERSCRIPTS = {sign: str(digit) for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_FRACTIONS = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅖": "2/5", "⅗": "3/5",
              "⅘": "4/5", "⅙": "1/6", "⅚": "5/6", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8", "⅞": "7/8"}  # fmt: skip
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("−–—‐‑﹣－", "-"),
        **dict.fromkeys("×·⋅∙∗✕＊", "*"),
        **dict.fromkeys("º˚⁰", "°"),
        **{sign: f"({text})" for sign, text in _FRACTIONS.items()},
        "÷": "/",
        "∕": "/",
        "⁄": "/",
        "／": "/",
        "：": ":",
        "∶": ":",
        "，": ",",
        "（": "(",
        "）": ")",
        "＝": "=",
        "＋": "+",
        "≤": "<=",
        "≥": ">=",
        "⩽": "<=",
        "⩾": ">=",
        "π": " pi ",
        "Π": " pi ",
        "√": " sqrt ",
        "∛": " cbrt ",
        "∞": " inf ",
        "′": "'",
        "’": "'",
        "％": "%",
        "\u00a0": " ",
        "\u2009": " ",
        "\u202f": " ",
        "\u200b": None,
        "\ufeff": None,
    }
)
_WRAPPERS = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|textit|mathit|operatorname|mbox|bm|rm|boldsymbol)\s*\{([^{}]*)\}"
)
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degrees?\b|\\circ\b|\^\s*\{?\s*°\s*\}?")
_SPACING = re.compile(
    r"\\(?:left|right|big|Big|bigg|Bigg|displaystyle|limits|quad|qquad)(?![A-Za-z])\s*\.?"
    r"|\\[,;:! ]|~|\$|\\[()\[\]]"
)
_COMMANDS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=",
    "geq": ">=", "geqslant": ">=", "lt": "<", "gt": ">", "approx": "≈", "simeq": "≈", "angle": "∠",
    "triangle": "△", "mid": ":", "colon": ":", "pm": "±", "cup": "∪",
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<number>(?:\d{1,3}(?:(?:,|\{,\}|[ ](?=\d{3}(?!\d)))\d{3})+(?![\d])|\d+)(?:\.\d+)?|\.\d+)"
    r"|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+'*)|(?P<sign>\*\*|<=|>=|\\[%{}]|[^\s\\])"
)
_NUMBER_IN_BRACKETS = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_EXPONENT = re.compile(r"[eE][+-]?\d{1,4}(?![\w.])")


def plain(text: str) -> str:
    """The text with Unicode and LaTeX variants of the same sign made one; commands are kept.

    Raises:
        Unreadable: It is longer than any answer.
    """
    if len(text) > MOST_CHARACTERS:
        raise Unreadable(f"{len(text):,} characters are no answer")
    if text.isascii() and "\\" not in text and "$" not in text and "~" not in text:
        return text
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda m: _raised(m[0], text, m.end()), text)
    text = text.translate(_PLAIN)
    text = _WRAPPERS.sub(r" \1 ", text)
    text = _DEGREES.sub("°", text)
    return _SPACING.sub(lambda m: "" if m[0] == "\\!" else " ", text)


def tokenize(text: str) -> list[Token]:
    """Cut an answer into tokens.

    Commas between groups of three digits separate thousands, except inside brackets, where they separate
    coordinates.

    Raises:
        Unreadable: Too long.
    """
    text, tokens, at, depth = plain(text), list[Token](), 0, 0
    single = 0  # digits still to be read one by one: TeX reads \frac12 as 1/2
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        spaced = at > 0 and text[at - 1].isspace()
        found = _TOKEN.match(text, at)
        if found is None:
            raise Unreadable(f"{text[at]!r} is no part of an answer")
        kind, piece, end = str(found.lastgroup), found[0], found.end()
        if kind == "number":
            if single and piece[0].isdigit():
                piece, end = piece[0], at + 1
            elif depth and any(mark in piece for mark in ", "):
                inside = _NUMBER_IN_BRACKETS.match(text, at)
                assert inside is not None
                piece, end = inside[0], inside.end()
            if not single and (power := _EXPONENT.match(text, end)):
                piece, end = piece + power[0], power.end()
            tokens.append(Token("number", re.sub(r"[, {}]", "", piece), spaced))
        elif kind == "command":
            tokens.append(_command(piece[1:], spaced))
        elif kind == "word":
            tokens += _word(piece, spaced)
        else:
            tokens.append(Token("sign", "^" if piece == "**" else piece.removeprefix("\\"), spaced))
            depth += (piece in "([") - (piece in ")]")
        last = tokens[-1]
        single = 2 if last.text == "frac" else max(0, single - 1) if last.kind == "number" else 0
        at = end
    return tokens


def _raised(signs: str, text: str, end: int) -> str:
    """Superscript digits as a power; a lone raised zero at the end is a degree sign someone typed."""
    if signs == "⁰" and not text[end : end + 1].isalnum():
        return "°"
    return "^" + "".join(_SUPERSCRIPTS[sign] for sign in signs)


def _command(name: str, spaced: bool) -> Token:
    name = _ALIASES.get(name, name)
    if name in NAMES:
        return Token("name", name, spaced)
    if name in _COMMANDS:
        return Token("sign", _COMMANDS[name], spaced)
    raise Unreadable(f"\\{name} is not known here")


def _word(piece: str, spaced: bool) -> list[Token]:
    lower = _ALIASES.get(piece.lower(), piece.lower())
    if lower in NAMES and lower != "frac" and (len(piece) > 2 or piece in ("pi", "Pi", "PI", "ln", "oo")):
        return [Token("name", lower, spaced)]
    for name in ("pi", "sqrt"):  # 2pir, pisqrt3: written together
        if lower.startswith(name) and lower[len(name) :] in ("r", "sqrt", "x", "cm", "m", "in", "ft"):
            return [Token("name", name, spaced), *_word(piece[len(name) :], False)]
    return [Token("word", piece, spaced)]
