"""The statistics behind verdicts, against what theory says they must do."""

import numpy as np
import pytest
from scipy import stats

from etude.errors import EtudeError
from etude.evidence import (
    bootstrap_interval,
    holm,
    mcnemar_p_value,
    parse_seeds,
    sign_flip_p_value,
    wilson_interval,
)
from etude.evidence.statistics import mean_interval


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    runs = 400
    covered = 0
    for _ in range(runs):
        low, high = mean_interval(rng.exponential(size=(1, 60)) - 1.0)
        covered += low <= 0 <= high
    # percentile intervals of skewed data cover a little less than nominal: 95 % nominal, 91-98 % accepted
    assert 0.91 <= covered / runs <= 0.98


def test_seeds_widen_the_interval_when_they_disagree() -> None:
    rng = np.random.default_rng(0)
    units = rng.normal(size=200)
    agreeing = np.stack([units, units, units])
    disagreeing = agreeing + np.array([[-0.5], [0.0], [0.5]])
    narrow, wide = mean_interval(agreeing), mean_interval(disagreeing)
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_the_interval_of_a_mean_agrees_with_the_normal_one_for_many_units() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.0, size=(1, 2000))
    low, high = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(values.size)
    assert low == pytest.approx(values.mean() - half, abs=0.01)
    assert high == pytest.approx(values.mean() + half, abs=0.01)


def test_clusters_count_by_their_size() -> None:
    differences, weights = np.array([[0.0, 1.0]]), np.array([1.0, 3.0])
    low, high = mean_interval(differences, weights)
    assert (low, high) == (0.0, 1.0)


def test_one_group_tells_nothing() -> None:
    low, high = bootstrap_interval(lambda g, s: g.sum(-1), 1)
    assert low == -np.inf
    assert high == np.inf


def test_p_values_are_uniform_under_the_null() -> None:
    rng = np.random.default_rng(2)
    p = [sign_flip_p_value(rng.normal(size=12)) for _ in range(300)]  # 2^12 flips: exact
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_permutation_p_value_is_exact_on_a_small_case() -> None:
    # of the 8 sign patterns of three positive differences, two are as extreme as all-positive or all-negative
    assert sign_flip_p_value(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)
    assert sign_flip_p_value(np.zeros(5)) == 1.0


def test_holm_agrees_with_the_worked_example() -> None:
    # 0.01*4, 0.02*3, 0.03*2 (raised to the running maximum), 0.04*1 (likewise)
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_the_family_wise_error() -> None:
    rng = np.random.default_rng(5)
    rejected = sum(min(holm(list(rng.uniform(size=8)))) < 0.05 for _ in range(2000))
    assert rejected / 2000 < 0.065


def test_seeds_are_read_as_people_write_them() -> None:
    assert parse_seeds("0-2") == (0, 1, 2)
    assert parse_seeds("7, 9,11-12") == (7, 9, 11, 12)
    for wrong in ("", "a", "1,1", "3-1"):
        with pytest.raises(EtudeError):
            parse_seeds(wrong)


@pytest.mark.parametrize("counts", [(0, 1), (1, 1), (3, 10), (62, 526), (526, 526), (0, 450), (200, 400)])
def test_the_interval_of_a_rate_is_wilsons(counts: tuple[int, int]) -> None:
    from statsmodels.stats.proportion import proportion_confint

    found = wilson_interval(*counts)
    low, high = proportion_confint(*counts, method="wilson")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (8, 2), (3, 3), (40, 12)])
def test_mcnemar_agrees_with_statsmodels(b: int, c: int) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    expected = theirs([[10, b], [c, 10]], exact=True).pvalue if b + c else 1.0
    assert mcnemar_p_value(b, c) == pytest.approx(min(expected, 1.0))
