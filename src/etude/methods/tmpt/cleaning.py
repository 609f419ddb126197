"""Cleaning of posts as in the released configuration: links, emoji, RT; hashtags and mentions split if
wanted.
"""

from __future__ import annotations

import re

_LINK = re.compile(r"https?://\S+|www\.\S+")
_RETWEET = re.compile(r"^\s*RT\s+@\w+:?\s*|\bRT\b")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\U00002600-\U000027bf\U0001f1e6-\U0001f1ff\u2b00-\u2bff\ufe0f\u200d\u20e3]+"
)
_TAG = re.compile(r"[#@](\w+)")
_WORDS = re.compile(r"[A-Z]{2,}(?=[A-Z][a-z]|\d|_|$)|[A-Z]?[a-z]+|[A-Z]+|\d+")
_SPACE = re.compile(r"\s+")


def clean_text(text: str, *, split_tags: bool = False) -> str:
    """A post's text as the encoder reads it.

    Args:
        text: As written.
        split_tags: Also cut `#BuildTheWall` and `@JoeBiden` into words.
    """
    text = _EMOJI.sub(" ", _RETWEET.sub(" ", _LINK.sub(" ", text)))
    if split_tags:
        text = _TAG.sub(lambda found: split_words(found.group(1)), text)
    return _SPACE.sub(" ", text).strip()


def split_words(tag: str) -> str:
    """The words of a tag in camel case: `BuildTheWall2020` becomes `Build The Wall 2020`."""
    return " ".join(_WORDS.findall(tag)) or tag
