"""Captions against references: CIDEr-D, BLEU, exact and word accuracy; answers by VQA accuracy.

CIDEr-D (Vedantam et al. 2015) and BLEU (Papineni et al. 2002) as COCO's evaluation code computes them,
without its Java tokenizer: words are lower case, punctuation is left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from etude.methods.easygen.word_codec import words_of

_LONGEST = 4  # words of an n-gram
_SIGMA = 6.0  # of CIDEr-D's penalty for length
_ARTICLES = {"a", "an", "the"}

Gram = tuple[str, ...]


def cider_d(written: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption (10 is a caption equal to its only reference); the corpus score is the mean.

    The weights of n-grams come from the references given, so a score of one caption depends on the others.

    Args:
        written: One caption for each picture.
        references: What people said of each picture.
    """
    counted = [[_grams(words_of(text)) for text in texts] for texts in references]
    pictures_with: Counter[Gram] = Counter(
        gram for texts in counted for gram in {g for one in texts for g in one}
    )
    log_pictures = math.log(max(1, len(references)))
    scores = []
    for text, texts in zip(written, counted, strict=True):
        said = _weighted(_grams(words_of(text)), pictures_with, log_pictures)
        total = sum(_similarity(said, _weighted(one, pictures_with, log_pictures)) for one in texts)
        scores.append(10.0 * total / max(1, len(texts)))
    return scores


def bleu(written: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Corpus BLEU-1 to BLEU-4, with the closest reference length."""
    hits, counts = [0] * _LONGEST, [0] * _LONGEST
    said_length = reference_length = 0
    for text, texts in zip(written, references, strict=True):
        words = words_of(text)
        split = [words_of(one) for one in texts]
        most: Counter[Gram] = Counter()
        for one in split:
            most |= _grams(one)
        for gram, count in _grams(words).items():
            counts[len(gram) - 1] += count
            hits[len(gram) - 1] += min(count, most[gram])
        said_length += len(words)
        reference_length += min((abs(len(one) - len(words)), len(one)) for one in split)[1]
    if not said_length:
        return [0.0] * _LONGEST
    brevity = min(1.0, math.exp(1 - reference_length / said_length))
    scores, product = [], 1.0
    for n in range(_LONGEST):
        product *= (hits[n] + 1e-15) / (counts[n] + 1e-9)
        scores.append(brevity * product ** (1 / (n + 1)))
    return scores


def exact(written: str, references: Sequence[str]) -> float:
    """1 if the caption has the words of a reference, in order, else 0."""
    return float(any(words_of(written) == words_of(reference) for reference in references))


def word_accuracy(written: str, references: Sequence[str]) -> float:
    """Share of a reference's words that stand at their place in the caption; the best reference counts."""
    said = words_of(written)

    def share(reference: str) -> float:
        words = words_of(reference)
        hits = sum(a == b for a, b in zip(said, words, strict=False))
        return hits / len(words) if words else float(not said)

    return max((share(reference) for reference in references), default=0.0)


def vqa_accuracy(answer: str, answers: Sequence[str]) -> float:
    """Agreement with people's answers: min(1, matches / 3), averaged over leaving one person out (VQAv2).

    With fewer than four answers one match is enough.
    """
    said = _answer_words(answer)
    given = [_answer_words(one) for one in answers]
    if len(given) < 4:
        return float(said in given)
    matches = [one == said for one in given]
    total = sum(matches)
    return sum(min(1.0, (total - own) / 3) for own in matches) / len(matches)


def _answer_words(text: str) -> str:
    kept = re.sub(r"[^\w\s'-]", " ", text.lower()).split()
    return " ".join(word for word in kept if word not in _ARTICLES)


def _grams(words: Sequence[str]) -> Counter[Gram]:
    return Counter(
        tuple(words[start : start + n]) for n in range(1, _LONGEST + 1) for start in range(len(words) - n + 1)
    )


def _weighted(
    grams: Mapping[Gram, int], pictures_with: Counter[Gram], log_pictures: float
) -> tuple[list[dict[Gram, float]], list[float], int]:
    """TF-IDF weights by length of n-gram, their norms, and the length (in bigrams, as COCO's code has it)."""
    weights: list[dict[Gram, float]] = [{} for _ in range(_LONGEST)]
    length = 0
    for gram, count in grams.items():
        weights[len(gram) - 1][gram] = count * (log_pictures - math.log(max(1.0, pictures_with[gram])))
        length += count if len(gram) == 2 else 0
    norms = [math.sqrt(sum(value**2 for value in one.values())) for one in weights]
    return weights, norms, length


def _similarity(
    said: tuple[list[dict[Gram, float]], list[float], int],
    other: tuple[list[dict[Gram, float]], list[float], int],
) -> float:
    total = 0.0
    for mine, theirs, mine_norm, their_norm in zip(said[0], other[0], said[1], other[1], strict=True):
        if mine_norm and their_norm:
            shared = sum(
                min(value, theirs.get(gram, 0.0)) * theirs.get(gram, 0.0) for gram, value in mine.items()
            )
            total += shared / (mine_norm * their_norm)
    penalty = math.exp(-((said[2] - other[2]) ** 2) / (2 * _SIGMA**2))
    return total * penalty / _LONGEST
