"""The depth statistic: against statsmodels, its false alarms, and what it says of known readers."""

from __future__ import annotations

import numpy as np
import pytest

from etude.methods.counting_stars.depth import depth_effect, firth_logistic


def grid(seeds, stars=16, lengths=(1000, 2000, 4000, 8000)):
    depths = np.tile((np.arange(stars) + 0.5) / stars, seeds * len(lengths))
    return (
        depths,
        np.tile(np.repeat(lengths, stars), seeds).astype(float),
        np.repeat(range(seeds), stars * len(lengths)),
    )


def test_without_the_penalty_it_is_the_clustered_logistic_regression_of_statsmodels():
    statsmodels = pytest.importorskip("statsmodels.api")
    depths, lengths, seeds = grid(8)
    rng = np.random.default_rng(0)
    design = np.stack([np.ones_like(depths), depths - 0.5, np.log2(lengths) - 11], axis=1)
    hits = (rng.random(len(depths)) < 1 / (1 + np.exp(-design @ [0.3, 1.0, -0.4]))).astype(float)
    beta, covariance = firth_logistic(design, hits, seeds, penalty=0.0)
    fitted = statsmodels.Logit(hits, design).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": seeds, "use_correction": False}
    )
    assert beta == pytest.approx(fitted.params, abs=1e-6)
    assert covariance == pytest.approx(np.asarray(fitted.cov_params()) * 8 / 7, rel=1e-4)


def test_coefficients_are_finite_when_depth_separates_hits_from_misses():
    depths, _, seeds = grid(5)
    design = np.stack([np.ones_like(depths), depths - 0.5], axis=1)
    beta, covariance = firth_logistic(design, (depths > 0.5).astype(float), seeds)
    assert np.isfinite(beta).all()
    assert np.isfinite(covariance).all()


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_it_raises_a_false_alarm_about_the_middle_in_about_five_percent_of_random_readers(seeds):
    depths, lengths, groups = grid(seeds)
    alarms = 0
    for trial in range(200):
        hits = (np.random.default_rng([trial, seeds]).random(len(depths)) < 0.7).astype(float)
        effect = depth_effect(hits, depths, lengths, groups.tolist())
        alarms += effect.quadratic is not None and effect.quadratic.speaks
    assert alarms / 200 < 0.11


def test_it_finds_a_lost_middle_a_window_and_their_opposites():
    depths, lengths, seeds = grid(5)
    rng = np.random.default_rng(1)

    def finding(chance):
        hits = (rng.random(len(depths)) < chance).astype(float)
        return depth_effect(hits, depths, lengths, seeds.tolist()).finding

    middle = (depths >= 0.4) & (depths <= 0.6)
    assert finding(np.where(middle, 0.2, 0.9)) == "lost in the middle"
    assert finding(np.where(middle, 0.9, 0.2)) == "better in the middle"
    assert finding(np.where(depths > 1 - 2000 / lengths, 1.0, 0.0)) == "recency"
    assert finding(np.where(depths < 2000 / lengths, 1.0, 0.0)) == "primacy"


def test_it_is_silent_when_nothing_can_be_said():
    depths, lengths, seeds = grid(5)
    ones = np.ones_like(depths)
    assert depth_effect(ones, depths, lengths, seeds.tolist()).note == "every star was found"
    assert depth_effect(0 * ones, depths, lengths, seeds.tolist()).note == "no star was found"
    few = depth_effect(np.array([1.0, 0.0]), np.array([0.2, 0.8]), np.array([9.0, 9.0]), [0, 0])
    assert few.note == "fewer than three prompts"
    assert not few.speaks
