"""Accuracy of chosen answers, by group, beside chance, with Wilson's interval; Hit@k of generated words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etude.errors import EtudeError
from etude.evidence import Interval, wilson_interval
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, GenerationItem
from etude.methods.analogykb.leakage import folded

if TYPE_CHECKING:
    from etude.methods.analogykb.scorers import CosineScorer, Scorer


@dataclass(frozen=True)
class Accuracy:
    """How many questions of a set were answered rightly.

    Args:
        name: The set.
        group: The group; empty for all of the set.
        questions: How many.
        accuracy: Share of right answers, with its 95 % interval.
        chance: What guessing gives: the mean of 1 / choices.
        unanswered: Questions without a usable answer; they count as wrong.
        positions: How often each place was chosen.
    """

    name: str
    group: str
    questions: int
    accuracy: Interval
    chance: float
    unanswered: int = 0
    positions: tuple[int, ...] = ()


def answers(scorer: Scorer | CosineScorer, questions: Sequence[AnalogyQuestion]) -> list[int]:
    """The place of the best-scored choice of each question; of equal ones the first."""
    scores = scorer.choice_scores([q.stem for q in questions], [q.choice for q in questions])
    return [int(np.argmax(row)) for row in scores]


def accuracy_of(
    name: str, questions: Sequence[AnalogyQuestion], chosen: Sequence[int | None], group: str = ""
) -> Accuracy:
    """Accuracy over questions.

    Raises:
        EtudeError: There is no question.
    """
    right = sum(answer == q.answer for q, answer in zip(questions, chosen, strict=True))
    interval = wilson_interval(right, len(questions))
    if interval is None:
        raise EtudeError(f"{name}: no question is left to score", "Exclude fewer, or give another test.")
    places = Counter(answer for answer in chosen if answer is not None)
    most = max(len(q.choice) for q in questions)
    return Accuracy(
        name, group, len(questions), interval, float(np.mean([1 / len(q.choice) for q in questions])),
        sum(answer is None for answer in chosen), tuple(places[i] for i in range(most)),
    )  # fmt: skip


def groups_of(
    name: str, questions: Sequence[AnalogyQuestion], chosen: Sequence[int | None]
) -> list[Accuracy]:
    """Accuracy of each group, in the order of their names."""
    found = []
    for group in sorted({q.group for q in questions}):
        places = [i for i, q in enumerate(questions) if q.group == group]
        found.append(
            accuracy_of(name, [questions[i] for i in places], [chosen[i] for i in places], group or "(none)")
        )
    return found


def hit_at(items: Sequence[GenerationItem], generated: Sequence[Sequence[str]], k: int) -> list[bool]:
    """Whether one of the first k words is accepted, for each item; casing and spaces do not count."""
    return [
        bool({folded(word) for word in words[:k]} & {folded(word) for word in item.accepted})
        for item, words in zip(items, generated, strict=True)
    ]
