"""Errors in units, with masks stated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from etude.methods.stg_llm.metrics import score_table, scores, window_mae


def test_the_three_errors_by_hand() -> None:
    found = scores(np.array([1.0, 4.0, 0.0]), np.array([2.0, 2.0, 4.0]))
    assert pytest.approx(7 / 3) == found.MAE
    assert pytest.approx(np.sqrt((1 + 4 + 16) / 3)) == found.RMSE
    assert pytest.approx(100 * (0.5 + 1 + 1) / 3) == found.MAPE


def test_zeros_make_mape_undefined_unmasked_and_are_counted_masked() -> None:
    prediction, truth = np.array([1.0, 1.0, 3.0]), np.array([0.0, 2.0, 2.0])
    unmasked, masked = scores(prediction, truth, masked=False), scores(prediction, truth)
    assert unmasked.MAPE is None and unmasked.zeros == 1
    assert pytest.approx(50) == masked.MAPE and masked.zeros == 1 and masked.cells == 3
    null = scores(prediction, truth, null=0.0)
    assert null.cells == 2 and null.left_out == 1 and pytest.approx(1) == null.MAE
    assert scores(prediction, truth, null=0.0, masked=False).cells == 3


def test_large_relative_errors_are_not_dropped() -> None:
    assert pytest.approx(9900) == scores(np.array([100.0]), np.array([1.0])).MAPE


def test_missing_truth_never_counts_and_nothing_at_all_is_none() -> None:
    assert scores(np.array([1.0, 9.0]), np.array([2.0, np.nan])).MAE == 1
    assert scores(np.array([1.0]), np.array([np.nan])).MAE is None


def test_the_table_has_the_average_and_the_steps_the_horizon_has() -> None:
    truth = np.zeros((2, 6, 3)) + np.arange(1, 7)[None, :, None]
    table = score_table(np.zeros_like(truth), truth)
    assert list(table["masked"]) == ["average", "step 3", "step 6"]
    assert table["masked"]["step 3"].MAE == 3 and table["masked"]["average"].MAE == 3.5


@given(
    arrays(np.float64, (4, 3, 2), elements=st.floats(-9, 9)),
    arrays(np.float64, (4, 3, 2), elements=st.floats(-9, 9)),
)
def test_window_errors_average_to_the_whole_and_mae_stays_below_rmse(a: np.ndarray, b: np.ndarray) -> None:
    whole = scores(a, b)
    assert window_mae(a, b).mean() == pytest.approx(whole.MAE)
    assert whole.MAE is not None and whole.RMSE is not None and whole.MAE <= whole.RMSE + 1e-12


def test_a_window_without_truth_is_nan() -> None:
    truth = np.ones((2, 3, 1))
    truth[1] = 0
    assert np.isnan(window_mae(np.ones((2, 3, 1)), truth, null=0.0)).tolist() == [False, True]
