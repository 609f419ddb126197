"""Hand features of an option within its question: what the laptop's selector sees.

Every feature depends on the option, the mention and the set of all options and clues, never on the place at
which the option is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from etude.methods.bioelqa.normalization import jaccard, normalize, trigrams
from etude.methods.bioelqa.questions import Question

OPTION_FEATURES = (
    "score", "behind the best", "ahead of the next", "reciprocal rank", "equals name", "trigrams of name",
    "trigrams of matched", "words of name", "mention in name", "name in mention", "length ratio", "initials",
    "same beginning", "same end", "matched is learned", "bias", "is none",
)  # fmt: skip
CLUE_FEATURES = (
    "best clue", "sum of clues", "share of clues", "is top clue", "name like a clue's", "best clue's lead",
)  # fmt: skip
FEATURES = (*OPTION_FEATURES, *CLUE_FEATURES)


def question_features(question: Question) -> np.ndarray:
    """Features of every option, (options, features), float32; "none of these" has zeros but for its flag."""
    made = np.zeros((len(question.options), len(FEATURES)), dtype=np.float32)
    scores = np.array([option.score for option in question.options])
    real = np.array([option.id is not None for option in question.options], dtype=bool)
    best = scores[real].max(initial=0.0)
    clue_best = max((clue.score for clue in question.clues), default=0.0)
    for place, option in enumerate(question.options):
        if option.id is None:
            made[place, FEATURES.index("is none")] = 1
            made[place, FEATURES.index("bias")] = 1
            made[place, 0] = best
            made[place, FEATURES.index("best clue's lead")] = clue_best
            continue
        better = real & (scores > option.score)
        others = np.delete(scores, place)[np.delete(real, place)]
        lexical = _lexical(question.mention, normalize(option.name), option.matched)
        own = [clue.score for clue in question.clues if clue.id == option.id]
        rest = [clue.score for clue in question.clues if clue.id != option.id]
        alike = max(
            (c.score * _alike(normalize(option.name), normalize(c.name)) for c in question.clues), default=0.0
        )
        made[place] = (
            option.score,
            best - option.score,
            option.score - others.max(initial=0.0),
            1 / (1 + better.sum()),
            *lexical,
            option.learned,
            1,
            0,
            max(own, default=0.0),
            sum(own),
            len(own) / max(1, len(question.clues)),
            bool(own) and max(own) >= clue_best,
            alike,
            max(own, default=0.0) - max(rest, default=0.0),
        )
    return made


def batch_features(questions: Sequence[Question]) -> tuple[np.ndarray, np.ndarray]:
    """Features (questions, options, features), padded, and which options are real, (questions, options)."""
    width = max((len(question.options) for question in questions), default=0)
    values = np.zeros((len(questions), width, len(FEATURES)), dtype=np.float32)
    there = np.zeros((len(questions), width), dtype=bool)
    for row, question in enumerate(questions):
        values[row, : len(question.options)] = question_features(question)
        there[row, : len(question.options)] = True
    return values, there


@lru_cache(maxsize=1 << 19)
def _alike(first: str, second: str) -> float:
    return jaccard(trigrams(first), trigrams(second))


@lru_cache(maxsize=1 << 19)
def _lexical(mention: str, name: str, matched: str) -> tuple[float, ...]:
    words, own = mention.split(), name.split()
    spelled = "".join(word[0] for word in own)
    shared = frozenset(words) & frozenset(own)
    letters = mention.replace(" ", "")
    return (
        float(mention == name),
        _alike(mention, name),
        _alike(mention, matched),
        jaccard(frozenset(words), frozenset(own)),
        len(shared) / max(1, len(set(words))),
        len(shared) / max(1, len(set(own))),
        min(len(mention), len(name)) / max(len(mention), len(name), 1),
        float(len(own) > 1 and letters == spelled),
        float(bool(words and own) and words[0] == own[0]),
        float(bool(words and own) and words[-1] == own[-1]),
    )
