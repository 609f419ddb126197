"""A label of one pair: what was read from the model, and everything needed to read it again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from pydantic import BaseModel, Field

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.relevance.answers import USABLE, LabelStatus
from etude.methods.relevance.collection import Pair
from etude.methods.relevance.trec import read_qrels

Rule: TypeAlias = Literal["median", "mean", "majority"]


class Label(BaseModel):
    """A label, as a row of the labels' JSONL."""

    qid: str
    docid: str
    model: str
    prompt: str = Field(default="", description="The prompt's name and hash")
    O: float | None = None
    M: float | None = None
    T: float | None = None
    judges: list[int] = Field(default_factory=list)
    prob: list[float] | None = Field(default=None, description="Probability of each grade")
    score: float | None = Field(default=None, description="What the grade was cut from")
    status: LabelStatus = "ok"
    prompt_tokens: int = 0
    output_tokens: int = 0
    words_left_out: int = 0
    raw: str = ""

    @property
    def usable(self) -> bool:
        """Whether there is a grade."""
        return self.status in USABLE and self.O is not None

    @property
    def grade(self) -> int:
        """The grade as a whole number, half rounded up; only of a usable label."""
        assert self.O is not None
        return math.floor(self.O + 0.5)


class Labeller(Protocol):
    """Anything that labels pairs."""

    @property
    def name(self) -> str:
        """Shown in the labels as the model."""

    def label(self, pairs: Sequence[Pair]) -> list[Label]:
        """One label for each pair, in order."""


class Ensemble:
    """Several labellers as one; a pair is labelled when more than half of them gave a usable label.

    Args:
        labellers: The judges.
        rule: How grades are joined.
    """

    def __init__(self, labellers: Sequence[Labeller], rule: Rule = "median") -> None:
        if len(labellers) < 2:
            raise EtudeError("an ensemble of fewer than two", "Give at least two labellers.")
        self.labellers = list(labellers)
        self.rule: Rule = rule

    @property
    def name(self) -> str:
        """The rule and the members."""
        return f"{self.rule}({', '.join(one.name for one in self.labellers)})"

    def label(self, pairs: Sequence[Pair]) -> list[Label]:
        """Join the members' labels pair by pair."""
        given = [one.label(pairs) for one in self.labellers]
        return [joined(list(labels), self.rule, self.name) for labels in zip(*given, strict=True)]


def joined(labels: Sequence[Label], rule: Rule, name: str) -> Label:
    """One label from several of the same pair.

    The majority's ties fall to the lower grade, so that no tie makes a document relevant.
    """
    first = labels[0]
    usable = [label.O for label in labels if label.usable and label.O is not None]
    whole = [label.grade for label in labels if label.usable]
    base = Label(qid=first.qid, docid=first.docid, model=name, prompt="", judges=whole)
    if 2 * len(usable) <= len(labels):
        return base.model_copy(update={"status": "unparsed"})
    return base.model_copy(update={"O": join_grades(usable, rule)})


def join_grades(grades: Sequence[float], rule: Rule) -> float:
    """Median, mean, or majority (ties to the lower grade) of grades."""
    if rule == "mean":
        return sum(grades) / len(grades)
    if rule == "majority":
        counts = Counter(math.floor(grade + 0.5) for grade in grades)
        return float(min(counts, key=lambda grade: (-counts[grade], grade)))
    ordered, middle = sorted(grades), len(grades) // 2
    return ordered[middle] if len(grades) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def read_labels(path: Path) -> list[Label]:
    """The labels of a JSONL file.

    Raises:
        EtudeError: A row is bad, or a pair is labelled twice by the same model and prompt.
    """
    labels = list(read_records(path, Label))
    seen: set[tuple[str, str, str, str]] = set()
    for label in labels:
        key = (label.qid, label.docid, label.model, label.prompt)
        if key in seen:
            raise EtudeError(f"{path}: query {key[0]}, document {key[1]} is labelled twice", "Keep one.")
        seen.add(key)
    return labels


def read_label_grades(
    path: Path, grade_map: Mapping[int, int] | None = None
) -> tuple[dict[tuple[str, str], float], dict[str, int]]:
    """Grades from labels' JSONL or from qrels, and the number of labels of each status that are no grade."""
    if path.suffix != ".jsonl":
        return {pair: float(grade) for pair, grade in read_qrels(path, grade_map).items()}, {}
    labels = read_labels(path)
    judges = {(label.model, label.prompt) for label in labels}
    if len(judges) > 1:
        raise EtudeError(
            f"{path}: labels of {len(judges)} models or prompts",
            "Give one at a time, or join them: ensemble.",
        )
    return grades_of(labels), unusable(labels)


def grades_of(labels: Iterable[Label]) -> dict[tuple[str, str], float]:
    """(qid, docid) to O of the usable labels."""
    return {(one.qid, one.docid): one.O for one in labels if one.usable and one.O is not None}


def unusable(labels: Iterable[Label]) -> dict[str, int]:
    """How many labels of each status are no grade."""
    return dict(sorted(Counter(one.status for one in labels if not one.usable).items()))
