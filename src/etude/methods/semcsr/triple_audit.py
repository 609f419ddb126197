"""What is wrong with written triples, in figures: copies, bare negations, lengths, duplicates, scores."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from etude.methods.semcsr.sentences import normalized
from etude.methods.semcsr.triples import Triple

COPY = 0.9
"""Normalized edit similarity above which a sentence counts as a copy."""
BINS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)

_NEGATIONS = frozenset(
    {"not", "no", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "without", "cannot"}
)
_AUXILIARIES = "do does did is are was were be being been has have had will would can could"
_DETERMINERS = "a an the any some"
_SKIPPED = _NEGATIONS | frozenset(f"{_AUXILIARIES} {_DETERMINERS}".split())


@dataclass(frozen=True)
class Audit:
    """The figures of a set of triples; shares are of the written ones.

    Args:
        rows: Triples and pairs that were written (status `ok`).
        failed: Rows with another status.
        positive_copies: Share of positives that repeat the sentence (edit similarity above 0.9).
        negative_copies: Share of hard negatives that do.
        negations: Share of hard negatives that hold more negations than the sentence.
        bare_negations: Share of hard negatives that differ by a negation alone.
        positive_length: Words of the positive over words of the sentence, mean.
        negative_length: The same of the hard negative.
        duplicate_anchors: Sentences that come more than once.
        duplicate_positives: Positives that come more than once.
        swapped: Share of scored triples whose negative scores above the positive.
        positive_histogram: Positive scores in [0,1), [1,2), [2,3), [3,4), [4,5].
        negative_histogram: The same of the negatives.
    """

    rows: int
    failed: int
    positive_copies: float
    negative_copies: float
    negations: float
    bare_negations: float
    positive_length: float
    negative_length: float
    duplicate_anchors: int
    duplicate_positives: int
    swapped: float | None
    positive_histogram: list[int]
    negative_histogram: list[int]

    def words(self) -> str:
        """What it says about the generator, in a sentence or two."""
        parts = [
            f"This generator's positives are copies in {self.positive_copies:.0%}, its negatives in "
            f"{self.negative_copies:.0%}; {self.bare_negations:.0%} of the negatives only add a negation."
        ]
        if self.positive_copies > 0.3 or self.negative_copies > 0.2:
            parts.append(
                "That is weak: try a stronger model (--lm), other --prompts, --max-copy in curate, or "
                "triples that others have written, such as hkust-nlp/SynCSE-partial-NLI."
            )
        return " ".join(parts)


def audit(triples: Sequence[Triple]) -> dict[str, Any]:
    """The figures as a dictionary; see `audit_triples`."""
    return vars(audit_triples(triples))


def audit_triples(triples: Sequence[Triple]) -> Audit:
    """The figures of a set of triples or pairs."""
    rows = [row for row in triples if row.status == "ok" and row.sent1]
    negatives = [row for row in rows if row.hard_neg]
    scored = [(a, b) for row in negatives if (a := row.positive_score) is not None
              and (b := row.negative_score) is not None]  # fmt: skip
    return Audit(
        rows=len(rows),
        failed=len(triples) - len(rows),
        positive_copies=_share([edit_similarity(row.sent0, row.sent1) > COPY for row in rows]),
        negative_copies=_share([edit_similarity(row.sent0, row.hard_neg) > COPY for row in negatives]),
        negations=_share([negations(row.hard_neg) > negations(row.sent0) for row in negatives]),
        bare_negations=_share([is_bare_negation(row.sent0, row.hard_neg) for row in negatives]),
        positive_length=_length([(row.sent0, row.sent1) for row in rows]),
        negative_length=_length([(row.sent0, row.hard_neg) for row in negatives]),
        duplicate_anchors=_repeated([row.sent0 for row in rows]),
        duplicate_positives=_repeated([row.sent1 for row in rows]),
        swapped=_share([b > a for a, b in scored]) if scored else None,
        positive_histogram=histogram([row.positive_score for row in rows]),
        negative_histogram=histogram([row.negative_score for row in negatives]),
    )


def edit_similarity(one: str, other: str) -> float:
    """1 - Levenshtein distance / length of the longer text, ignoring case, spacing and marks at the end."""
    a, b = normalized(one), normalized(other)
    longest = max(len(a), len(b))
    return 1.0 if longest == 0 else 1 - levenshtein(a, b) / longest


def levenshtein(one: str, other: str) -> int:
    """Least number of inserted, deleted and replaced characters (bit-parallel; Hyyrö 2003)."""
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for i, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << i
    full, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    plus, minus, distance = full, 0, len(one)
    for character in other:
        match = places.get(character, 0)
        vertical = match | minus
        diagonal = (((match & plus) + plus) ^ plus) | match
        rising, falling = minus | (~(diagonal | plus) & full), plus & diagonal
        distance += bool(rising & last) - bool(falling & last)
        rising, falling = (rising << 1 | 1) & full, (falling << 1) & full
        plus, minus = falling | (~(vertical | rising) & full), rising & vertical
    return distance


def is_bare_negation(sentence: str, negative: str) -> bool:
    """Whether the negative says the same words with a negation more (or less) and nothing else.

    Auxiliaries that a negation brings along (`does not run`), determiners and endings do not count.
    """
    if negations(sentence) == negations(negative):
        return False
    return _content(_words(sentence)) == _content(_words(negative))


def negations(text: str) -> int:
    """How many negations a text holds (`not`, `n't`, `no`, `never`, `without` ...)."""
    return sum(word in _NEGATIONS for word in _words(text))


def _words(text: str) -> list[str]:
    words = re.findall(r"[^\W\d_]+(?:['\u2019]t)?|\d+", text.lower().replace("cannot", "can not"))
    return [part for word in words for part in _expanded(word)]


def _expanded(word: str) -> list[str]:
    word = word.replace("\u2019", "'")
    if not word.endswith("n't"):
        return [word]
    stem = {"ca": "can", "wo": "will"}.get(word[:-3], word[:-3])
    return [stem, "not"]


def _content(words: Sequence[str]) -> Counter[str]:
    """Content words by a crude stem."""
    return Counter(_stem(word) for word in words if word not in _SKIPPED)


def _stem(word: str) -> str:
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word[: -len(ending)]
            break
    word = word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
    return word.removesuffix("e")


def histogram(scores: Sequence[float | None]) -> list[int]:
    """Scores in the five bins; what has no score is left out."""
    found = [score for score in scores if score is not None]
    return [sum(low <= score < high or score == high == 5 for score in found)
            for low, high in pairwise(BINS)]  # fmt: skip


def _share(flags: Sequence[bool]) -> float:
    return fmean(flags) if flags else 0.0


def _length(pairs: Sequence[tuple[str, str]]) -> float:
    return fmean(len(b.split()) / max(1, len(a.split())) for a, b in pairs) if pairs else 0.0


def _repeated(texts: Sequence[str]) -> int:
    counts = Counter(normalized(text) for text in texts)
    return sum(count - 1 for count in counts.values())
