"""One item of an evaluation: what a model is shown, what is right, and what is known about the problem."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from etude.errors import EtudeError
from etude.methods.geoeval.equivalence import Kind, check_answer, option_index, option_text
from etude.methods.geoeval.problems import Problem
from etude.runs import content_hash

_MOST_NAMED = 20


class Item(BaseModel):
    """A problem as it is put to a model.

    Args:
        id: Unique among the items of a run.
        subset: `main`, `backward`, `aug`, `hard`, or a name of the user's.
        source: The data set it comes from.
        question: Its text.
        facts: What its diagram shows, in words; may be empty.
        image: Its diagram, if there is a picture.
        options: The choices, labels included; empty for an open question.
        gold: The right answer: a value, or the letter of an option.
        kind: How `gold` compares, see `check_answer`.
        steps: Theorem steps of a known solution; None if unknown.
        solution_length: Words of a known solution; None if unknown.
        parent_id: The problem a built one was made from.
        problem: The problem with its facts, for solvers that read them.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    subset: str = "main"
    source: str = ""
    question: str
    facts: tuple[str, ...] = ()
    image: Path | None = None
    options: tuple[str, ...] = ()
    gold: str
    kind: Kind = "auto"
    steps: int | None = None
    solution_length: int | None = None
    parent_id: str | None = None
    problem: Problem | None = Field(default=None, repr=False)

    @property
    def length(self) -> int:
        """Words of the question."""
        return len(self.question.split())

    @property
    def has_diagram(self) -> bool:
        """Whether part of what is given stands in a diagram, drawn or described."""
        return self.image is not None or bool(self.facts)

    @property
    def letter(self) -> str | None:
        """The letter of the right option."""
        index = option_index(self.gold, self.options) if self.options else None
        return None if index is None else chr(65 + index)


def checked_items(items: Iterable[Item], path: Path | str) -> list[Item]:
    """The items, if all of them can be put and scored.

    Raises:
        EtudeError: Up to 20 of: no question, no answer, an id that is there twice, fewer than two different
            choices, no choice that is the answer, a letter as answer without choices.
    """
    kept: list[Item] = []
    bad: list[str] = []
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            bad.append(f"{path}: {item.id}: this id is there twice")
        seen.add(item.id)
        bad += [f"{path}: {item.id}: {fault}" for fault in _faults(item)]
        kept.append(item)
    if bad:
        more = f"\n… and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else ""
        raise EtudeError("\n".join(bad[:_MOST_NAMED]) + more, "Mend these problems, or leave them out.")
    if not kept:
        raise EtudeError(f"{path}: no problems to put", "Check the path, --format and --subset.")
    return kept


def _faults(item: Item) -> Iterable[str]:
    if not item.question.strip():
        yield "question: empty"
    if not item.gold.strip():
        yield "answer: empty"
        return
    if item.options:
        if len({option_text(option).casefold() for option in item.options}) < 2:
            yield f"options: fewer than two different choices ({', '.join(item.options)[:80]})"
        elif option_index(item.gold, item.options) is None and not _some_option_is(item):
            yield f"options: none of them is the answer {item.gold!r}"
        return
    if not item.options and is_option_letter(item.gold):
        yield f"answer: {item.gold!r} is a letter, and there are no choices"


def is_option_letter(text: str) -> bool:
    """Whether an answer is a lone capital letter, as `B` or `(B)`."""
    letter = text.strip("(). ")
    return len(letter) == 1 and "A" <= letter <= "Z"


def _some_option_is(item: Item) -> bool:
    return any(check_answer(option_text(option), item.gold, "rounded").correct for option in item.options)


def refuse_changed_parents(problems: Sequence[Problem]) -> None:
    """Refuse built problems whose parent has changed since.

    Raises:
        EtudeError: With the ids; parents that are not among the problems cannot be compared.
    """
    here = {problem.problem_id: problem for problem in problems}
    changed = [
        f"{child.problem_id} (from {child.parent_id})"
        for child in problems
        if child.parent_id in here
        and child.parent_hash
        and here[child.parent_id].content != child.parent_hash
    ]
    if changed:
        raise EtudeError(
            f"the parents of {', '.join(changed[:_MOST_NAMED])} have changed since these were built",
            "Build them again: etude geoeval build backward (or aug).",
        )


def duplicates(items: Sequence[Item]) -> list[tuple[str, str]]:
    """Pairs of items that put the same question about the same diagram: published sources overlap.

    Items without facts and without a picture are compared by their questions alone if these are longer than
    ten words (many say only "Find x.").
    """
    first: dict[str, str] = {}
    found = []
    for item in items:
        key = _fingerprint(item)
        if key is not None and first.setdefault(key, item.id) != item.id:
            found.append((first[key], item.id))
    return found


def _fingerprint(item: Item) -> str | None:
    if not item.has_diagram and item.length <= 10:
        return None
    picture = ""
    if not item.facts and item.image is not None and item.image.is_file():
        picture = hashlib.sha256(item.image.read_bytes()).hexdigest()
    what: list[Any] = [" ".join(item.question.casefold().split()), sorted(item.facts), picture]
    return content_hash([*what, [option_text(option) for option in item.options]])


def read_picture(item: Item) -> bytes:
    """The bytes of an item's diagram.

    Raises:
        EtudeError: The file is missing or is no picture that can be read.
    """
    from PIL import Image, UnidentifiedImageError

    assert item.image is not None
    try:
        with Image.open(item.image) as picture:
            picture.verify()
        return item.image.read_bytes()
    except FileNotFoundError as error:
        raise EtudeError(
            f"{item.image}: no such picture (problem {item.id})", "Check the image column and its folder."
        ) from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise EtudeError(
            f"{item.image}: not a picture that can be read ({error}; problem {item.id})"[:400],
            "Save it again as PNG or JPEG, or leave the problem out.",
        ) from error
