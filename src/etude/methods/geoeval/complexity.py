"""How hard an item is, as far as its lengths say, and whether it needs knowledge from outside of the
problem.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from etude.methods.geoeval.answers import parse_answer
from etude.methods.geoeval.arithmetic import operations
from etude.methods.geoeval.items import Item

Level = Literal["easy", "middle", "hard"]

_LEVELS: tuple[Level, ...] = ("easy", "middle", "hard")
_UNITS = (
    ("mm", "millimeter"), ("cm", "centimeter"), ("m", "meter"), ("km", "kilometer"), ("in", "inch", "inche"),
    ("ft", "foot", "feet"), ("yd", "yard"), ("mi", "mile"),
)  # fmt: skip
_MEASURED = re.compile(r"\d\s*-?\s*(?:sq\.?\s*|square\s+|cubic\s+)?([A-Za-z]+)")
_CIRCULAR = re.compile(
    r"\b(?:circumference|circle|semicircle|sphere|hemisphere|cylinder|cone|sector|arc length)\b", re.I
)
_AREA = re.compile(r"\b(?:area|volume|circumference|perimeter|length of (?:the )?arc|arc length)\b", re.I)


def levels(items: Sequence[Item]) -> list[Level]:
    """Easy, middle or hard by thirds of the mean rank of question length and solution length (ours).

    The paper rates complexity by the same two lengths. Items without a known solution are ranked by their
    question alone; equal lengths share a rank, so that equal items are equally hard.
    """
    if not items:
        return []
    questions = _ranks([float(item.length) for item in items])
    known = [i for i, item in enumerate(items) if item.solution_length is not None]
    solutions = np.array(questions)
    if known:
        ranks = _ranks([float(items[i].solution_length or 0) for i in known])
        solutions[known] = ranks
    score = (questions + solutions) / 2
    cuts = np.quantile(score, [1 / 3, 2 / 3])
    return [_LEVELS[int(np.searchsorted(cuts, value, side="left"))] for value in score]


def step_band(steps: int | None) -> str | None:
    """`1-2`, `3-4`, `5-7` or `8+` theorem steps."""
    if steps is None:
        return None
    return "1-2" if steps <= 2 else "3-4" if steps <= 4 else "5-7" if steps <= 7 else "8+"


def needs_outside_knowledge(item: Item) -> bool:
    """Whether a constant (pi) or a change of units must be known that the problem does not give."""
    texts = (item.gold, *item.options)
    if any("pi" in operations(part) for text in texts for part in parse_answer(text).parts):
        return True
    if _CIRCULAR.search(item.question) and _AREA.search(item.question):
        return True
    return len(_units(item.question)) > 1


def _units(question: str) -> set[int]:
    found = set()
    for word in _MEASURED.findall(question):
        lower = word.lower()
        for index, names in enumerate(_UNITS):
            if lower in names or lower.removesuffix("s") in names:
                found.add(index)
    return found


def _ranks(values: Sequence[float]) -> np.ndarray:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values) / len(values))
