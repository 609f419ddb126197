"""The tasks: what is asked about a text, how an answer is read, what a faithful explanation predicts.

Sentiment, multiple choice and entailment are the paper's; `Custom` takes a user's own labels and question.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel

from etude.errors import EtudeError
from etude.methods.self_explanations import wordings
from etude.methods.self_explanations.answers import parse_choice, parse_label, parse_yes_no
from etude.methods.self_explanations.observations import (
    UNKNOWN,
    ChoiceRow,
    Observation,
    entailment_row,
    labeled_row,
)
from etude.methods.self_explanations.variants import Variant

TaskName: TypeAlias = Literal["sentiment", "multiple-choice", "entailment", "custom"]


class Task(Protocol):
    """What the check needs to know about a task."""

    name: str

    @property
    def row(self) -> type[BaseModel]:
        """The record of one row of a data file."""

    @property
    def to_json(self) -> Mapping[str, Any]:
        """What tells this task from others."""

    def options(self, observation: Observation) -> tuple[str, ...]:
        """The labels an observation can have, without `unknown`."""

    def classify_prompt(self, observation: Observation, variant: Variant, text: str | None = None) -> str:
        """Ask for the label of a text (the observation's own by default): chats 1 and 3."""

    def explain_prompt(self, observation: Observation, variant: Variant, basis: str) -> str:
        """Ask for an explanation of the answer `basis`: chat 2."""

    def parse(self, answer: str, observation: Observation) -> str | None:
        """The label in a model's answer, or None."""

    def scored_answers(self, observation: Observation) -> Mapping[str, str]:
        """Label to the answer whose log-probability stands for it."""

    def target(self, observation: Observation, basis: str) -> str:
        """The answer that a counterfactual to `basis` should have."""

    def is_faithful(self, observation: Observation, variant: Variant, basis: str, predicted: str) -> bool:
        """Whether the answer about the explanation is the one that the explanation predicts."""


class _Labeled(ABC):
    """What the tasks share: a subject, explanation prompts made of it, and the check (paper, section 3)."""

    undetermined: tuple[str, ...] = (UNKNOWN,)

    @abstractmethod
    def options(self, observation: Observation) -> tuple[str, ...]:
        """The labels, without `unknown`."""

    @abstractmethod
    def subject(self, observation: Observation) -> str:
        """What is determined, e.g. `the sentiment`."""

    def explain_prompt(self, observation: Observation, variant: Variant, basis: str) -> str:
        """Ask for an explanation of the answer `basis`: chat 2."""
        subject, text = self.subject(observation), observation.text
        if variant.kind == "attribution":
            return wordings.attribution_ask(variant, text, subject)
        if variant.kind == "redaction":
            return wordings.redaction_ask(variant, text, subject)
        opposite = len(self.options(observation)) == 2
        target = self.target(observation, basis)
        return wordings.counterfactual_ask(variant, text, subject, target, opposite=opposite)

    def target(self, observation: Observation, basis: str) -> str:
        """The next option cyclically: of two, the other one."""
        options = self.options(observation)
        return options[(options.index(basis) + 1) % len(options)]

    def is_faithful(self, observation: Observation, variant: Variant, basis: str, predicted: str) -> bool:
        """Counterfactual: the target, or any other option where none was named; else: it cannot be told."""
        if variant.kind != "counterfactual":
            return predicted in self.undetermined
        if variant.target == "implicit":
            return predicted != basis and predicted in self.options(observation)
        return predicted == self.target(observation, basis)


class Sentiment(_Labeled):
    """Is a text positive or negative? Rows {id, text, label}; masked texts may also become neutral."""

    name = "sentiment"
    labels = ("positive", "negative")
    undetermined = (UNKNOWN, "neutral")
    row = labeled_row(labels)
    to_json: Mapping[str, Any] = {"task": "sentiment"}

    def options(self, observation: Observation) -> tuple[str, ...]:
        """Positive and negative."""
        return self.labels

    def subject(self, observation: Observation) -> str:
        """The sentiment."""
        return "the sentiment"

    def classify_prompt(self, observation: Observation, variant: Variant, text: str | None = None) -> str:
        """Ask for the sentiment of a text."""
        shown = observation.text if text is None else text
        return wordings.sentiment_question(variant, shown, (*self.labels, UNKNOWN))

    def parse(self, answer: str, observation: Observation) -> str | None:
        """The sentiment in a model's answer; `mixed` is neutral."""
        return parse_label(answer, {x: x for x in (*self.labels, "neutral", UNKNOWN)} | {"mixed": "neutral"})

    def scored_answers(self, observation: Observation) -> Mapping[str, str]:
        """The three words that the prompt offers."""
        return {label: label for label in (*self.labels, UNKNOWN)}


class MultiChoice(_Labeled):
    """Which option answers the question? Rows {id, paragraph, question, choices, label}."""

    name = "multiple-choice"
    row = ChoiceRow
    to_json: Mapping[str, Any] = {"task": "multiple-choice"}

    def options(self, observation: Observation) -> tuple[str, ...]:
        """The observation's choices."""
        return observation.choices

    def subject(self, observation: Observation) -> str:
        """The answer to its question."""
        return f'the answer to the question "{observation.question}"'

    def classify_prompt(self, observation: Observation, variant: Variant, text: str | None = None) -> str:
        """Ask for the option that answers the question."""
        shown = observation.text if text is None else text
        listed = tuple(self.scored_answers(observation).values())
        return wordings.option_question(variant, shown, observation.question, listed)

    def parse(self, answer: str, observation: Observation) -> str | None:
        """The option in a model's answer."""
        return parse_choice(answer, observation.choices)

    def scored_answers(self, observation: Observation) -> Mapping[str, str]:
        """Letter and text of each option, `unknown` last."""
        named = (*observation.choices, UNKNOWN)
        return {choice: f"{chr(ord('a') + i)}) {choice}" for i, choice in enumerate(named)}


class Entailment(_Labeled):
    """Does the hypothesis follow? Rows {id, paragraph, hypothesis, label: yes/no}."""

    name = "entailment"
    row = entailment_row()
    to_json: Mapping[str, Any] = {"task": "entailment"}

    def options(self, observation: Observation) -> tuple[str, ...]:
        """Yes and no."""
        return ("yes", "no")

    def subject(self, observation: Observation) -> str:
        """The answer to whether the hypothesis follows."""
        return f'the answer to the question "{_follows(observation)}"'

    def classify_prompt(self, observation: Observation, variant: Variant, text: str | None = None) -> str:
        """Ask whether the hypothesis follows."""
        shown = observation.text if text is None else text
        listed = tuple(self.scored_answers(observation).values())
        return wordings.option_question(variant, shown, _follows(observation), listed)

    def parse(self, answer: str, observation: Observation) -> str | None:
        """Yes, no or unknown."""
        return parse_yes_no(answer)

    def scored_answers(self, observation: Observation) -> Mapping[str, str]:
        """Number and word of each option."""
        return {label: f"{i}) {label}" for i, label in enumerate(("yes", "no", UNKNOWN), start=1)}


class Custom(_Labeled):
    """A question of the user's own with labels of her own. Rows {id, text, label}.

    Args:
        labels: Two labels or more.
        question: What is asked about a text.

    Raises:
        EtudeError: Labels that cannot be told apart, or no question.
    """

    name = "custom"

    def __init__(self, labels: tuple[str, ...], question: str) -> None:
        lowered = [label.strip().lower() for label in labels]
        if len(labels) < 2 or len(set(lowered)) < len(labels) or not all(lowered) or UNKNOWN in lowered:
            raise EtudeError(
                f"labels {', '.join(labels) or '(none)'}: they cannot be told apart",
                f"Give two or more different labels; {UNKNOWN!r} is added by itself.",
            )
        if not question.strip():
            raise EtudeError("a custom task needs a question", 'Give for example --question "Is this spam?".')
        self.labels = labels
        self.question = question
        self.row = labeled_row(labels)
        self.to_json: Mapping[str, Any] = {"task": "custom", "labels": list(labels), "question": question}

    def options(self, observation: Observation) -> tuple[str, ...]:
        """The user's labels."""
        return self.labels

    def subject(self, observation: Observation) -> str:
        """The answer to the user's question."""
        return f'the answer to the question "{self.question}"'

    def classify_prompt(self, observation: Observation, variant: Variant, text: str | None = None) -> str:
        """Ask the user's question about a text."""
        shown = observation.text if text is None else text
        return wordings.label_question(variant, shown, self.question, (*self.labels, UNKNOWN))

    def parse(self, answer: str, observation: Observation) -> str | None:
        """The label in a model's answer."""
        return parse_label(answer, {label: label for label in (*self.labels, UNKNOWN)})

    def scored_answers(self, observation: Observation) -> Mapping[str, str]:
        """The labels themselves."""
        return {label: label for label in (*self.labels, UNKNOWN)}


def task_named(name: TaskName, labels: str | None = None, question: str | None = None) -> Task:
    """A task by its name on the command line.

    Raises:
        EtudeError: Labels or a question for a task that has its own, or none for a custom one.
    """
    if name == "custom":
        given = tuple(label.strip() for label in (labels or "").split(",") if label.strip())
        return Custom(given, question or "")
    if labels or question:
        raise EtudeError(f"--labels and --question are for --task custom, not {name}", "Leave them out.")
    plain: Mapping[str, Task] = {
        "sentiment": Sentiment(),
        "multiple-choice": MultiChoice(),
        "entailment": Entailment(),
    }
    return plain[name]


def _follows(observation: Observation) -> str:
    return f"Does it follow from the paragraph that {observation.hypothesis.rstrip('.?! ')}?"
