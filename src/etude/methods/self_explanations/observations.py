"""What is asked about: one record per row of a user's file, checked before anything is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, create_model, model_validator

from etude.errors import EtudeError

UNKNOWN = "unknown"
"""The answer of a model that cannot tell; an option of every task."""
MOST_CHOICES = 25
"""Options are named by letters, and one letter is left for `unknown`."""


@dataclass(frozen=True)
class Observation:
    """One text with its gold label.

    Args:
        id: Names it; unique in a data set.
        text: The paragraph that is classified, masked and edited.
        label: The right answer, one of the task's options.
        question: What is asked about the text, for multiple choice.
        choices: The options, for multiple choice.
        hypothesis: What may follow from the text, for entailment.
    """

    id: str
    text: str
    label: str
    question: str = ""
    choices: tuple[str, ...] = ()
    hypothesis: str = ""


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Filled = Annotated[str, AfterValidator(_filled)]


class _Row(BaseModel):
    """Every row has an id; a number counts as its text."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: Filled

    def observation(self) -> Observation:
        """The row as an observation."""
        values = self.model_dump()
        values["text"] = values.pop("paragraph", None) or values.get("text")
        return Observation(**{**values, "choices": tuple(values.get("choices", ()))})


class ChoiceRow(_Row):
    """Multiple choice: id, paragraph, question, choices, label."""

    paragraph: Filled
    question: Filled
    choices: list[Filled]
    label: str

    @model_validator(mode="after")
    def _choices_can_be_told_apart(self) -> ChoiceRow:
        lowered = [choice.strip().lower() for choice in self.choices]
        if not 2 <= len(self.choices) <= MOST_CHOICES:
            raise ValueError(
                f"choices: {len(self.choices)} of them; 2 to {MOST_CHOICES} can be named by letters"
            )
        if len(set(lowered)) < len(lowered):
            raise ValueError("choices: two of them are the same")
        if UNKNOWN in lowered:
            raise ValueError(f"choices: {UNKNOWN!r} is the answer of a model that cannot tell; drop it")
        if self.label not in self.choices:
            raise ValueError(f"label {self.label!r} is none of the choices")
        return self


def labeled_row(labels: tuple[str, ...]) -> type[_Row]:
    """The row of a task with a fixed set of labels: id, text, label."""
    return _with_label("TextRow", labels, text=(Filled, ...))


def entailment_row() -> type[_Row]:
    """The row of an entailment task: id, paragraph, hypothesis, label."""
    return _with_label("EntailmentRow", ("yes", "no"), paragraph=(Filled, ...), hypothesis=(Filled, ...))


def _with_label(name: str, labels: tuple[str, ...], **fields: Any) -> type[_Row]:
    def one_of(label: str) -> str:
        if label not in labels:
            raise ValueError(f"label {label!r} is not in the option set {', '.join(labels)}")
        return label

    return create_model(name, __base__=_Row, **fields, label=(Annotated[str, AfterValidator(one_of)], ...))


def distinct(observations: Iterable[Observation], source: str) -> list[Observation]:
    """The observations, if there are any and no two share an id.

    Raises:
        EtudeError: There are none, or an id stands twice.
    """
    found: dict[str, int] = {}
    kept = []
    for number, observation in enumerate(observations, start=1):
        if observation.id in found:
            raise EtudeError(
                f"{source}: id {observation.id!r} stands in rows {found[observation.id]} and {number}",
                "Give every row an id of its own.",
            )
        found[observation.id] = number
        kept.append(observation)
    if not kept:
        raise EtudeError(f"{source}: no rows", "Give at least one row.")
    return kept
