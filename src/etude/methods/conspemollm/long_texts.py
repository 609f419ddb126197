"""Texts longer than a model reads: cut at a token, or split into chunks. Nothing but the text is ever cut."""

from __future__ import annotations

from typing import Any


def chunks(tokenizer: Any, text: str, tokens: int) -> list[str]:
    """A text in pieces of at most `tokens` tokens each; at least one piece, perhaps empty.

    Args:
        tokenizer: A fast tokenizer, which knows each token's characters.
        text: The text.
        tokens: Tokens of a piece, at least 1.
    """
    if tokens < 1:
        return [""]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
        "offset_mapping"
    ]
    if len(offsets) <= tokens:
        return [text]
    starts = [offsets[at][0] for at in range(0, len(offsets), tokens)]
    ends = [*starts[1:], len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def cut_text(tokenizer: Any, text: str, tokens: int) -> str:
    """The beginning of a text, at most `tokens` tokens of it."""
    return chunks(tokenizer, text, tokens)[0]
