"""Sentence selection from FaQuAD, the task of FaQuAD-NLI: does this sentence hold the answer to the question?

Made from FaQuAD's questions, contexts and answers: every sentence of the context is a candidate, one that
contains an answer is right, a few of the others are wrong. Splits are by article, so that no text is in two
of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.teenytinyllama.classification import Labeled
from etude.runs import content_hash

_BOUNDARY = re.compile(r"(?<=[.!?])\s+(?=[\"“A-ZÀ-Ý0-9])")
_WRONG = 3  # wrong sentences a question


class Question(BaseModel):
    """One question of FaQuAD."""

    id: str
    title: str
    context: str
    question: str
    answers: list[str]


class Pair(Labeled):
    """A question and a sentence, labeled yes or no; `article` is where they are from."""

    id: str
    article: str


def sentences(text: str) -> list[str]:
    """Cut text after . ! ? where a capital or a digit follows."""
    return [piece.strip() for piece in _BOUNDARY.split(text) if piece.strip()]


def pairs(questions: Sequence[Question], wrong: int = _WRONG) -> list[Pair]:
    """Right and wrong sentences of each question; a question whose answer spans sentences has none."""
    found: list[Pair] = []
    for question in questions:
        candidates = list(dict.fromkeys(sentences(question.context)))
        right = [
            s for s in candidates if any(answer.strip() in s for answer in question.answers if answer.strip())
        ]
        others = sorted(
            (s for s in candidates if s not in right), key=lambda s: content_hash([question.id, s])
        )
        if not right or not others:
            continue
        for label, chosen in (("yes", right[:1]), ("no", others[:wrong])):
            found += [
                Pair(
                    id=f"{question.id}-{label}-{number}",
                    article=question.title,
                    text=question.question,
                    pair=sentence,
                    label=label,
                )
                for number, sentence in enumerate(chosen)
            ]
    return found


def read_pairs(path: Path) -> dict[str, list[Pair]]:
    """Training, validation and test pairs, three to one to two articles in six.

    Raises:
        EtudeError: A row is bad, or there are too few articles.
    """
    rows = pairs(list(read_records(path, Question)))
    articles = sorted({row.article for row in rows}, key=content_hash)
    if len(articles) < 6:
        raise EtudeError(
            f"{path}: {len(articles)} articles", "Give FaQuAD's training questions: six or more."
        )
    place = {article: number % 6 for number, article in enumerate(articles)}
    split = ("train", "test", "train", "validation", "train", "test")
    return {
        name: [r for r in rows if split[place[r.article]] == name] for name in ("train", "validation", "test")
    }
