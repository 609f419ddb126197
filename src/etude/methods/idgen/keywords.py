"""Candidates from an item's own words, without any model: those that tell items apart."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from etude.methods.idgen.rounds import KEYWORD_ROUNDS, Round

_FIELD = re.compile(r"(?:^|; )(title|brand|categories|description|price|salesrank): ")


class KeywordSource:
    """Candidates from the item's own words: those that tell items apart, in the order of the text.

    Words that other items have too come first, the rarest of them before the others, for a word that only
    one item has says nothing about its likeness to others. A title's words count twice.

    Args:
        texts: The whole catalogue, by which words are weighed.
    """

    rounds = KEYWORD_ROUNDS

    def __init__(self, texts: Iterable[str]) -> None:
        self.weights = Informativeness(texts)

    def candidates(self, texts: Sequence[str], asked: Round) -> list[list[str]]:
        """The best words; then the last of them changed for the next ones."""
        found = []
        for text in texts:
            ranked = sorted(self.weights.ranked(text), key=lambda word: self.weights.have[word] < 2)
            position = {word: place for place, word in reversed(list(enumerate(words_of(text))))}
            kept, others = ranked[: asked.shortest - 1], ranked[asked.shortest - 1 :][:10]
            sets = [[*kept, other] for other in others] or [kept]
            found.append([" ".join(sorted(one, key=position.__getitem__)) for one in sets if one])
        return found


class Informativeness:
    """How much a word says: the logarithm of the number of texts over those that have it.

    Args:
        texts: The whole catalogue.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        lists = [set(words_of(text)) for text in texts]
        self.have = Counter(word for words in lists for word in words)
        self.total = len(lists)

    def ranked(self, text: str) -> list[str]:
        """The text's words, the most telling first; a title's count twice."""
        times = Counter(words_of(text))
        title = set(words_of(_title(text)))

        def weight(word: str) -> float:
            rare = math.log(1 + self.total / max(self.have[word], 1))
            return (1 + math.log(times[word])) * rare * (2 if word in title else 1)

        return sorted(times, key=lambda word: (-weight(word), word))


def words_of(text: str) -> list[str]:
    """Words of an item's line without the names of its fields, function words and single letters."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = re.findall(r"\w+", _FIELD.sub(" ", text).lower())
    return [word for word in words if len(word) > 1 and word not in ENGLISH_STOP_WORDS]


def _title(text: str) -> str:
    parts = _FIELD.split(text)
    return parts[parts.index("title") + 1] if "title" in parts else text
