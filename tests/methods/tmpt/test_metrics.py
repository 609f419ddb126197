"""Scores against scikit-learn, and absent classes as zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from etude.methods.tmpt.metrics import group_confusions, macro_f1, score


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_every_score_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    found = score(truth, predicted, ["a", "b", "c"], ["g"] * len(truth))
    options = {"labels": [0, 1, 2], "zero_division": 0}
    assert found.macro_f1 == pytest.approx(f1_score(truth, predicted, average="macro", **options))
    assert found.weighted_f1 == pytest.approx(f1_score(truth, predicted, average="weighted", **options))
    assert found.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert found.confusion == confusion_matrix(truth, predicted, labels=[0, 1, 2]).tolist()
    assert found.ci95 is None, "of one group nothing is known"


def test_a_class_that_is_absent_counts_as_zero() -> None:
    truth = np.zeros(4, dtype=np.int64)
    assert macro_f1(truth, truth, 4) == 0.25


def test_the_interval_is_over_groups_not_rows() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.integers(0, 2, 20), 30)
    predicted = np.where(np.repeat(rng.random(20) < 0.7, 30), truth, 1 - truth)
    by_group = score(truth, predicted, ["a", "b"], [str(i // 30) for i in range(600)]).ci95
    by_row = score(truth, predicted, ["a", "b"], [str(i) for i in range(600)]).ci95
    assert by_group is not None
    assert by_row is not None
    assert by_group[1] - by_group[0] > 2 * (by_row[1] - by_row[0])


def test_counts_by_group_add_up() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 3, (2, 50))
    groups = [f"v{i % 7}" for i in range(50)]
    counts = group_confusions(truth, predicted, groups, 3)
    assert counts.shape == (7, 3, 3)
    assert (counts.sum(0) == confusion_matrix(truth, predicted, labels=[0, 1, 2])).all()
