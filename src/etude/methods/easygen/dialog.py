"""The dialog protocol: a reply is text with descriptions of pictures between `<Img>` and `</Img>`.

A description becomes a picture; what cannot be one (no end, one inside another, empty, more than the limit)
stays text, with a note that says why. The picture is made from the description alone, never from the
conversation's pictures: who is on them is not preserved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

OPEN, CLOSE = "<Img>", "</Img>"
_MARK = re.compile(r"<\s*(/?)\s*img\s*>", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """A parsed reply.

    Attributes:
        parts: `{"type": "text", "text": ...}` and `{"type": "image", "prompt": ...}`, in order.
        notes: What was wrong with it.
    """

    parts: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = ()

    @property
    def prompts(self) -> list[str]:
        """Descriptions of its pictures."""
        return [part["prompt"] for part in self.parts if part["type"] == "image"]


def parse_reply(text: str, *, limit: int = 4) -> Reply:
    """Split a model's reply into texts and descriptions.

    Args:
        text: The reply.
        limit: The most pictures; the descriptions of further ones stay text.
    """
    parts: list[dict[str, Any]] = []
    notes: list[str] = []
    pictures = at = 0
    opened: int | None = None  # where a description begins
    for mark in _MARK.finditer(text):
        closes = bool(mark.group(1))
        if opened is None:
            _add_text(parts, text[at : mark.start()])
            at = mark.end()
            if closes:
                notes.append(f"{CLOSE} without {OPEN} was left out")
            else:
                opened = mark.end()
        elif not closes:
            notes.append(f"{OPEN} inside {OPEN}: the outer one is kept as text")
            _add_text(parts, text[opened : mark.start()])
            at = opened = mark.end()
        else:
            prompt = " ".join(text[opened : mark.start()].split())
            at, opened = mark.end(), None
            if not prompt:
                notes.append("an empty description was left out")
            elif pictures >= limit:
                notes.append(f"more than {limit} pictures: {prompt!r} is kept as text")
                _add_text(parts, prompt)
            else:
                pictures += 1
                parts.append({"type": "image", "prompt": prompt})
    if opened is not None:
        notes.append(f"{OPEN} without {CLOSE}: the description is kept as text")
    _add_text(parts, text[at:])
    return Reply(tuple(parts), tuple(notes))


def _add_text(parts: list[dict[str, Any]], text: str) -> None:
    text = text.strip()
    if not text:
        return
    if parts and parts[-1]["type"] == "text":
        parts[-1] = {"type": "text", "text": f"{parts[-1]['text']} {text}"}
    else:
        parts.append({"type": "text", "text": text})
