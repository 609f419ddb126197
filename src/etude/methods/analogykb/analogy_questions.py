"""Analogy questions: a stem pair, choices, the index of the right one; generation items.

The shape is that of `relbert/analogy_questions`: `stem`, `choice`, `answer`, and `group` (or `prefix`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, model_validator

from etude.data import read_records, read_rows
from etude.errors import EtudeError

Pair = tuple[str, str]


class AnalogyQuestion(BaseModel):
    """Which choice is to its partner as the stem's words are to each other?

    Args:
        stem: The pair A, B.
        choice: Pairs C, D; two or more. A wrong one may stand there twice (public tests have such).
        answer: Index of the right one.
        group: What kind of question it is, e.g. a relation.
    """

    stem: Pair
    choice: list[Pair] = Field(min_length=2)
    answer: int = Field(ge=0)
    group: str = ""

    @model_validator(mode="before")
    @classmethod
    def _accept_other_shapes(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        read = {
            k: json.loads(v) if k in ("stem", "choice") and isinstance(v, str) else v for k, v in row.items()
        }
        return read if read.get("group") else {**read, "group": str(row.get("prefix") or "")}

    @model_validator(mode="after")
    def _is_a_question(self) -> AnalogyQuestion:
        if self.answer >= len(self.choice):
            raise ValueError(f"answer {self.answer} is not among {len(self.choice)} choices, counted from 0")
        if any(not word.strip() for pair in [self.stem, *self.choice] for word in pair):
            raise ValueError("a word is empty")
        if self.choice.count(self.choice[self.answer]) > 1:
            raise ValueError(f"the right choice {self.choice[self.answer]} stands there twice")
        return self


class GenerationItem(BaseModel):
    """A is to B as C is to what?

    Args:
        stem: The pair A, B.
        query: C.
        accepted: Every D that is right.
        group: The relation.
    """

    stem: Pair
    query: str = Field(min_length=1)
    accepted: list[str] = Field(min_length=1)
    group: str = ""


def read_questions(source: Path | str) -> list[AnalogyQuestion]:
    """Read recognition questions; see `read_records` for what a source may be.

    Raises:
        EtudeError: Bad rows, named by line and field, or no question at all.
    """
    found = list(read_records(source, AnalogyQuestion))
    if not found:
        raise EtudeError(f"{source}: holds no question", "Give rows with stem, choice and answer.")
    return found


def read_items(source: Path | str) -> list[GenerationItem]:
    """Read generation items.

    Raises:
        EtudeError: Bad rows, or no item at all.
    """
    found = list(read_records(source, GenerationItem))
    if not found:
        raise EtudeError(f"{source}: holds no item", "Give rows with stem, query and accepted.")
    return found


def is_generation(source: Path | str) -> bool:
    """Whether a file's first row is a generation item."""
    first = next(iter(read_rows(source)), None)
    return first is not None and "accepted" in first[1]


def words_of(questions: list[AnalogyQuestion]) -> list[str]:
    """Every word of the questions once, in the order of their first place."""
    seen = dict.fromkeys(word for q in questions for pair in [q.stem, *q.choice] for word in pair)
    return list(seen)


def as_text(pair: Pair) -> str:
    """`A is to B`."""
    return f"{pair[0]} is to {pair[1]}"
