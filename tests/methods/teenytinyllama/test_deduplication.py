"""Deduplication against the definition: sets of shingles compared pair by pair."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.teenytinyllama.deduplication import (
    MINIMA,
    band_rows,
    exact_duplicates,
    near_duplicates,
    signature,
    text_key,
)


def shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.casefold())
    width = min(5, len(words))
    return {tuple(words[i : i + width]) for i in range(len(words) - width + 1)}


def jaccard(a: str, b: str) -> float:
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


def document(rng: random.Random, words: int = 300) -> list[str]:
    return [f"w{rng.randrange(5000)}" for _ in range(words)]


def edited(rng: random.Random, words: list[str], edits: int) -> str:
    changed = list(words)
    for at in rng.sample(range(len(words)), edits):
        changed[at] = f"x{rng.randrange(10**6)}"
    return " ".join(changed)


def test_the_share_of_equal_minima_estimates_the_jaccard_similarity() -> None:
    rng = random.Random(0)
    errors = []
    for edits in (0, 1, 3, 6, 10, 20, 40):
        for _ in range(6):
            words = document(rng)
            a, b = " ".join(words), edited(rng, words, edits)
            errors.append((signature(a) == signature(b)).mean() - jaccard(a, b))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 1.5 * 0.5 / np.sqrt(MINIMA)  # at most that of a fair coin, with room


def test_constructed_duplicates_are_counted_and_the_first_stays() -> None:
    rng = random.Random(1)
    texts, expected = [], []
    for _ in range(60):
        words = document(rng)
        texts += [" ".join(words), " ".join(words).upper(), edited(rng, words, 2), edited(rng, words, 60)]
        expected += [False, True, True, False]  # similarity 1, about 0.93, about 0.2
    found = near_duplicates(np.stack([signature(text) for text in texts]), 0.8)
    assert found.tolist() == expected


def test_all_pairs_decide_the_same_as_the_bands() -> None:
    rng = random.Random(2)
    originals = [document(rng, 120) for _ in range(20)]
    texts = [edited(rng, rng.choice(originals), rng.randrange(0, 12)) for _ in range(150)]
    signatures = np.stack([signature(text) for text in texts])
    slow = [any((signatures[i] == signatures[j]).mean() >= 0.7 for i in range(j)) for j in range(len(texts))]
    fast = near_duplicates(signatures, 0.7)
    assert not (fast & ~np.array(slow)).any()  # never more than the definition
    assert (fast != np.array(slow)).sum() <= 3


def test_only_the_documents_asked_for_are_compared() -> None:
    rows = np.stack([signature("one two three four five six")] * 4)
    assert near_duplicates(rows, 0.8).tolist() == [False, True, True, True]
    assert near_duplicates(rows, 0.8, np.array([1, 3])).tolist() == [False, False, False, True]
    assert near_duplicates(rows, 0.8, np.array([], dtype=int)).tolist() == [False] * 4


@given(st.lists(st.text("ab \n\t"), max_size=30))
@settings(max_examples=60, deadline=None)
def test_exact_duplicates_are_those_of_a_plain_set(texts: list[str]) -> None:
    seen: set[str] = set()
    expected = []
    for text in texts:
        plain = " ".join(text.split())
        expected.append(plain in seen)
        seen.add(plain)
    keys = np.frombuffer(b"".join(map(text_key, texts)), dtype="V16") if texts else np.zeros(0, "V16")
    assert exact_duplicates(keys).tolist() == expected


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_are_long_and_still_find_what_is_at_the_threshold(threshold: float) -> None:
    rows = band_rows(threshold)
    found = 1 - (1 - threshold**rows) ** (MINIMA // rows)
    assert found >= 0.99 or rows == 1


def test_short_and_empty_texts_have_a_signature() -> None:
    assert (signature("one two") == signature("One,  two!")).all()
    assert signature("").shape == (MINIMA,)
