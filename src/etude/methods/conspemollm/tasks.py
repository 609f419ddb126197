"""The five ConDID tasks: what is asked, the classes, and how an answer is written and read (paper, section
3).

`intention` and `theory-type` come from COCO's tweets; `judgment`, `relatedness` and `topic` from LOCO's
articles. Class names of intention and relatedness are those of the released samples; the statements are ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from etude.errors import EtudeError
from etude.methods.conspemollm.wordings import wordings

TaskName: TypeAlias = Literal["intention", "theory-type", "judgment", "relatedness", "topic"]
TASK_NAMES: tuple[TaskName, ...] = get_args(TaskName)
THEORIES = {"coronavirus": "the coronavirus", "sandy hook": "the Sandy Hook shooting"}
"""LOCO's two annotated seeds, and how a statement names them."""
INVALID = "invalid"
"""What stands for an answer that names no class; it never counts as a class."""


@dataclass(frozen=True)
class ConspTask:
    """One classification task.

    Args:
        name: One of `TASK_NAMES`.
        classes: The class labels, numbered as they are answered.
        template: The statement, with `{classes}` and, for relatedness, `{theory}`.
        multi_label: Whether an answer is a list of classes, perhaps empty.
    """

    name: TaskName
    classes: tuple[str, ...]
    template: str
    multi_label: bool

    @property
    def needs_theory(self) -> bool:
        """Whether the statement names a theory."""
        return "{theory}" in self.template

    def statement(self, theory: str | None = None) -> str:
        """The one-line task statement.

        Args:
            theory: For relatedness: `coronavirus`, `sandy hook`, or any other name of a theory.

        Raises:
            EtudeError: The task needs a theory and none is given.
        """
        if self.needs_theory and not theory:
            raise EtudeError(
                f"{self.name} asks about a theory, and none is named",
                'Give --theory coronavirus, --theory "sandy hook", or a theory in your own words.',
            )
        named = THEORIES.get(theory or "", theory or "")
        return self.template.format(classes=", ".join(self.classes), theory=named)

    def answer(self, labels: Sequence[int]) -> str:
        """What the model shall answer for these class numbers.

        Raises:
            ValueError: Not exactly one class where one is due, or an unknown number.
        """
        if not self.multi_label and len(labels) != 1:
            raise ValueError(f"{self.name} has exactly one class, got {list(labels)}")
        names = [self.classes[number] for number in sorted(labels)]
        return str(wordings()["frame"]["separator"]).join(names) or str(wordings()["frame"]["none"])

    def read(self, answer: str) -> tuple[int, ...] | None:
        """The class numbers of an answer, or None when it names no class (or several where one is due).

        A class is recognized by its number at the beginning, by its name, or by both; what contradicts
        itself (`0. conspiracy` where 0 is another class) is no class.
        """
        said = answer.strip().strip(".").strip()
        if not said:
            return None
        if not self.multi_label:
            found = self._one(said.splitlines()[0])
            return None if found is None else (found,)
        if said.casefold() == wordings()["frame"]["none"]:
            return ()
        pieces = [self._one(piece) for piece in re.split(r"[;\n]|,(?=\s*\d)", said) if piece.strip()]
        kept = sorted({piece for piece in pieces if piece is not None})
        return None if None in pieces else tuple(kept)

    def _one(self, said: str) -> int | None:
        said = said.strip().strip("\"'`*").strip()
        number, name = re.fullmatch(r"(\d*)\s*[.:)]?\s*(.*)", said, re.DOTALL).groups()  # type: ignore[union-attr]
        names = {bare(label).casefold(): at for at, label in enumerate(self.classes)}
        words = name.strip().strip(".").casefold()
        by_name = names.get(words)
        if by_name is None and words:
            short = {key.partition(" (")[0]: at for key, at in names.items()}
            by_name = short.get(words)
        by_number = int(number) if number and int(number) < len(self.classes) else None
        if number and words:
            return by_number if by_number == by_name and by_number is not None else None
        return by_number if number else by_name


def bare(label: str) -> str:
    """A class label without its number."""
    return label.partition(". ")[2] or label


def short_name(label: str) -> str:
    """A class label as part of a column's name: `1. closely related` is `closely_related`."""
    return re.sub(r"\W+", "_", bare(label).partition(" (")[0].casefold()).strip("_")


def task_named(name: str) -> ConspTask:
    """The task of this name.

    Raises:
        EtudeError: There is none.
    """
    found = wordings()["tasks"].get(name)
    if found is None:
        raise EtudeError(f"no task {name!r}", f"The tasks are {', '.join(TASK_NAMES)}.")
    return ConspTask(name, tuple(found["classes"]), found["statement"], found["multi_label"])  # type: ignore[arg-type]


def task_of_statement(instruction: str) -> ConspTask | None:
    """The task whose class names all stand in an instruction, as in the released samples, or None."""
    said = instruction.casefold()
    fitting = [
        task
        for task in map(task_named, TASK_NAMES)
        if all(bare(label).casefold() in said for label in task.classes)
    ]
    return max(fitting, key=lambda task: len("".join(task.classes)), default=None)
