"""Opinion words: the knowledge of the instruments; from the Opinion Lexicon's files, or a small list of
ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etude.errors import EtudeError
from etude.methods.self_explanations.masking import WORD

POSITIVE = [
    "good",
    "great",
    "wonderful",
    "charming",
    "funny",
    "moving",
    "brilliant",
    "fresh",
    "warm",
    "clever",
    "lovely",
    "strong",
    "engaging",
    "honest",
    "tender",
    "superb",
    "witty",
    "gripping",
    "delightful",
    "touching",
]
NEGATIVE = [
    "bad",
    "awful",
    "boring",
    "dull",
    "weak",
    "clumsy",
    "stupid",
    "tired",
    "messy",
    "bland",
    "shallow",
    "tedious",
    "lame",
    "annoying",
    "ugly",
    "painful",
    "flat",
    "predictable",
    "terrible",
    "hollow",
]


@dataclass(frozen=True)
class Lexicon:
    """Words that speak for one side or the other; single words in lower case, none on both sides.

    Args:
        positive: Words that speak for it.
        negative: Words that speak against it.
    """

    positive: frozenset[str]
    negative: frozenset[str]

    def weight(self, word: str) -> int:
        """1, -1 or 0."""
        lowered = word.lower()
        return int(lowered in self.positive) - int(lowered in self.negative)

    def score(self, text: str) -> int:
        """Positive minus negative words of a text."""
        return sum(self.weight(word) for word in WORD.findall(text))

    def evidence(self, text: str) -> list[str]:
        """The different opinion words of a text, in order, in lower case."""
        return list(dict.fromkeys(word.lower() for word in WORD.findall(text) if self.weight(word)))


def own_lexicon() -> Lexicon:
    """Forty words of ours, for use without data."""
    return Lexicon(frozenset(POSITIVE), frozenset(NEGATIVE))


def read_lexicon(folder: Path) -> Lexicon:
    """Read `positive-words.txt` and `negative-words.txt` (Opinion Lexicon, Hu and Liu 2004).

    Lines that begin with `;` are comments; words that stand in both files are dropped.

    Raises:
        EtudeError: A file is missing.
    """
    positive, negative = (_read_words(folder / f"{side}-words.txt") for side in ("positive", "negative"))
    return Lexicon(positive - negative, negative - positive)


def _read_words(path: Path) -> frozenset[str]:
    try:
        lines = path.read_bytes().decode("latin-1").splitlines()
    except OSError as error:
        raise EtudeError(
            f"{path}: cannot be read ({error.strerror})",
            "Put the Opinion Lexicon there (nltk's `opinion_lexicon`), or leave the data out.",
        ) from error
    words = (line.strip().lower() for line in lines if not line.startswith(";"))
    return frozenset(word for word in words if WORD.fullmatch(word))
