"""Affect by a chat model: seven short questions for each text, answered once and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from etude.methods.conspemollm.affect_tasks import (
    EMOTIONS,
    FEELINGS,
    read_feelings,
    read_intensity,
    read_ordinal,
    statement_of,
)
from etude.methods.conspemollm.wordings import wordings
from etude.models import ChatModel, Conversation

LLM_COLUMNS = (*EMOTIONS, "valence_unit", "valence_class", *(f"feels_{feeling}" for feeling in FEELINGS))
_MOST_CHARACTERS = 6000
_ANSWER_TOKENS = 32


def llm_affect(chat: ChatModel, texts: Sequence[str], counts: Counter[str]) -> list[dict[str, float | None]]:
    """Ask a chat model for the affect of texts.

    Args:
        chat: EmoLLaMA, or any other chat model.
        texts: The texts; very long ones are cut.
        counts: Gets `unread answers` and `failed answers`; these cells stay empty, never zero.

    Returns:
        `LLM_COLUMNS` for each text.
    """
    questions: list[tuple[str, Callable[[str], dict[str, float | None]]]] = [
        (statement_of("EI-reg", emotion), _reader(emotion)) for emotion in EMOTIONS
    ]
    questions += [
        (statement_of("V-reg"), _reader("valence_unit")),
        (statement_of("V-oc"), lambda said: {"valence_class": read_ordinal(said, -3, 3)}),
        (statement_of("E-c"), _feelings),
    ]
    frame = str(wordings()["frame"]["prompt"]).partition("Human:\n")[2].partition("\n\nAssistant:")[0]
    conversations: list[Conversation] = [
        [{"role": "user", "content": frame.format(statement=statement, text=text[:_MOST_CHARACTERS])}]
        for text in texts
        for statement, _ in questions
    ]
    replies = iter(chat.generate(conversations, max_tokens=_ANSWER_TOKENS, temperature=0.0))
    rows: list[dict[str, float | None]] = []
    for _ in texts:
        row: dict[str, float | None] = dict.fromkeys(LLM_COLUMNS)
        for _, read in questions:
            reply = next(replies)
            found = read(reply.text) if reply.stop_reason in ("stop", "length") else {}
            counts["failed answers"] += reply.stop_reason not in ("stop", "length")
            counts["unread answers"] += bool(found) and None in found.values()
            row |= found
        rows.append(row)
    return rows


def _reader(column: str) -> Callable[[str], dict[str, float | None]]:
    return lambda said: {column: read_intensity(said)}


def _feelings(said: str) -> dict[str, Any]:
    named = read_feelings(said)
    return {f"feels_{one}": None if named is None else float(one in named) for one in FEELINGS}
