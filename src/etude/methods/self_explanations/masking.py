"""Words of a text: masking them, drawing random ones, and how far an edited text is from the original."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True)
class Masked:
    """A text with masked words.

    Args:
        text: The text.
        masked: How many words of the original are masked.
        words: How many words the original has (masks that were there before do not count).
    """

    text: str
    masked: int
    words: int

    @property
    def share(self) -> float:
        """Share of the words that are masked."""
        return self.masked / self.words if self.words else 0.0


def word_spans(text: str, mask: str = "") -> list[tuple[int, int]]:
    """Start and end of each word, leaving out the word inside a mask token."""
    held = [match.span() for match in re.finditer(re.escape(mask), text, re.IGNORECASE)] if mask else []
    return [
        match.span()
        for match in WORD.finditer(text)
        if not any(start <= match.start() < end for start, end in held)
    ]


def mask_listed(text: str, listed: Collection[str], mask: str) -> Masked:
    """Mask every occurrence of the listed words: whole words, whatever their case, the longest entry first.

    An entry of several words masks them together; what is masked already stays. An empty list masks nothing.

    Args:
        text: The original.
        listed: Words or phrases.
        mask: The mask token.
    """
    spans = word_spans(text, mask)
    entries = sorted({entry.strip() for entry in listed if re.search(r"\w", entry)}, key=len, reverse=True)
    if not entries:
        return Masked(text, 0, len(spans))
    pattern = re.compile("|".join([re.escape(mask), *map(_whole, entries)]), re.IGNORECASE)
    covered: list[tuple[int, int]] = []

    def replace(match: re.Match[str]) -> str:
        if match[0].lower() == mask.lower():
            return match[0]
        covered.append(match.span())
        return mask

    masked = pattern.sub(replace, text)
    hit = sum(any(a < end and start < b for a, b in covered) for start, end in spans)
    return Masked(masked, hit, len(spans))


def mask_random(text: str, count: int, mask: str, generator: np.random.Generator) -> Masked:
    """Mask `count` words at random places, all places being equally likely.

    Args:
        text: The original.
        count: How many words; at most all.
        mask: The mask token.
        generator: Where the places come from.
    """
    spans = word_spans(text, mask)
    chosen = generator.permutation(len(spans))[:count]
    return Masked(mask_places(text, [spans[i] for i in chosen], mask), min(count, len(spans)), len(spans))


def mask_places(text: str, spans: Sequence[tuple[int, int]], mask: str) -> str:
    """Put the mask in place of each span."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start] + mask + text[end:]
    return text


def count_masks(text: str, mask: str) -> int:
    """How many mask tokens a text holds, whatever their case."""
    return len(re.findall(re.escape(mask), text, re.IGNORECASE))


def keeps_the_rest(original: str, redacted: str, mask: str) -> bool:
    """Whether the unmasked words of a redaction are a subsequence of the original's, in order and
    unaltered.
    """
    words = iter(_lowered(original, mask))
    return all(any(word == other for other in words) for word in _lowered(redacted, mask))


def edit_ratio(original: str, edited: str) -> float:
    """Word-level Levenshtein distance divided by the original's number of words; case does not count."""
    a, b = _lowered(original), _lowered(edited)
    if not a:
        return float(bool(b))
    ids = {word: i for i, word in enumerate({*a, *b})}
    columns = np.array([ids[word] for word in b], dtype=np.int64)
    steps = np.arange(len(b) + 1)
    row = steps.copy()  # distances of the words so far to each beginning of b
    for number, word in enumerate(a, start=1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (columns != ids[word]))
        best = np.concatenate([[number], changed])
        row = np.minimum.accumulate(best - steps) + steps  # inserting costs one a column
    return float(row[-1]) / len(a)


def _lowered(text: str, mask: str = "") -> list[str]:
    return [text[start:end].lower().replace("’", "'") for start, end in word_spans(text, mask)]


def _whole(entry: str) -> str:
    """A pattern of the entry that does not match inside a word; a side that is no word character is free."""
    body = r"\s+".join(re.escape(part) for part in entry.split())
    body = re.sub(r"['’]", "['’]", body)
    left = r"(?<!\w)" if re.match(r"\w", entry) else ""
    right = r"(?!\w)" if re.search(r"\w\Z", entry) else ""
    return f"{left}{body}{right}"
