"""Masking, random places, redactions and edit sizes, against brute force and plain dynamic programming."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.self_explanations.masking import (
    count_masks,
    edit_ratio,
    keeps_the_rest,
    mask_listed,
    mask_random,
)

MASK = "[REDACTED]"


@pytest.mark.parametrize(
    ("text", "listed", "expected"),
    [
        ("A good film, Good!", ["good"], "A [REDACTED] film, [REDACTED]!"),
        ("goodness is good", ["good"], "goodness is [REDACTED]"),
        ("not good at all, good", ["good", "not good"], "[REDACTED] at all, [REDACTED]"),
        ("jaglom's best", ["jaglom"], "[REDACTED]'s best"),
        ("jaglom's best", ["'s"], "jaglom[REDACTED] best"),
        ("it’s fine", ["it's"], "[REDACTED] fine"),
        ("costs $5 (really)", ["$5", "(really)"], "costs [REDACTED] [REDACTED]"),
        ("a.b and axb", ["a.b"], "[REDACTED] and axb"),
        ("one [REDACTED] redacted", ["redacted"], "one [REDACTED] [REDACTED]"),
        ("two\nwords", ["two words"], "[REDACTED]"),
        ("Größe zählt", ["größe"], "[REDACTED] zählt"),
    ],
)
def test_listed_words_are_masked_whole_and_longest_first(text, listed, expected):
    assert mask_listed(text, listed, MASK).text == expected


def test_an_empty_list_masks_nothing():
    for listed in ([], [""], ["  "], ["..."]):
        found = mask_listed("Every word stays.", listed, MASK)
        assert (found.text, found.masked, found.words) == ("Every word stays.", 0, 3)


def test_the_share_counts_words_and_not_entries():
    found = mask_listed("a very good film with a good cast", ["very good", "a"], MASK)
    assert found.masked == 4
    assert found.share == 4 / 8


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "isn't", "well-made"]), min_size=1),
    st.integers(0, 9),
)
def test_random_masking_masks_exactly_as_many_words_as_asked(words, count):
    text = " ".join(words)
    found = mask_random(text, count, MASK, np.random.default_rng(0))
    assert count_masks(found.text, MASK) == found.masked == min(count, found.words)
    assert keeps_the_rest(text, found.text, MASK)


def test_every_place_is_equally_likely_to_be_masked():
    generator, text = np.random.default_rng(0), "a b c d e"
    hits = [mask_random(text, 2, MASK, generator).text.split().count(w) for _ in range(4000) for w in "abcde"]
    kept = np.array(hits).reshape(4000, 5).mean(0)
    assert np.all(np.abs(kept - 3 / 5) < 5 * np.sqrt(0.24 / 4000))


@pytest.mark.parametrize(
    ("redacted", "keeps"),
    [
        ("the [REDACTED] sat on the mat", True),
        ("The [redacted] sat on the mat.", True),
        ("the [REDACTED] on the mat", True),
        ("the [REDACTED] lay on the mat", False),
        ("on the mat the [REDACTED] sat", False),
    ],
)
def test_a_redaction_that_alters_or_moves_words_is_found(redacted, keeps):
    assert keeps_the_rest("the cat sat on the mat", redacted, MASK) is keeps


def slow_distance(a: list[str], b: list[str]) -> int:
    table = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = min(
                table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            )
    return table[-1][-1]


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_the_edit_ratio_is_levenshtein_over_words(a, b):
    assert edit_ratio(" ".join(a), " ".join(b)) == slow_distance(a, b) / len(a)
