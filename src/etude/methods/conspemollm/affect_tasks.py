"""Affect as instructions: what stage A is trained on, and what a chat model is asked as an annotator.

Names as in EmoLLMs (KDD 2024): EI-reg, EI-oc, V-reg, V-oc, E-c. Its training data (AAID) is not ours to
give. From EmoBank come V-reg and V-oc, and, our addition, A-reg and D-reg for arousal and dominance. A file
in AAID's layout (instruction, input, output) can be used as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.conspemollm.emobank import HIGH, LOW, EmoBank
from etude.methods.conspemollm.shuffling import other_rows
from etude.methods.conspemollm.wordings import wordings

EMOTIONS = ("anger", "fear", "joy", "sadness")
FEELINGS: tuple[str, ...] = tuple(wordings()["affect"]["E-c"]["classes"])
_RATED = (("V-reg", 0), ("V-oc", 0), ("A-reg", 1), ("D-reg", 2))


@dataclass(frozen=True)
class Instruction:
    """A statement, a text and the answer, of any task.

    Args:
        statement: What is asked.
        text: The text, which may be cut.
        answer: What shall be answered.
        affect: The line of affect values in the prompt (route `affect-prompt`), or empty.
    """

    statement: str
    text: str
    answer: str
    affect: str = ""


def statement_of(task: str, emotion: str = "") -> str:
    """The statement of an affect task."""
    found = wordings()["affect"][task]
    classes = ", ".join(found.get("classes", ())).format(emotion=emotion)
    return str(found["statement"]).format(emotion=emotion, classes=classes)


def unit(rating: float) -> float:
    """A rating from 1 to 5 on the scale from 0 to 1."""
    return (rating - LOW) / (HIGH - LOW)


def ordinal(rating: float) -> int:
    """A valence from 1 to 5 as one of seven classes, -3 to 3, of equal width."""
    return int(np.clip(np.floor(unit(rating) * 7), 0, 6)) - 3


def affect_instructions(
    sentences: EmoBank, tasks: Sequence[str] = ("V-reg", "V-oc", "A-reg", "D-reg")
) -> list[Instruction]:
    """Instructions from EmoBank: each sentence asks one of the tasks, in turn."""
    asked = [pair for pair in _RATED if pair[0] in tasks]
    made = []
    for row, text in enumerate(sentences.texts):
        task, column = asked[row % len(asked)]
        rating = float(sentences.ratings[row, column])
        answer = f"{unit(rating):.3f}"
        if task == "V-oc":
            answer = str(wordings()["affect"]["V-oc"]["classes"][ordinal(rating) + 3])
        made.append(Instruction(statement_of(task), text, answer))
    return made


class _AffectRow(BaseModel):
    instruction: str
    input: str = ""
    output: str


def read_affect_instructions(path: Path) -> list[Instruction]:
    """Affect instructions of the user's own, in AAID's layout; the text follows `Text:` or is the input.

    Raises:
        EtudeError: Bad rows, or none.
    """
    made = []
    for row in read_records(path, _AffectRow):
        statement, _, text = (
            row.instruction.partition("Text:") if not row.input.strip() else (row.instruction, "", row.input)
        )
        made.append(Instruction(statement.strip(), text.strip(), row.output.strip()))
    if not made:
        raise EtudeError(f"{path}: holds no affect example", "Each row has instruction, input and output.")
    return made


def shuffle_answers(instructions: Sequence[Instruction], seed: int) -> list[Instruction]:
    """The same examples with answers of other ones of the same task: the control of stage A."""
    by_statement: dict[str, list[int]] = {}
    for row, one in enumerate(instructions):
        by_statement.setdefault(one.statement, []).append(row)
    shuffled = list(instructions)
    for rows in by_statement.values():
        for row, other in zip(rows, other_rows(len(rows), seed), strict=True):
            answer = instructions[rows[other]].answer
            shuffled[row] = replace(instructions[row], answer=answer)
    return shuffled


def read_intensity(answer: str) -> float | None:
    """The first number of an answer, if it lies in [0, 1]."""
    found = re.search(r"-?\d+(?:\.\d+)?", answer)
    value = float(found.group()) if found else None
    return value if value is not None and 0 <= value <= 1 else None


def read_ordinal(answer: str, low: int, high: int) -> int | None:
    """The first whole number of an answer, if it lies in [low, high]."""
    found = re.search(r"-?\d+(?![.\d])", answer)
    value = int(found.group()) if found else None
    return value if value is not None and low <= value <= high else None


def read_feelings(answer: str) -> tuple[str, ...] | None:
    """The feelings an answer names; empty for none; None when it names nothing known."""
    words = set(re.findall(r"[a-z]+", answer.casefold()))
    named = tuple(feeling for feeling in FEELINGS if feeling in words)
    return named if named or words & {"none", "neutral", "no"} else None
