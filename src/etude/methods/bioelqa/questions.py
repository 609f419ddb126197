"""A mention as a multiple-choice question: lettered options and solved cases (paper: prompt construction)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from etude.errors import EtudeError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NONE_NAME = "none of these"


@dataclass(frozen=True)
class Option:
    """A candidate.

    Args:
        id: Its id; None for "none of these".
        name: The name that is shown.
        matched: The normalized name of it that is most like the mention.
        score: The retriever's score of that name.
        learned: Whether that name is a training mention.
    """

    id: str | None
    name: str
    matched: str = ""
    score: float = 0.0
    learned: bool = False


@dataclass(frozen=True)
class Clue:
    """A solved training case: this mention has that id (paper: kNN module).

    Args:
        mention: Normalized.
        id: Its gold id.
        name: The name of that id.
        score: Similarity to the question's mention.
    """

    mention: str
    id: str
    name: str
    score: float


@dataclass(frozen=True)
class Question:
    """What a selector answers.

    Args:
        mention: Normalized.
        options: In the order in which they are shown.
        clues: Most similar first.
        gold: Place of the right option, if it is there and known.
        context: Text around the mention, if there is some.
    """

    mention: str
    options: tuple[Option, ...]
    clues: tuple[Clue, ...] = ()
    gold: int | None = None
    context: str = ""

    def reordered(self, order: Sequence[int]) -> Question:
        """The same question with option `order[i]` at place i."""
        places = list(order)
        gold = None if self.gold is None else places.index(self.gold)
        return replace(self, options=tuple(self.options[i] for i in places), gold=gold)


def symbols_for(count: int, kind: str = "letters") -> tuple[str, ...]:
    """What options are called: A, B, C ..., or 1, 2, 3 ...

    Raises:
        EtudeError: More options than letters.
    """
    if kind == "numbers":
        return tuple(str(i) for i in range(1, count + 1))
    if count > len(LETTERS):
        raise EtudeError(
            f"{count} options, and there are {len(LETTERS)} letters",
            "Give fewer options (--options), or call them by numbers (--symbols numbers).",
        )
    return tuple(LETTERS[:count])


def shuffled(question: Question, generator: np.random.Generator) -> Question:
    """The question with its options in a random order: the letter tells nothing about the rank."""
    return question.reordered(generator.permutation(len(question.options)).tolist())


def with_gold(question: Question, gold_id: str) -> Question:
    """The question with its right option marked: the gold id's place, else that of "none of these"."""
    ids = [option.id for option in question.options]
    place = ids.index(gold_id) if gold_id in ids else ids.index(None) if None in ids else None
    return replace(question, gold=place)


def injected(question: Question, gold: Option) -> Question:
    """The question with a missing gold in place of the last candidate (`--inject-gold`)."""
    if any(option.id == gold.id for option in question.options):
        return question
    candidates = [option for option in question.options if option.id is not None]
    none = [option for option in question.options if option.id is None]
    return replace(question, options=(*candidates[:-1], gold, *none))
