"""Texts as they come from the web: HTML remnants, control characters, empty or foreign ones; all counted."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|<!--.*?-->", re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-fA-F]{1,5}|[a-zA-Z]{2,10});")
_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH_WORDS = (
    "the of and to a in is that it was for on are with as be this have from or had by not but what all were "
    "we when your can said there use an each which do how if will up about out them then so some these would "
    "into has more no they you he she his her their our my i me us who why did been than its just"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_LEAST_WORDS = 12  # shorter texts say too little about their language


def clean(text: str, counts: Counter[str]) -> str:
    """A text without tags, entities and control characters; what was mended is counted.

    Args:
        text: As it came.
        counts: Gets `html`, `control characters`, `empty`, `not English` for each text that has them.
    """
    mended = html.unescape(_TAG.sub(" ", text)) if _TAG.search(text) or _ENTITY.search(text) else text
    counts["html"] += mended != text
    kept = "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs", "Co", "Cn")
        else " "
        for character in mended
    )
    counts["control characters"] += kept != mended
    kept = re.sub(r"[^\S\n]+", " ", kept).strip()
    counts["empty"] += not kept
    counts["not English"] += looks_foreign(kept)
    return kept


def looks_foreign(text: str) -> bool:
    """Whether a text is probably not English: hardly any of its words are English function words."""
    words = [word.casefold() for word in _WORD.findall(text)][:400]
    if len(words) < _LEAST_WORDS:
        letters = [character for character in text if character.isalpha()]
        return bool(letters) and sum(character > "\u024f" for character in letters) > len(letters) / 2
    return sum(word in _ENGLISH for word in words) < 0.08 * len(words)
