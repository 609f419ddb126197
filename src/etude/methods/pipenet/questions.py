"""Questions with choices, and the statement of each choice: the question with the answer in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from etude.data import read_records
from etude.errors import EtudeError

Form = Literal["wh", "append"]

PLACEHOLDER = "something"
_WH = re.compile(r"\b(?:what|which|who|whom|whose|where|when|why|how)\b", re.IGNORECASE)
_BLANK = re.compile(r"_{2,}")


class Question(BaseModel):
    """One question. The shapes of CommonsenseQA and OpenBookQA, original and hub, are accepted too.

    Attributes:
        id: Unique in its file.
        question: Its text.
        choices: Candidate answers; questions may differ in how many they have.
        answer: Index of the right one, if known.
        statements: One sentence per choice, to be grounded instead of ours.
        fact: A fact that comes with the question (OpenBookQA); read by the encoder, not grounded.
    """

    id: str
    question: str = Field(min_length=1)
    choices: list[str] = Field(min_length=1)
    answer: int | None = None
    statements: list[str] | None = None
    fact: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _published_shapes(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        row = dict(row)
        if "id" in row:
            row["id"] = str(row["id"])
        stem = row.get("question_stem") or row.get("question")
        if isinstance(stem, dict):
            row["choices"], stem = stem.get("choices"), stem.get("stem")
        row["question"] = stem
        row.setdefault("fact", row.get("fact1"))
        choices, labels = row.get("choices"), None
        if isinstance(choices, dict):
            labels, row["choices"] = choices.get("label"), choices.get("text")
        elif isinstance(choices, list) and choices and all(isinstance(c, dict) for c in choices):
            labels, row["choices"] = [c.get("label") for c in choices], [c.get("text") for c in choices]
        key = row.get("answerKey")
        if key and row.get("answer") is None and labels is not None:
            if key not in labels:
                raise ValueError(f"answerKey {key!r} is none of {', '.join(map(str, labels))}")
            row["answer"] = list(labels).index(key)
        return row

    @model_validator(mode="after")
    def _consistent(self) -> Question:
        if self.answer is not None and not 0 <= self.answer < len(self.choices):
            raise ValueError(f"answer {self.answer} is not an index of {len(self.choices)} choices")
        if self.statements is not None and len(self.statements) != len(self.choices):
            raise ValueError(f"{len(self.statements)} statements for {len(self.choices)} choices")
        return self


@dataclass(frozen=True)
class Statement:
    """What is grounded: one sentence about one choice.

    Attributes:
        question_id, choice: Whose it is.
        text: The sentence.
        answer: The choice's text.
        start: Where the answer begins in `text`, in characters; None when it was not put there by us.
        frame: `text` with a placeholder instead of the answer, for parsing a question once; None as above.
    """

    question_id: str
    choice: int
    text: str
    answer: str
    start: int | None = None
    frame: str | None = None


def read_questions(source: Path | str, *, answered: bool = False) -> list[Question]:
    """Read questions from JSONL, CSV, Parquet, a saved dataset or the hub.

    Args:
        source: See `etude.data.read_records`.
        answered: Demand the right answer of every question.

    Raises:
        EtudeError: A bad row, the same id twice, a missing answer, or no question at all.
    """
    found = list(read_records(source, Question))
    seen: set[str] = set()
    for q in found:
        if q.id in seen:
            raise EtudeError(f"{source}: two questions have the id {q.id!r}", "Give each its own id.")
        if answered and q.answer is None:
            raise EtudeError(
                f"{source}: question {q.id!r} has no answer", "Give the index of the right choice."
            )
        seen.add(q.id)
    if not found:
        raise EtudeError(f"{source}: no question", "Each line needs id, question and choices.")
    return found


def statements(question: Question, form: Form = "wh") -> list[Statement]:
    """The statement of every choice (paper section 3.1).

    Args:
        question: Its own `statements` win.
        form: `wh` puts the answer where the question word or a blank stands (CommonsenseQA), `append` after
            the question (OpenBookQA). A question without either gets it appended.
    """
    if question.statements is not None:
        pairs = zip(question.statements, question.choices, strict=True)
        return [Statement(question.id, i, text, answer.strip()) for i, (text, answer) in enumerate(pairs)]
    before, after = slot(question.question) if form == "wh" else (question.question.strip() + " ", "")
    return [
        Statement(
            question.id,
            i,
            before + answer.strip() + after,
            answer.strip(),
            len(before),
            before + PLACEHOLDER + after,
        )
        for i, answer in enumerate(question.choices)
    ]


def slot(question: str) -> tuple[str, str]:
    """The text before and after the place of the answer.

    A blank comes first; else a question word that ends the question ("... at a what?"), else the first one of
    the last sentence that asks, else the last one anywhere.
    """
    text = question.strip()
    closed = re.sub(r"\s*\?+\s*$", ".", text)
    if blank := _BLANK.search(closed):
        return closed[: blank.start()], closed[blank.end() :]
    words = list(_WH.finditer(closed))
    if not words:
        return text + " ", ""
    word = words[-1]
    if closed[word.end() :].strip(" .!") != "":
        opening = max((m.end() for m in re.finditer(r"[.!?;]\s+", closed)), default=0)
        word = next((w for w in words if w.start() >= opening), word)
    return closed[: word.start()], closed[word.end() :]


def encoder_text(question: Question, choice: int, separator: str) -> str:
    """What the language model reads for a choice: question [SEP] answer, a fact before the question."""
    head = f"{question.fact} {question.question}" if question.fact else question.question
    return f"{head} {separator} {question.choices[choice]}"


def encoder_texts(questions: Sequence[Question], separator: str) -> list[str]:
    """`encoder_text` of every choice of every question, in order."""
    return [encoder_text(q, c, separator) for q in questions for c in range(len(q.choices))]
