"""Abbreviations defined in a document: `indinavir (IDV)` lets IDV be read as indinavir.

Schwartz & Hearst, "A simple algorithm for identifying abbreviation definitions in biomedical text", PSB 2003:
a short form in parentheses, the long form before it, matched letter by letter from right to left.
"""

from __future__ import annotations

import re

_PARENTHESES = re.compile(r"\(([^()]{2,})\)")
_MOST_SHORT_WORDS = 2
_MOST_SHORT_LETTERS = 10


def find_abbreviations(text: str) -> dict[str, str]:
    """Short form to long form, both as written; the first definition of a short form counts.

    Both orders are read: `long form (SF)` and `SF (long form)`.
    """
    found: dict[str, str] = {}
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n", text):
        for match in _PARENTHESES.finditer(sentence):
            inside = re.split(r"[;,]\s", match[1])[0].strip()
            before = sentence[: match.start()].rstrip()
            if _is_short_form(inside):
                short, long = inside, best_long_form(inside, _candidate(inside, before))
            else:
                words = before.split()
                if not words or not _is_short_form(words[-1]):
                    continue
                short, long = words[-1], best_long_form(words[-1], inside)
            if long and short not in found:
                found[short] = long
    return found


def best_long_form(short: str, candidate: str) -> str | None:
    """The shortest end of `candidate` whose letters spell `short`, its first letter starting a word."""
    at = len(candidate) - 1
    for index in range(len(short) - 1, -1, -1):
        letter = short[index].lower()
        if not letter.isalnum():
            continue
        while at >= 0 and (
            candidate[at].lower() != letter or (index == 0 and at > 0 and candidate[at - 1].isalnum())
        ):
            at -= 1
        if at < 0:
            return None
        at -= 1
    start = candidate.rfind(" ", 0, at + 1) + 1
    long = candidate[start:].strip()
    # section 2.3: no shorter than the short form, not holding it as a word, not too many words
    too_long = len(long.split()) > min(len(short) + 5, len(short) * 2)
    if len(long) <= len(short) or short in long.split() or too_long:
        return None
    return long


def expand(mention: str, abbreviations: dict[str, str]) -> str:
    """The mention with each of its words that is a short form written out; long forms stay as they are."""
    if mention in abbreviations:
        return abbreviations[mention]
    if any(mention.lower() in long.lower() for long in abbreviations.values()):
        return mention
    return re.sub(r"[^\s/()\[\],;]+", lambda found: abbreviations.get(found[0], found[0]), mention)


def _is_short_form(text: str) -> bool:
    return (
        2 <= len(text) <= _MOST_SHORT_LETTERS
        and len(text.split()) <= _MOST_SHORT_WORDS
        and text[0].isalnum()
        and any(character.isalpha() for character in text)
    )


def _candidate(short: str, before: str) -> str:
    """The words before the parenthesis that the long form can be among (section 2.2)."""
    return " ".join(before.split()[-min(len(short) + 5, len(short) * 2) :])
