"""Chat models as they are, without tuning: the zero- and few-shot baselines. An answer that names no class is
`invalid`, never class 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etude.errors import EtudeError
from etude.methods.conspemollm.examples import Example
from etude.methods.conspemollm.prompts import frame
from etude.methods.conspemollm.tasks import INVALID, ConspTask, short_name
from etude.models import ChatModel, Conversation

ANSWER_TOKENS = 48
_MOST_CHARACTERS = 12000


def conversation(statement: str, text: str, shots: Sequence[tuple[str, str]] = ()) -> Conversation:
    """One question to a chat model: the prompt of the detectors, without its speaker marks."""
    said = frame(statement, text[:_MOST_CHARACTERS], "", shots)
    return [{"role": "user", "content": said.removeprefix("Human:\n").partition("\n\nAssistant:")[0]}]


def ask(
    chat: ChatModel,
    task: ConspTask,
    statement: str,
    texts: Sequence[tuple[str, str]],
    shots: Sequence[tuple[str, str]] = (),
) -> list[dict[str, Any]]:
    """Ask a chat model for the class of texts.

    Args:
        chat: The model.
        task: The task.
        statement: Its statement.
        texts: (id, text) pairs.
        shots: Solved examples (text, answer).

    Returns:
        `id`, `label` (`invalid` where no class was named), `answer` as it was given, and `p_CLASS`, empty:
        free text has no probabilities.
    """
    full = [(name, text) for name, text in texts if text.strip()]
    replies = chat.generate(
        [conversation(statement, text, shots) for _, text in full], max_tokens=ANSWER_TOKENS, temperature=0.0
    )
    columns = [f"p_{short_name(label)}" for label in task.classes]
    found: dict[str, dict[str, Any]] = {}
    for (name, _), reply in zip(full, replies, strict=True):
        labels = task.read(reply.text) if reply.stop_reason in ("stop", "length") else None
        said = INVALID if labels is None else task.answer(labels)
        found[name] = {"label": said, "answer": reply.text[:400] or reply.error or ""}
    empty = {"label": INVALID, "answer": ""}
    return [{"id": name, **found.get(name, empty), **dict.fromkeys(columns)} for name, _ in texts]


def shots_from(examples: Sequence[Example], task: ConspTask, count: int) -> list[tuple[str, str]]:
    """The first examples of each class in turn, from the training split.

    Raises:
        EtudeError: There are not as many.
    """
    by_answer: dict[str, list[Example]] = {}
    for one in examples:
        if one.task == task.name and one.split == "train":
            by_answer.setdefault(one.output, []).append(one)
    chosen: list[Example] = []
    while len(chosen) < count and any(by_answer.values()):
        for answer in sorted(by_answer):
            if by_answer[answer] and len(chosen) < count:
                chosen.append(by_answer[answer].pop(0))
    if len(chosen) < count:
        raise EtudeError(
            f"{len(chosen)} training examples of {task.name} for {count} shots", "Lower --shots."
        )
    return [(one.input, task.answer(one.labels)) for one in chosen]
