"""From a decimal to the exact number it stands for: rationals, q·√n, q·π, and sums of two of them.

A form is accepted only if it agrees to eleven digits and if so short a form would hardly agree by chance: the
longer the form, the more of them there are, the closer it must be.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

_RELATIVE = 1e-11
_CHANCE = 1e-3
_MOST_ROOT = 5000
_COMMON = 12
_UNITS = {"pi": math.pi} | {
    f"sqrt({n})": math.sqrt(n) for n in range(2, 52) if all(n % (d * d) for d in range(2, 8))
}
_NAMES = [
    (Fraction(numerator, denominator), name)
    for name in _UNITS
    for denominator in (1, 2, 3, 4)
    for numerator in range(-80, 81)
    if numerator and math.gcd(numerator, denominator) == 1
]
_PARTS = np.array([float(part) * _UNITS[name] for part, name in _NAMES])


def exact_form(value: float) -> str | None:
    """The exact number near a decimal, as an expression such as `3/2*sqrt(3)`, or None.

    Args:
        value: Right to about twelve digits.
    """
    if not math.isfinite(value):
        return None
    tolerance = _RELATIVE * max(1.0, abs(value))
    for text in (_rational(value, tolerance), _multiple(value, tolerance), _sum(value, tolerance)):
        if text is not None:
            return text
    return None


def _fraction(value: float, tolerance: float) -> Fraction | None:
    """The fraction near a value, if its denominator is so small that none would be near by chance."""
    found = Fraction(value).limit_denominator(1000)
    near = abs(float(found) - value) <= tolerance
    return found if near and 2 * tolerance * found.denominator**2 < _CHANCE else None


def _rational(value: float, tolerance: float) -> str | None:
    found = _fraction(value, tolerance)
    return None if found is None else str(found)


def _multiple(value: float, tolerance: float) -> str | None:
    """q·√n by its square (every n), q·π, q·√n·π."""
    for unit, name in ((1.0, ""), (math.pi, "pi")):
        ratio = value / unit
        if name:
            found = _fraction(ratio, tolerance / unit)
            if found is not None and found:
                return _times(found, name)
        square = _fraction(ratio * ratio, 2 * abs(ratio) * tolerance / unit)
        factor, root = _root(square) if square else (Fraction(0), 0)
        if 1 < root < _MOST_ROOT:
            text = _times(factor if ratio > 0 else -factor, f"sqrt({root})")
            return f"{text}*{name}" if name else text
    return None


def _sum(value: float, tolerance: float) -> str | None:
    """P + q·√n and p + q·π with small p and q, all tried at once; the shortest that fits."""
    if 2 * tolerance * _COMMON * len(_NAMES) > 10 * _CHANCE:
        return None
    rest = (value - _PARTS) * _COMMON
    misfit = np.abs(rest - np.round(rest))
    best: tuple[int, str] | None = None
    for i in np.flatnonzero(misfit <= tolerance * _COMMON):
        first, (part, name) = Fraction(round(rest[i]), _COMMON), _NAMES[i]
        weight = abs(part.numerator) + part.denominator + abs(first.numerator) + first.denominator
        if first and weight < 400 and (best is None or weight < best[0]):
            best = weight, f"{first}{'-' if part < 0 else '+'}{_times(abs(part), name)}"
    return None if best is None else best[1]


def _root(square: Fraction) -> tuple[Fraction, int]:
    """√(a/b) as factor·√root with a square-free root."""
    product = square.numerator * square.denominator
    factor, root = 1, product
    divisor = 2
    while divisor * divisor <= root:
        while root % (divisor * divisor) == 0:
            root //= divisor * divisor
            factor *= divisor
        divisor += 1
    return Fraction(factor, square.denominator), root


def _times(factor: Fraction, name: str) -> str:
    if factor == 1:
        return name
    if factor == -1:
        return f"-{name}"
    if factor.denominator == 1:
        return f"{factor.numerator}*{name}"
    if abs(factor.numerator) == 1:
        return f"{'-' if factor < 0 else ''}{name}/{factor.denominator}"
    return f"{factor.numerator}*{name}/{factor.denominator}"
