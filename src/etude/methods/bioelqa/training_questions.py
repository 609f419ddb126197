"""From training cases to what a selector learns from: several variants of each question, shuffled, some of
them masked (paper: data augmentation; masking is ours).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etude.errors import EtudeError
from etude.methods.bioelqa.case_base import Case, CaseBase
from etude.methods.bioelqa.questions import Question, injected, shuffled, with_gold


@dataclass(frozen=True)
class QuestionSettings:
    """How questions are made.

    Args:
        n_options: N, candidates shown.
        n_clues: k, solved cases shown.
        clue_mask: p, the share of training variants in which the gold id is hidden as if never trained on.
        variants: Copies of each training question, each with its own order of options.
        inject_gold: Put a missing gold in place of the last option, instead of dropping the question.
        abstain: Offer "none of these"; questions whose gold is missing then have it as their answer.
    """

    n_options: int = 10
    n_clues: int = 3
    clue_mask: float = 0.3
    variants: int = 4
    inject_gold: bool = False
    abstain: bool = False

    def __post_init__(self) -> None:
        if self.n_options < 2 or self.n_clues < 0 or self.variants < 1 or not 0 <= self.clue_mask <= 1:
            raise EtudeError(
                f"options {self.n_options}, clues {self.n_clues}, variants {self.variants}, "
                f"clue mask {self.clue_mask}",
                "At least 2 options, 0 clues, 1 variant, and a mask between 0 and 1.",
            )
        if self.inject_gold and self.abstain:
            raise EtudeError("--inject-gold and --abstain exclude each other", "Give one of them.")


def make_training_questions(
    base: CaseBase, settings: QuestionSettings, *, seed: int, cases: Sequence[Case] | None = None
) -> tuple[list[Question], int]:
    """Every training case as `variants` questions in random orders.

    Args:
        base: Vocabulary, cases and retriever.
        settings: How.
        seed: Of masking and orders.
        cases: Which of the base's cases; all of them by default.

    Returns:
        The questions, gold marked, and how many variants were dropped because the gold was not among the
        candidates.

    Raises:
        EtudeError: No question is left.
    """
    asked = base.cases if cases is None else tuple(cases)
    generator = np.random.default_rng(seed)
    masked = generator.random((len(asked), settings.variants)) < settings.clue_mask
    found: dict[bool, dict[int, Question]] = {}
    for hide in (False, True):
        places = np.flatnonzero((masked == hide).any(1)).tolist()
        made = base.training_questions(
            [asked[i] for i in places],
            n_options=settings.n_options,
            n_clues=settings.n_clues,
            masked=hide,
            abstain=settings.abstain,
        )
        found[hide] = dict(zip(places, made, strict=True))
    questions, dropped = [], 0
    for i, case in enumerate(asked):
        for variant in range(settings.variants):
            question = found[bool(masked[i, variant])][i]
            if settings.inject_gold and case.id not in {option.id for option in question.options}:
                question = injected(question, base.option(case.id, case.mention))
            question = with_gold(question, case.id)
            if question.gold is None or len(question.options) < 2:
                dropped += 1
                continue
            questions.append(shuffled(question, generator))
    if not questions:
        raise EtudeError(
            "no training question has its gold among the candidates",
            "Check that the corpus uses the vocabulary's ids, or give more --options.",
        )
    return questions, dropped
