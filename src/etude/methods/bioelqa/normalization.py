"""How names and mentions are compared: lower case, no punctuation, single spaces (paper: preprocessing)."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_NOT_WORD = re.compile(r"[^\w\s]|_")
_SPACES = re.compile(r"\s+")


@lru_cache(maxsize=1 << 18)
def normalize(text: str) -> str:
    """The form in which two names are the same: `Heart-Attack,  acute` becomes `heart attack acute`.

    Letters of any script are kept; compatibility forms (full width, ligatures) are folded.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    return _SPACES.sub(" ", _NOT_WORD.sub(" ", folded)).strip()


@lru_cache(maxsize=1 << 18)
def trigrams(text: str) -> frozenset[str]:
    """Character trigrams of a normalized text, word by word with its edges marked."""
    padded = [f" {word} " for word in text.split()]
    return frozenset(word[i : i + 3] for word in padded for i in range(max(1, len(word) - 2)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Shared share of two sets, in [0, 1]; 0 for two empty ones."""
    union = len(first | second)
    return len(first & second) / union if union else 0.0
