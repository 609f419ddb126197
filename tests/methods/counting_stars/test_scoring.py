"""Answers read and scored, against cases worked out by hand and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from etude.methods.counting_stars.answers import parse_answer
from etude.methods.counting_stars.builder import build_cells
from etude.methods.counting_stars.grid import StarGrid
from etude.methods.counting_stars.scoring import chance_level, kendall_tau, score_answer


def cell_of(english, task="search", stars=32, counts="official"):
    grid = StarGrid((3000,), stars, task=task, unit="official", counts=counts)
    return next(iter(build_cells(grid, english, None)))


@pytest.mark.parametrize(
    ("text", "numbers", "status"),
    [
        ('{"little_penguin": [15, 117, 42]}', (15, 117, 42), "ok"),
        ('```json\n{"little_penguin": [15, 117]}\n```', (15, 117), "repaired"),
        ('{"little_penguin": [15, 117,', (15, 117), "repaired"),
        ("{'little_penguin': [15, 117]}", (15, 117), "repaired"),
        ('{"penguin": [15]}', (15,), "repaired"),
        ('{"小企鹅": [15, 3]}', (15, 3), "repaired"),
        ("[15, 117]", (15, 117), "repaired"),
        ('{"little_penguin": [[15], [117, [42]]]}', (15, 117, 42), "repaired"),
        ('{"little_penguin": ["15", "117 ★", "twenty-one"]}', (15, 117, 21), "repaired"),
        ('{"little_penguin": [15.0, 117]}', (15, 117), "repaired"),
        ('{"little_penguin": [true, null, 7]}', (7,), "repaired"),
        ("The penguin counted 15 ★, then 1,024 ★.", (15, 1024), "repaired"),
        ("It counted fifteen, one hundred and seventeen and ninety-four.", (15, 117, 94), "repaired"),
        ("小企鹅数了十五颗，一百一十七颗，两百零三颗", (15, 117, 203), "repaired"),
        ("", (), "empty"),
        ("I could not find any.", (), "empty"),
        ('{"little_penguin": []}', (), "empty"),
        ("[" * 100_000, (), "empty"),
    ],
)
def test_answers_in_every_shape_are_read(text, numbers, status):
    parsed = parse_answer(text)
    assert parsed.numbers == numbers
    assert parsed.status == status


def test_cut_off_refused_and_failed_answers_are_counted_apart():
    assert parse_answer('{"little_penguin": [15, 11', stop_reason="length").status == "overflow"
    assert parse_answer('{"little_penguin": [15, 11', stop_reason="length").numbers[0] == 15
    assert parse_answer("I cannot help with that.", stop_reason="refused").status == "refused"
    assert parse_answer("", stop_reason="error").status == "error"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_nothing_a_model_writes_is_an_error(text):
    for lang in ("en", "zh"):
        assert all(isinstance(number, int) for number in parse_answer(text, lang).numbers)


def test_the_published_rule_gives_one_half_quarter_and_nothing(english):
    cell = cell_of(english, "reason")
    c, w = cell.counts, cell.wrong
    score = score_answer(cell, f'{{"little_penguin": [{c[0]}, {c[1]}, {w[1]}, {w[2]}]}}')
    assert score.stars[:4].tolist() == [1, 0.5, 0.25, 0]
    assert score_answer(cell, f"[{c[0]}, {c[1]}, {w[1]}, {w[2]}]", "ours").stars[:4].tolist() == [
        1,
        0.5,
        0,
        0,
    ]


def test_the_published_rule_cuts_the_list_before_it_removes_duplicates(english):
    cell = cell_of(english)
    listed = [cell.counts[0]] * 32 + [cell.counts[1]]
    assert score_answer(cell, str(listed)).score == 1 / 32
    assert score_answer(cell, str(listed), "ours").score == 2 / 32


def test_listing_1_to_32_scores_a_quarter_without_reading(english):
    listed = str(list(range(1, 33)))
    assert score_answer(cell_of(english), listed).score == pytest.approx(8 / 32)
    cell = cell_of(english, "reason")
    both = [c <= 32 and w <= 32 for c, w in zip(cell.counts, cell.wrong, strict=True)]
    assert score_answer(cell, listed).score == pytest.approx(sum(both) * 0.5 / 32, abs=0.02)
    assert score_answer(cell, listed).precision == 8 / 32


def test_precision_f1_exact_and_order(english):
    cell = cell_of(english)
    perfect = score_answer(cell, str(cell.counts))
    assert (perfect.score, perfect.precision, perfect.f1, perfect.order, perfect.exact) == (1, 1, 1, 1, True)
    backwards = score_answer(cell, str(cell.counts[::-1]))
    assert (backwards.score, backwards.order, backwards.exact) == (1, -1, True)
    some = score_answer(cell, str([*cell.counts[:16], 1, 2]))
    assert some.precision == 16 / 18
    assert some.recall == 0.5
    assert some.f1 == pytest.approx(2 * (16 / 18) * 0.5 / (16 / 18 + 0.5))
    assert not some.exact
    nothing = score_answer(cell, "")
    assert (nothing.score, nothing.precision, nothing.f1, nothing.order) == (0, 0, 0, None)


@given(st.permutations(range(9)))
def test_order_agreement_is_kendalls_tau(ranks):
    assert kendall_tau(ranks) == pytest.approx(kendalltau(range(9), ranks).statistic)


@pytest.mark.parametrize("task", ["search", "reason"])
@pytest.mark.parametrize("rule", ["official", "ours"])
@pytest.mark.parametrize("counts", ["official", "random"])
def test_the_chance_level_is_the_mean_score_of_random_lists(english, task, rule, counts):
    cell = cell_of(english, task, counts=counts)
    low, high = cell.count_range
    rng = np.random.default_rng(0)
    scores = [
        score_answer(cell, str((rng.permutation(high - low + 1)[:32] + low).tolist()), rule).score
        for _ in range(1500)
    ]
    error = 4 * np.std(scores) / math.sqrt(len(scores))
    assert np.mean(scores) == pytest.approx(chance_level(cell, rule), abs=error)


def test_random_counts_keep_chance_at_two_percent_and_published_ones_do_not(english):
    assert chance_level(cell_of(english, counts="random")) == pytest.approx(0.02)
    assert chance_level(cell_of(english)) == pytest.approx(32 / 127)
