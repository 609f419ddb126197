"""How an answer is scored: the published rule, our stricter one, and what chance would give.

Published rule: the list is cut at M items and duplicates are removed; order is ignored. Search: 1 if the
right number is listed. Reasoning: 1 for the right number without the mistaken one, 0.5 for both, 0.25 for the
mistaken one alone. Ours: the whole list counts, the mistaken number alone earns nothing, and precision says
what else was listed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from etude.methods.counting_stars.answers import ParsedAnswer, parse_answer
from etude.methods.counting_stars.cells import Cell

Rule: TypeAlias = Literal["official", "ours"]
_CREDIT: dict[Rule, tuple[float, float, float]] = {"official": (1.0, 0.5, 0.25), "ours": (1.0, 0.5, 0.0)}
"""Credit for the right number alone, for both numbers, and for the mistaken one alone."""


@dataclass(frozen=True)
class StarScore:
    """One answer's score.

    Args:
        hits: Whether each star's right number is listed, (stars,).
        wrong_hits: Whether each star's mistaken number is listed, (stars,); all False in the search task.
        stars: Credit of each star under the rule, in [0, 1], (stars,).
        score: Mean of `stars`.
        precision: Share of the listed numbers that are right; 0 when none is listed.
        recall: Share of the right numbers that are listed.
        f1: Harmonic mean of precision and recall.
        order: Kendall's tau between the order of the hits in the answer and in the text; None below two hits.
        exact: Whether the listed set is exactly the set of right numbers.
    """

    hits: NDArray[np.bool_]
    wrong_hits: NDArray[np.bool_]
    stars: NDArray[np.float64]
    score: float
    precision: float
    recall: float
    f1: float
    order: float | None
    exact: bool


def score_answer(cell: Cell, answer: str | ParsedAnswer, rule: Rule = "official") -> StarScore:
    """Score an answer to a cell.

    Args:
        cell: What was asked.
        answer: The model's text, or its numbers as already parsed.
        rule: `official` or `ours`.
    """
    parsed = parse_answer(answer, cell.lang) if isinstance(answer, str) else answer
    listed = parsed.numbers[: cell.stars] if rule == "official" else parsed.numbers
    distinct = list(dict.fromkeys(listed))
    found = set(distinct)
    hits = np.array([count in found for count in cell.counts])
    wrong_hits = np.array([count in found for count in cell.wrong or ()] or [False] * cell.stars)
    alone, both, mistaken = _CREDIT[rule]
    stars = np.where(hits, np.where(wrong_hits, both, alone), np.where(wrong_hits, mistaken, 0.0))
    right = len(found & set(cell.counts))
    precision = right / len(found) if found else 0.0
    recall = float(hits.mean())
    return StarScore(
        hits=hits,
        wrong_hits=wrong_hits,
        stars=stars,
        score=float(stars.mean()),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if right else 0.0,
        order=kendall_tau([distinct.index(count) for count in cell.counts if count in found]),
        exact=found == set(cell.counts),
    )


def kendall_tau(ranks: Sequence[int]) -> float | None:
    """Kendall's tau of distinct ranks against their order: 1 ascending, -1 descending, None below two."""
    n = len(ranks)
    if n < 2:
        return None
    order = np.array(ranks)
    concordant = int(np.sum(np.triu(order[None, :] > order[:, None], 1)))
    return 2 * concordant / math.comb(n, 2) - 1


def chance_level(cell: Cell, rule: Rule = "official") -> float:
    """Expected score of a list of M distinct random numbers from the cell's count range."""
    low, high = cell.count_range
    numbers, listed = high - low + 1, min(cell.stars, high - low + 1)
    one = listed / numbers
    if cell.task == "search" or cell.wrong is None:
        return float(np.mean([one if low <= count <= high else 0.0 for count in cell.counts]))
    both = one * (listed - 1) / (numbers - 1) if numbers > 1 else 0.0
    alone_credit, both_credit, mistaken_credit = _CREDIT[rule]
    expected = []
    for wrong in cell.wrong:
        if low <= wrong <= high:
            expected.append((one - both) * (alone_credit + mistaken_credit) + both * both_credit)
        else:  # a published mistaken number just outside the range is never guessed
            expected.append(one * alone_credit)
    return float(np.mean(expected))
