"""Rates, intervals, conditions and warnings, against reference libraries and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from etude.methods.self_explanations.rates import cells_of, paired_interval
from etude.methods.self_explanations.rows import Row
from etude.methods.self_explanations.variants import Variant


def row(id, *, faithful=True, control=False, kind="attribution", **fields):
    values = {
        "id": str(id), "model": "m", "task": "sentiment", "data": "d", "label": "positive",
        "variant": Variant(kind),
        "answers": "free", "condition": "correct", "predict_prompt": "p", "predict_answer": "a",
        "predict": "positive", "correct": True, "counted": True, "explain": "x", "explain_predict": "unknown",
        "faithful": faithful, "control_faithful": control, "flip": True, "control_flip": False,
    }  # fmt: skip
    return Row(**{**values, **fields})


def test_the_paired_interval_is_the_percentile_bootstrap():
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 300, p=[0.1, 0.5, 0.4])
    found = paired_interval(list(values), seed=1)
    reference = bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=2
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(reference, abs=0.01)
    assert paired_interval(list(values), seed=1) == found
    assert paired_interval([]) is None


def test_only_counted_rows_enter_and_what_is_dropped_is_counted_by_stage():
    rows = [
        *(row(i) for i in range(30)),
        *(row(f"no{i}", faithful=False, explain_predict="positive", flip=False) for i in range(10)),
        row("a", predict=None, correct=None, counted=False, faithful=None),
        row("b", explain=None, faithful=None),
        row("c", explain_predict=None, faithful=None),
        row("d", predict="negative", correct=False, counted=False, faithful=None),
        row("e", faithful=None, error="explain: 503"),
    ]
    [cell] = cells_of(rows)
    assert (cell.n, cell.counted, cell.faithful, cell.errors) == (45, 40, 30, 1)
    assert cell.mismatch == {"predict": 1, "explain": 1, "explain_predict": 1}
    assert cell.faithfulness.value == 0.75
    assert cell.control.value == 0
    assert cell.delta.value == 0.75
    assert cell.failed == ("e",)
    assert cell.flip == 0.75


def test_too_few_unreadable_and_masked_ones_each_give_a_warning_that_names_them():
    few = cells_of([row(i) for i in range(29)])[0].warnings
    assert "only 29 observations are counted; below 30" in few[0]
    unread = [row(f"u{i}", explain=None, faithful=None) for i in range(11)]
    [warning] = cells_of([row(i) for i in range(40)] + unread)[0].warnings
    assert warning == "11 of 51 answers cannot be read at the stage explain"
    [warning] = cells_of([row(i, masked_share=0.6) for i in range(40)])[0].warnings
    assert "60% of the words are masked" in warning
    assert cells_of([row(i, masked_share=0.4) for i in range(40)])[0].warnings == ()
    [warning] = cells_of(
        [row(i) for i in range(40)] + [row("bad", error="predict: too long", faithful=None)]
    )[0].warnings
    assert "bad" in warning


def test_p_values_are_corrected_over_the_grid():
    rows = [
        row(i, kind=kind, faithful=i < 12, control=i >= 36)
        for kind in ("attribution", "redaction")
        for i in range(40)
    ]
    cells = cells_of(rows)
    assert cells[0].p_value == pytest.approx(cells[1].p_value)
    assert cells[0].p_adjusted == pytest.approx(min(1, 2 * cells[0].p_value))


def test_scored_and_free_answers_are_never_one_cell():
    assert len(cells_of([row(1), row(2, answers="scored")])) == 2


def test_counterfactuals_have_no_control():
    [cell] = cells_of(
        [row(i, kind="counterfactual", control=None, edit_ratio=0.5, changed=True) for i in range(3)]
    )
    assert (cell.control, cell.delta, cell.p_value, cell.edit_ratio, cell.changed) == (
        None,
        None,
        None,
        0.5,
        1.0,
    )
