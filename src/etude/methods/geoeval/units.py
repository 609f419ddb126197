"""Units behind an answer: `12 cm`, `40 degrees`, `6.2 sq ft`. Lengths, areas and volumes compare across
units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from etude.methods.geoeval.notation import Token

_LENGTHS = {
    "mm": 0.001, "millimeter": 0.001, "millimetre": 0.001, "cm": 0.01, "centimeter": 0.01, "centimetre": 0.01,
    "dm": 0.1, "decimeter": 0.1, "decimetre": 0.1, "m": 1.0, "meter": 1.0, "metre": 1.0, "km": 1000.0,
    "kilometer": 1000.0, "kilometre": 1000.0, "in": 0.0254, "inch": 0.0254, "inche": 0.0254, "ft": 0.3048,
    "foot": 0.3048, "feet": 0.3048, "yd": 0.9144, "yard": 0.9144, "mi": 1609.344, "mile": 1609.344,
}  # fmt: skip
_ANGLES = {"degree": 1.0, "deg": 1.0, "°": 1.0, "radian": 180 / math.pi, "rad": 180 / math.pi}
_OTHERS = (
    "unit", "gram", "g", "kg", "kilogram", "liter", "litre", "l", "second", "s", "sec", "minute", "min",
    "hour", "h", "dollar", "percent", "pound", "lb", "gallon",
)  # fmt: skip
_SQUARE, _CUBIC = ("sq", "square", "squared"), ("cu", "cubic", "cubed")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit.

    Args:
        quantity: `length`, `angle`, `none` (plain units) or the unit's own name where nothing converts.
        power: 1, 2 for areas, 3 for volumes.
        factor: In meters to that power, or in degrees.
    """

    quantity: str
    power: int = 1
    factor: float = 1.0


def split_unit(tokens: Sequence[Token]) -> tuple[Sequence[Token], Unit | None]:
    """The tokens in front of a unit, and the unit; None if the answer ends without one.

    A single letter counts as a unit behind white space or a lone number (`5 m`, `5m`, but not `2pi*r`).
    """
    end, power = _without_power(tokens)
    base = ""
    while end > 1 and (tokens[end - 1].kind == "word" or tokens[end - 1].text == "."):
        word = tokens[end - 1].text.lower()
        power = max(power, 2 * (word in _SQUARE), 3 * (word in _CUBIC))
        name = _singular(word)
        if name:
            if len(word) == 1 and not tokens[end - 1].spaced and end > 2:
                break
            base = base or name
        elif word not in (*_SQUARE, *_CUBIC, "."):
            break
        end -= 1
    if not base:
        return tokens, None
    if base in _LENGTHS:
        return tokens[:end], Unit("length", power, _LENGTHS[base] ** power)
    if base in _ANGLES:
        return tokens[:end], Unit("angle", 1, _ANGLES[base])
    return tokens[:end], Unit("none" if base == "unit" else base, power)


def _without_power(tokens: Sequence[Token]) -> tuple[int, int]:
    """Where `^2`, `^{2}`, `^3` or `^{3}` behind a word begins, and the power; the end and 1 without one."""
    texts, end = [token.text for token in tokens[-4:]], len(tokens)
    for form in (["^", "2"], ["^", "3"], ["^", "{", "2", "}"], ["^", "{", "3", "}"]):
        size = len(form)
        if end > size + 1 and texts[-size:] == form and tokens[-size - 1].kind == "word":
            return end - size, int(form[-1] if size == 2 else form[2])
    return end, 1


def _singular(word: str) -> str:
    for name in (word, word.removesuffix("s"), word.removesuffix("es")):
        if name in _LENGTHS or name in _ANGLES or name in _OTHERS:
            return name
    return ""


def conversion(given: Unit | None, wanted: Unit | None) -> float | None:
    """What a value in one unit is multiplied by to be in the other; None if they do not compare.

    Where one side names no unit, or only `units`, the other's is taken for it, except that radians become
    degrees, in which geometry problems are asked.
    """
    if given is None or wanted is None or "none" in (given.quantity, wanted.quantity):
        return 1.0
    if (given.quantity, given.power) != (wanted.quantity, wanted.power):
        return None
    return given.factor / wanted.factor
