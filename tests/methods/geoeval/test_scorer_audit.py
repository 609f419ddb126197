"""What the released comparison accepts: closed forms, and the figures on the shared gold answers."""

import json
import math

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.geoeval import audit_scorer
from etude.methods.geoeval.scorer_audit import released_equal


def test_the_released_comparison_is_one_sided():
    assert released_equal(-1e6, 7) and released_equal(6.9, 7) and released_equal(7.0009, 7)
    assert not released_equal(7.0011, 7)


def test_shares_follow_from_the_gold_answers():
    golds = [str(n) for n in range(1, 101)]
    rows = {row.prediction: row for row in audit_scorer(golds).rows}
    assert (rows["-1,000,000"].released, rows["-1,000,000"].symmetric) == (1.0, 0.0)
    assert (rows["0"].released, rows["0"].symmetric) == (1.0, 0.0)
    assert rows["10"].released == 0.91  # 10 and all larger ones
    assert rows["10"].symmetric == 0.01


def test_a_random_order_passes_half_of_the_time():
    """Two different answers drawn at random: each is the smaller one equally often; equal ones always
    pass.
    """
    golds = [str(value) for value in np.random.default_rng(1).integers(1, 10**9, 4_000)]
    shares = [audit_scorer(golds, seed=seed).rows[3].released for seed in range(5)]
    assert np.mean(shares) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(20_000))


def test_the_figures_on_the_shared_gold_answers(shared_data):
    with open(shared_data("geoeval") / "problems.jsonl") as handle:
        audit = audit_scorer([json.loads(line)["problem_answer"] for line in handle])
    assert (audit.golds, audit.left_out) == (2290, 0)
    released = {row.prediction: round(100 * row.released, 1) for row in audit.rows}
    symmetric = {row.prediction: round(100 * row.symmetric, 1) for row in audit.rows}
    assert (released["-1,000,000"], released["0"], released["10"]) == (100.0, 99.9, 70.7)
    assert (symmetric["-1,000,000"], symmetric["0"], symmetric["10"]) == (0.0, 0.2, 2.3)
    assert 48 < released["another problem's answer"] < 53
    assert symmetric["another problem's answer"] < 1.5


def test_answers_that_are_no_numbers_are_counted_and_left_out():
    audit = audit_scorer(["7", "8", "(2,3)", "x+1", "3:4"])
    assert (audit.golds, audit.left_out) == (2, 3)
    with pytest.raises(EtudeError, match="1 of 2 gold answers are numbers"):
        audit_scorer(["7", "none"])
