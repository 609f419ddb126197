"""One ConDID example, and the three file layouts it is read from.

`{"id", "task", "instruction", "input", "output", "source", "split"}` is ours; the release's sample has
`instruction`, `input`, `output`; its trainer wants `conversations: [{from, value}, ...]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field, model_validator

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.conspemollm.tasks import TASK_NAMES, ConspTask, task_named, task_of_statement

Split: TypeAlias = Literal["train", "dev", "test"]
CONDID_FILE = "condid.jsonl"
_WITHIN = re.compile(r"^(?P<statement>.*?)\s*\bText:\s*(?P<text>.*?)\s*(?:Class:\s*)?$", re.DOTALL)
_FRAME = re.compile(r"^\s*Human:\s*|\s*Assistant:\s*$")


class Example(BaseModel):
    """A text, what is asked about it, and the answer.

    Args:
        id: Unique within its task.
        task: One of `TASK_NAMES`.
        instruction: The task statement alone.
        input: The text alone, so that it can be cut without touching what stands around it.
        output: The answer, e.g. `1. conspiracy`.
        source: `coco`, `loco`, `synthetic`, or where a row of the user's came from.
        split: `train`, `dev` or `test`.
        topic: The theory or event the text was collected for, if known; what cross-topic evaluation holds
            out.
        group: Rows of one group never straddle splits; 0 or more.
    """

    id: str
    task: str
    instruction: str
    input: str
    output: str
    source: str = ""
    split: Split = "train"
    topic: str = ""
    group: int = Field(default=-1, description="rows of one group never straddle splits")

    @model_validator(mode="before")
    @classmethod
    def _other_layouts(cls, row: Any) -> Any:
        if not isinstance(row, Mapping):
            return row
        row = dict(row)
        if row.get("conversations"):
            turns = {
                str(t.get("from")): str(t.get("value", ""))
                for t in row["conversations"]
                if isinstance(t, Mapping)
            }
            row.setdefault("instruction", turns.get("human", ""))
            row.setdefault("output", turns.get("gpt", turns.get("assistant", "")))
        said = _FRAME.sub("", str(row.get("instruction", "")))
        if not str(row.get("input") or "").strip() and (found := _WITHIN.match(said)):
            said, row["input"] = found["statement"], found["text"]
        row["instruction"], row["input"] = said.strip(), str(row.get("input") or "").strip()
        row["output"] = str(row.get("output", "")).strip()
        if not row.get("task") and (task := task_of_statement(said)):
            row["task"] = task.name
        if "id" in row:
            row["id"] = str(row["id"])
        return row

    @model_validator(mode="after")
    def _is_answerable(self) -> Example:
        if self.task not in TASK_NAMES:
            raise ValueError(f"task {self.task!r}: expected one of {', '.join(TASK_NAMES)}")
        if not self.input:
            raise ValueError("the text is empty (input, or what follows `Text:` in the instruction)")
        if not self.instruction:
            raise ValueError("the instruction is empty")
        if self.conspiracy_task.read(self.output) is None:
            raise ValueError(
                f"output {self.output!r} is no class of {self.task}: "
                + ", ".join(self.conspiracy_task.classes)
            )
        return self

    @property
    def conspiracy_task(self) -> ConspTask:
        """The task itself."""
        return task_named(self.task)

    @property
    def statement(self) -> str:
        """What is asked, as when predicting; the row's own words where they alone name the theory."""
        task = self.conspiracy_task
        return (
            self.instruction if task.needs_theory and not self.topic else task.statement(self.topic or None)
        )

    @property
    def labels(self) -> tuple[int, ...]:
        """The class numbers of the answer."""
        found = self.conspiracy_task.read(self.output)
        assert found is not None  # checked above
        return found


def read_examples(source: Path | str, task: str | None = None) -> list[Example]:
    """Examples of a file or of a folder written by `build`, in any of the three layouts.

    Args:
        source: A `.jsonl`, `.csv` or `.parquet` file, or a folder with `condid.jsonl`.
        task: Only this task.

    Raises:
        EtudeError: Bad rows, an id twice within a task, or nothing left.
    """
    path = Path(source)
    path = path / CONDID_FILE if (path / CONDID_FILE).is_file() else path
    numbered = _Numbered(path.stem)
    read = [numbered(example) for example in read_records(path, _Row)]
    seen: set[tuple[str, str]] = set()
    for example in read:
        if (example.task, example.id) in seen:
            raise EtudeError(
                f"{path}: id {example.id!r} is there twice for {example.task}",
                "Ids must be unique within a task.",
            )
        seen.add((example.task, example.id))
    kept = [example for example in read if task is None or example.task == task]
    if not kept:
        there = ", ".join(sorted({example.task for example in read})) or "nothing"
        raise EtudeError(f"{path}: no example of {task or 'any task'}", f"It holds {there}.")
    return with_groups(kept)


class _Row(Example):
    """An example whose id may be missing."""

    id: str = ""


class _Numbered:
    def __init__(self, stem: str) -> None:
        self.stem, self.count = stem, 0

    def __call__(self, row: _Row) -> Example:
        self.count += 1
        return Example(**{**row.model_dump(), "id": row.id or f"{self.stem}-{self.count}"})


def with_groups(examples: Sequence[Example]) -> list[Example]:
    """Examples with groups: those they have, else by document and near-duplicate text.

    The document of a row is its id up to `#`: a tweet's twelve category rows are `ID#0` to `ID#11`.
    """
    if all(example.group >= 0 for example in examples):
        return list(examples)
    from etude.methods.conspemollm.near_duplicates import group_texts

    documents = [example.id.partition("#")[0] for example in examples]
    groups = group_texts([example.input for example in examples], documents)
    return [
        example.model_copy(update={"group": group}) for example, group in zip(examples, groups, strict=True)
    ]
