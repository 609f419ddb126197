"""Scores against scikit-learn, the corrected t against its formula, splits that keep groups whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from etude.errors import EtudeError
from etude.methods.conspemollm.linear_head import fit_head
from etude.methods.conspemollm.metrics import area_under_curve, calibration_error, scores_of
from etude.methods.conspemollm.resampled_t import corrected_resampled_t
from etude.methods.conspemollm.shuffling import other_rows
from etude.methods.conspemollm.splits import cross_topic, grouped_folds
from etude.methods.conspemollm.tasks import task_named


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=40))
def test_scores_of_one_label_are_those_of_scikit_learn(pairs):
    true, said = zip(*pairs, strict=True)
    found = scores_of(task_named("intention"), [(t,) for t in true], [(s,) for s in said])
    options = {"average": "macro", "zero_division": 0}
    assert found.accuracy.value == pytest.approx(sk.accuracy_score(true, said))
    assert found.macro_f1.value == pytest.approx(sk.f1_score(true, said, **options))
    assert found.macro_precision == pytest.approx(sk.precision_score(true, said, **options))
    assert found.macro_recall == pytest.approx(sk.recall_score(true, said, **options))
    assert found.weighted_f1.value == pytest.approx(
        sk.f1_score(true, said, average="weighted", zero_division=0)
    )
    assert found.weighted_precision == pytest.approx(
        sk.precision_score(true, said, average="weighted", zero_division=0)
    )


def test_scores_of_label_lists_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    true, said = rng.random((60, 2)) < 0.5, rng.random((60, 2)) < 0.5
    rows = [[tuple(np.flatnonzero(row)) for row in table] for table in (true, said)]
    found = scores_of(task_named("topic"), *rows)
    assert found.macro_f1.value == pytest.approx(sk.f1_score(true, said, average="macro"))
    assert found.accuracy.value == pytest.approx(sk.accuracy_score(true, said))


def test_an_invalid_answer_is_wrong_and_no_class():
    found = scores_of(task_named("judgment"), [(0,), (0,), (1,)], [None, (0,), (1,)])
    assert found.invalid == 1 and found.accuracy.value == pytest.approx(2 / 3)
    assert found.by_class["0. non-conspiracy"] == pytest.approx(2 / 3)  # one missed, none falsely named


def test_texts_of_one_group_widen_the_interval():
    true, said = [(0,), (1,)] * 40, [(0,), (0,)] * 40
    apart = scores_of(task_named("judgment"), true, said)
    together = scores_of(task_named("judgment"), true, said, groups=[row // 20 for row in range(80)])
    wrong = [(0,)] * 40 + [(1,)] * 40
    rough = scores_of(task_named("judgment"), wrong, [(0,)] * 80, groups=[row // 20 for row in range(80)])
    assert apart.groups == 80 and together.groups == 4
    assert rough.accuracy.high - rough.accuracy.low > apart.accuracy.high - apart.accuracy.low


def test_areas_and_calibration_have_their_known_values():
    each = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    true = [(0,), (0,), (1,), (1,)]
    assert area_under_curve(true, each) == 1.0
    assert area_under_curve([(0,)] * 4, each) is None
    # confidences 0.9, 0.8, 0.7 right and 0.6 wrong, each in a bin of its own
    assert calibration_error(true, each) == pytest.approx((0.1 + 0.2 + 0.3 + 0.6) / 4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=25), st.floats(0.05, 1))
def test_the_corrected_t_is_nadeau_and_bengios(differences, share):
    found = corrected_resampled_t(differences, share)
    d, count = np.array(differences), len(differences)
    error = np.sqrt((1 / count + share) * d.var(ddof=1))
    assert found.error == pytest.approx(error)
    if error > 1e-9:
        assert found.p_value == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, count - 1))
        assert found.low == pytest.approx(d.mean() - stats.t.ppf(0.975, count - 1) * error)
        plain = stats.ttest_1samp(d, 0)
        assert found.p_value >= plain.pvalue - 1e-12  # overlapping training sets make it more careful


def test_verdicts_follow_the_interval():
    assert corrected_resampled_t([0.10, 0.11, 0.12, 0.10], 0.25).verdict == "supported"
    assert corrected_resampled_t([-0.10, -0.11, -0.12, -0.10], 0.25).verdict == "not supported"
    assert corrected_resampled_t([0.1, -0.1, 0.2, -0.15], 0.25).verdict == "inconclusive"
    assert corrected_resampled_t([0.3], 0.25).verdict == "inconclusive"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 5), st.integers(1, 3))
def test_folds_keep_groups_whole_and_test_every_row_once(seed, folds, repeats):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 40, 90)
    labels = np.array([group % 2 for group in groups])
    splits = grouped_folds(labels.tolist(), groups.tolist(), folds=folds, repeats=repeats, seed=seed)
    assert len(splits) == folds * repeats
    for split in splits:
        assert not set(groups[split.train]) & set(groups[split.test])
    for repeat in range(repeats):
        tested = np.concatenate([s.test for s in splits[repeat * folds : (repeat + 1) * folds]])
        assert sorted(tested) == list(range(90))


def test_a_smaller_training_set_keeps_the_test_set():
    labels, groups = [row % 2 for row in range(60)], list(range(60))
    whole = grouped_folds(labels, groups, folds=5, repeats=1)
    small = grouped_folds(labels, groups, folds=5, repeats=1, size=10)
    for a, b in zip(whole, small, strict=True):
        assert (a.test == b.test).all() and len(b.train) == 10 and set(b.train) <= set(a.train)


def test_too_few_groups_for_the_folds_are_refused():
    with pytest.raises(EtudeError, match="2 groups of the rarest class"):
        grouped_folds([0] * 10 + [1, 1], list(range(12)), folds=5, repeats=1)


def test_other_topics_are_tested_without_groups_that_touch_them():
    splits = cross_topic(["a", "a", "b", "b", ""], [0, 1, 1, 2, 3])
    assert {split.name: (split.train.tolist(), split.test.tolist()) for split in splits} == {
        "a to b": ([0], [2, 3]),
        "b to a": ([3], [0, 1]),
    }


def test_a_head_finds_what_separates_the_classes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5))
    y = [(int(row[0] + 0.1 * row[1] > 0),) for row in x]
    head = fit_head(x, y, 3, multi_label=False)
    each = head.probabilities(x)
    assert each.sum(1) == pytest.approx(1) and each[:, 2].max() < 1e-6  # a class that never occurred
    assert np.mean(each.argmax(1) == np.array([row[0] for row in y])) > 0.95
    back = type(head).of_tensors("judgment", head.tensors("judgment"), False)
    assert (back.probabilities(x) == each).all()
    many = fit_head(x, [tuple(np.flatnonzero(row[:2] > 0)) for row in x], 2, multi_label=True).probabilities(
        x
    )
    assert np.mean((many > 0.5) == (x[:, :2] > 0)) > 0.95


def test_one_class_alone_cannot_be_learned():
    with pytest.raises(EtudeError, match="same class"):
        fit_head(np.zeros((3, 2)), [(1,)] * 3, 2, multi_label=False)


@given(st.integers(0, 60), st.integers(0, 5))
def test_a_control_gives_every_row_what_belongs_to_another(count, seed):
    rows = other_rows(count, seed)
    assert sorted(rows.tolist()) == list(range(count))
    assert count == 1 or not (rows == np.arange(count)).any()
