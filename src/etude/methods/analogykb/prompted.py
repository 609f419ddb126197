"""Analogies put to a chat model: zero-shot or with demonstrations, by its answer or by log-probabilities."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from etude.methods.analogykb.analogy_questions import AnalogyQuestion, GenerationItem, as_text
from etude.methods.analogykb.text_to_text import LETTERS, generation_text
from etude.models import ChatModel, Conversation

_TASK = "Which pair of words has the same relation as the first pair? Answer with one letter."
_COMPLETE = "Complete the analogy with one term. Answer with the term alone."
_NAMED = re.compile(r"(?:answer|option|choice)\s*(?:is|:)?\s*\(?([A-Z])\)?(?![A-Za-z])", re.IGNORECASE)
_BARE = re.compile(r"^\W*([A-Z])(?:\W*$|[).:,]\s)")  # "A fish" begins with an article
_BRACKETED = re.compile(r"\(([A-Z])\)|\b([A-Z])\)")


def question_prompt(question: AnalogyQuestion, shown: Sequence[AnalogyQuestion] = ()) -> Conversation:
    """The question as a conversation; demonstrations are earlier turns.

    Args:
        question: To be answered.
        shown: Demonstrations.
    """
    turns: Conversation = [{"role": "system", "content": _TASK}]
    for one in shown:
        turns.append({"role": "user", "content": _asked(one)})
        turns.append({"role": "assistant", "content": LETTERS[one.answer]})
    turns.append({"role": "user", "content": _asked(question)})
    return turns


def item_prompt(item: GenerationItem, shown: Sequence[GenerationItem] = ()) -> Conversation:
    """A generation item as a conversation; demonstrations are earlier turns."""
    turns: Conversation = [{"role": "system", "content": _COMPLETE}]
    for one in shown:
        turns.append({"role": "user", "content": generation_text(one.stem, one.query)})
        turns.append({"role": "assistant", "content": one.accepted[0]})
    turns.append({"role": "user", "content": generation_text(item.stem, item.query)})
    return turns


def solved(one: AnalogyQuestion | GenerationItem) -> Conversation:
    """What a chat model is asked, and the right answer after it: a row to fine-tune on."""
    if isinstance(one, GenerationItem):
        return [*item_prompt(one), {"role": "assistant", "content": one.accepted[0]}]
    return [*question_prompt(one), {"role": "assistant", "content": LETTERS[one.answer]}]


def _asked(question: AnalogyQuestion) -> str:
    listed = "\n".join(f"({LETTERS[i]}) {as_text(pair)}" for i, pair in enumerate(question.choice))
    return f"{as_text(question.stem)} as:\n{listed}"


def read_letter(text: str, choices: int) -> int | None:
    """The place that an answer names, or None if it names none, several, or one that is not there."""
    stripped = text.strip()
    for pattern in (_NAMED, _BARE, _BRACKETED):
        found = {(m.group(1) or m.group(m.lastindex or 1)).upper() for m in pattern.finditer(stripped)}
        if len(found) > 1:
            return None
        if found:
            place = LETTERS.index(found.pop())
            return place if place < choices else None
    return None


def prompted_answers(
    chat: ChatModel, questions: Sequence[AnalogyQuestion], shown: Sequence[AnalogyQuestion], *, logprob: bool
) -> list[int | None]:
    """The place each question's answer names.

    Args:
        chat: The model.
        questions: To be answered.
        shown: Demonstrations before each.
        logprob: Take the letter of highest log-probability instead of an answer.
    """
    prompts = [question_prompt(question, shown) for question in questions]
    if logprob:
        options = [list(LETTERS[: len(question.choice)]) for question in questions]
        return [int(np.argmax(scores)) for scores in chat.score(prompts, options)]
    replies = chat.generate(prompts, max_tokens=16)
    return [
        None if reply.error else read_letter(reply.text, len(question.choice))
        for reply, question in zip(replies, questions, strict=True)
    ]


def generated_terms(
    chat: ChatModel, items: Sequence[GenerationItem], shown: Sequence[GenerationItem], k: int, seed: int
) -> list[list[str]]:
    """Up to k different terms for each item: the likeliest answer, then samples."""
    prompts = [item_prompt(item, shown) for item in items]
    found: list[list[str]] = [[] for _ in items]
    for draw in range(k):
        replies = chat.generate(
            prompts, max_tokens=16, temperature=0.0 if draw == 0 else 0.8, seed=seed + draw
        )
        for words, reply in zip(found, replies, strict=True):
            term = reply.text.strip().splitlines()[0].strip(" .\"'") if reply.text.strip() else ""
            if term and term not in words:
                words.append(term)
    return found
