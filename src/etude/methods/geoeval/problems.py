"""One geometry problem: what is drawn, what is given, what is asked, what is right.

The record is that of our `problems.jsonl` (FormalGeo7k annotation); what a source does not have stays empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.geoeval.cdl import Call, mend_cdl, parse_cdl
from etude.runs import content_hash

SAMPLES = Path(__file__).parent / "samples" / "problems.jsonl"


class Problem(BaseModel):
    """A problem with its facts.

    Args:
        problem_id: Its number or name, unique in a file.
        source: Where it comes from, e.g. `Geometry3K-1573`.
        subset: `main`, `backward`, `aug`, `hard` or a name of the user's.
        problem_text_en: The question as printed.
        construction_cdl: The picture's structure: `Shape`, `Collinear`, `Cocircular`.
        text_cdl: Facts given in words.
        image_cdl: Facts given in the picture.
        goal_cdl: What is asked: `Value(expression)`; empty if the source has no facts.
        problem_answer: The answer as an expression; empty if unknown.
        theorem_seqs: One human solution, a theorem a step.
        points_px: Pixel positions of the points, (x, y) with y growing downwards.
        image: The picture's path, relative to the file the problem was read from.
        choices: Answers to choose from; empty for an open question.
        choice: The right choice, counted from 0.
        parent_id: Of a built problem, the problem it was built from.
        parent_hash: Of a built problem, `content` of its parent: a changed parent is noticed.
        folder: Where relative picture paths start; not part of the record.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    problem_id: str
    source: str = ""
    subset: str = "main"
    problem_text_en: str = ""
    construction_cdl: tuple[str, ...] = ()
    text_cdl: tuple[str, ...] = ()
    image_cdl: tuple[str, ...] = ()
    goal_cdl: str = ""
    problem_answer: str = ""
    theorem_seqs: tuple[str, ...] = ()
    points_px: dict[str, tuple[float, float]] | None = None
    image: str | None = None
    choices: tuple[str, ...] = ()
    choice: int | None = None
    parent_id: str | None = None
    parent_hash: str | None = None
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    @field_validator("construction_cdl", "text_cdl", "image_cdl", "theorem_seqs", "choices", mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: Any) -> Any:
        return () if value is None else value

    @field_validator("problem_text_en", "problem_answer", "goal_cdl", "source", mode="before")
    @classmethod
    def _none_is_blank(cls, value: Any) -> Any:
        return "" if value is None else value

    @cached_property
    def construction(self) -> tuple[Call, ...]:
        """The parsed `construction_cdl`, without repetitions."""
        return self._parsed("construction_cdl")

    @cached_property
    def facts(self) -> tuple[Call, ...]:
        """The parsed `text_cdl` and `image_cdl`, without repetitions."""
        return tuple(dict.fromkeys(self.text_facts + self.image_facts))

    @cached_property
    def text_facts(self) -> tuple[Call, ...]:
        """The parsed `text_cdl`."""
        return self._parsed("text_cdl")

    @cached_property
    def image_facts(self) -> tuple[Call, ...]:
        """The parsed `image_cdl`."""
        return self._parsed("image_cdl")

    @cached_property
    def goal(self) -> Call:
        """The parsed goal.

        Raises:
            EtudeError: There is none, or it does not ask for a value.
        """
        if not self.goal_cdl:
            raise EtudeError(f"problem {self.problem_id}: goal_cdl is empty", "Give it as Value(expression).")
        goal = self._parse("goal_cdl", self.goal_cdl)
        if goal.name != "Value":
            raise EtudeError(
                f"problem {self.problem_id}: goal_cdl: {self.goal_cdl} asks for no value",
                "Only Value(expression) can be solved for; leave the problem out.",
            )
        return goal

    def changed(self, **fields: Any) -> Self:
        """A copy with other fields, in which nothing parsed from the old ones is left."""
        kept = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_construct(**{**kept, **fields})

    @property
    def steps(self) -> int:
        """Theorem steps of the human solution, a measure of difficulty."""
        return len(self.theorem_seqs)

    @cached_property
    def content(self) -> str:
        """A hash of what determines the answer: construction, facts, goal and answer."""
        return content_hash(
            [
                list(self.construction_cdl),
                list(self.text_cdl),
                list(self.image_cdl),
                self.goal_cdl,
                self.problem_answer,
            ]
        )

    def _parsed(self, field: str) -> tuple[Call, ...]:
        return tuple(dict.fromkeys(self._parse(field, text) for text in getattr(self, field)))

    def _parse(self, field: str, text: str) -> Call:
        try:
            return parse_cdl(mend_cdl(text))
        except EtudeError as error:
            raise EtudeError(f"problem {self.problem_id}: {field}: {error.problem}", error.hint) from error


def read_problems(path: Path | str) -> list[Problem]:
    """Read a file of problems in our format.

    Args:
        path: `.jsonl` (or any table `etude.data` reads) with the fields of `Problem`; `samples` for
            the twelve that come with the library.

    Raises:
        EtudeError: The file cannot be read, has bad rows, or two problems have the same id.
    """
    if str(path) == "samples" and not Path(path).exists():
        path = SAMPLES
    folder = Path(path).parent
    problems = [p.changed(folder=folder) for p in read_records(path, Problem)]
    if not problems:
        raise EtudeError(f"{path}: no problems", "Each line must be one problem.")
    refuse_duplicates(problems, path)
    return problems


def refuse_duplicates(problems: Iterable[Problem], path: Path | str) -> None:
    """Raise if two problems have the same id.

    Raises:
        EtudeError: With the ids that are there twice.
    """
    seen: set[str] = set()
    twice: list[str] = []
    for problem in problems:
        if problem.problem_id in seen:
            twice.append(problem.problem_id)
        seen.add(problem.problem_id)
    if twice:
        raise EtudeError(
            f"{path}: problem_id twice: {', '.join(twice[:10])}", "Give every problem an id of its own."
        )
