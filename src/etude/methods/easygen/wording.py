"""How a conversation with pictures is put before a language model, and which tokens are to be learned.

A picture stands between `<Img>` and `</Img>` as soft tokens. A model's own chat template is used; one without
gets the paper's `USER: ... ASSISTANT: ...`. Labels are -100 on everything but the assistant's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etude.errors import EtudeError
from etude.methods.easygen.dialog import CLOSE, OPEN
from etude.models.templates import templated

PICTURE = "\ue000"
"""Stands for a picture's soft tokens in a text; it occurs in no one's writing (a private-use character)."""

IGNORED = -100
DESCRIBE = "Describe the picture."


@dataclass(frozen=True)
class Turn:
    """One message.

    Attributes:
        role: `system`, `user` or `assistant`.
        text: What is said; `PICTURE` where a picture stands.
    """

    role: str
    text: str


@dataclass(frozen=True)
class Prompt:
    """A conversation as tokens.

    Attributes:
        ids: Token ids; 0 where a picture's soft tokens go.
        labels: The ids to learn, -100 elsewhere.
        soft: Whether a position is a picture's.
        pictures: How many pictures it has.
    """

    ids: list[int]
    labels: list[int]
    soft: list[bool]
    pictures: int


def with_picture(text: str) -> str:
    """A picture, then a text."""
    return f"{OPEN}{PICTURE}{CLOSE} {text}".strip()


def plain_words(text: str) -> str:
    """A user's or data's text, which cannot smuggle in a picture."""
    return text.replace(PICTURE, "")


def has_template(tokenizer: Any) -> bool:
    """Whether the model has a chat template of its own."""
    return bool(getattr(tokenizer, "chat_template", None))


def render(turns: Sequence[Turn], tokenizer: Any, *, ask: bool) -> str:
    """A conversation as text; with `ask`, up to where the assistant's answer begins."""
    if has_template(tokenizer):
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        return templated(tokenizer, messages, ask=ask)
    names = {"system": "", "user": "USER: ", "assistant": "ASSISTANT: "}
    end = tokenizer.eos_token or ""
    said = [names[t.role] + t.text + (end if t.role == "assistant" else "") for t in turns]
    return (tokenizer.bos_token or "") + " ".join([*said, *(["ASSISTANT:"] if ask else [])])


def segments(turns: Sequence[Turn], tokenizer: Any) -> list[tuple[str, bool]]:
    """The rendered conversation in pieces, each with whether it is the assistant's to learn.

    Raises:
        EtudeError: The chat template changes earlier turns when later ones come.
    """
    found: list[tuple[str, bool]] = []
    done = ""
    for number, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        asked = render(turns[:number], tokenizer, ask=True)
        whole = render(turns[: number + 1], tokenizer, ask=False)
        if not (asked.startswith(done) and whole.startswith(asked.rstrip())):
            raise EtudeError(
                "the model's chat template rewrites earlier turns when later ones come",
                "Give each dialog as one question and one answer, or another model.",
            )
        asked = asked if whole.startswith(asked) else asked.rstrip()
        found += [(asked[len(done) :], False), (whole[len(asked) :], True)]
        done = whole
    if turns and turns[-1].role != "assistant":
        found.append((render(turns, tokenizer, ask=True)[len(done) :], False))
    return found


def tokenize(turns: Sequence[Turn], tokenizer: Any, soft_tokens: int) -> Prompt:
    """A conversation as token ids, with room for `soft_tokens` at each picture."""
    ids: list[int] = []
    labels: list[int] = []
    soft: list[bool] = []
    pictures = 0
    for text, learned in segments(turns, tokenizer):
        for number, piece in enumerate(text.split(PICTURE)):
            if number:
                pictures += 1
                ids += [0] * soft_tokens
                labels += [IGNORED] * soft_tokens
                soft += [True] * soft_tokens
            tokens = tokenizer(piece, add_special_tokens=False)["input_ids"] if piece else []
            ids += tokens
            labels += tokens if learned else [IGNORED] * len(tokens)
            soft += [False] * len(tokens)
    return Prompt(ids, labels, soft, pictures)
