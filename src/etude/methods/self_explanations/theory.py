"""What an instrument's faithfulness must be: exact probabilities for each text, from counting alone.

A classifier that counts opinion words cannot tell once the positive and negative words left are as many. So
the chance that k random words leave a balance of zero is a count of subsets, text by text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np

from etude.methods.self_explanations.lexicon import Lexicon
from etude.methods.self_explanations.masking import WORD

CONFIDENCE = 0.9999
"""Of each interval: all of a sound table hold, but once in thousands of seeds."""


def listed_at_random(text: str, lexicon: Lexicon) -> float:
    """Chance that masking as many random *different* words as there are opinion words leaves a balance of
    zero.
    """
    counts = Counter(word.lower() for word in WORD.findall(text))
    weights = [lexicon.weight(word) * times for word, times in counts.items()]
    return _balanced(weights, sum(weight != 0 for weight in weights))


def masked_at_random(text: str, masked: int, lexicon: Lexicon) -> float:
    """Chance that masking this many random *places* leaves a balance of zero."""
    return _balanced([lexicon.weight(word) for word in WORD.findall(text)], masked)


def share_interval(chances: Sequence[float]) -> tuple[float, float]:
    """The central interval of a share of successes, each trial having its own chance (Poisson-binomial)."""
    distribution = np.ones(1)
    for chance in chances:
        distribution = np.convolve(distribution, (1 - chance, chance))
    cumulative = np.cumsum(distribution)
    tail = (1 - CONFIDENCE) / 2
    low = int(np.searchsorted(cumulative, tail))
    high = int(np.searchsorted(cumulative, 1 - tail))
    return low / len(chances), min(high, len(chances)) / len(chances)


def _balanced(weights: Sequence[int], drawn: int) -> float:
    """Share of the subsets of size `drawn` whose weights sum to the whole sum, so that nothing is left."""
    plain = sum(weight == 0 for weight in weights)
    ways: Counter[tuple[int, int]] = Counter({(0, 0): 1})  # (size, sum) of subsets of the words with weight
    for weight in (weight for weight in weights if weight):
        for (size, total), number in list(ways.items()):
            ways[size + 1, total + weight] += number
    goal = sum(weights)
    hits = sum(
        number * comb(plain, drawn - size)
        for (size, total), number in ways.items()
        if total == goal and size <= drawn
    )
    return hits / comb(len(weights), drawn)
