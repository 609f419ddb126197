"""Splits, scaling, filling and batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.windows import Scaler, Split, Windows, evenly_spaced, hold, interpolate, split_rows


def panel_of(values: np.ndarray) -> SensorPanel:
    values = np.asarray(values, dtype=np.float32)
    if values.ndim == 2:
        values = values[:, :, None]
    times = np.datetime64("2024-01-01T00:00:00") + np.arange(len(values)) * np.timedelta64(3600, "s")
    return SensorPanel(values, times, tuple(f"n{i}" for i in range(values.shape[1])), 3600)


def windows_of(panel: SensorPanel, history: int = 4, horizon: int = 2, **options: object) -> Windows:
    split = split_rows(len(panel.times), history, horizon)
    scaler = Scaler.fit(panel, split, per_node=False)
    return Windows(panel, scaler, history=history, horizon=horizon, slots_per_day=24, **options)  # type: ignore[arg-type]


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 500))
def test_targets_never_cross_a_split_and_every_target_row_is_used(
    history: int, horizon: int, extra: int
) -> None:
    total = (history + horizon) * 5 + extra
    split = split_rows(total, history, horizon)
    for starts, first, last in (
        (split.train(), 0, split.train_end),
        (split.validation(), split.train_end, split.val_end),
        (split.test(), split.val_end, total),
    ):
        targets = starts[:, None] + history + np.arange(horizon)
        if len(starts):
            assert targets.min() >= first and targets.max() == last - 1


def test_few_shot_windows_are_the_most_recent_ones_and_scaling_sees_only_their_rows() -> None:
    panel = panel_of(np.arange(200.0)[:, None] * np.ones(2))
    split = split_rows(200, 4, 2, samples=10)
    assert len(split.train()) == 10 and split.train()[-1] + 6 == split.train_end == 120
    scaler = Scaler.fit(panel, split, per_node=False)
    assert scaler.mean[0, 0] == pytest.approx(np.arange(split.first, 120).mean())
    with pytest.raises(EtudeError, match="500 samples asked for, 115 training windows"):
        split_rows(200, 4, 2, samples=500)


def test_too_few_steps_are_refused_with_the_number_needed() -> None:
    with pytest.raises(EtudeError, match="119 time steps are too few"):
        split_rows(119, 12, 12)
    assert split_rows(120, 12, 12)
    with pytest.raises(EtudeError, match="at least 1"):
        split_rows(100, 0, 3)


def test_the_scaler_never_sees_later_rows() -> None:
    values = np.random.default_rng(0).normal(size=(100, 3))
    changed = values.copy()
    changed[60:] += 1000
    split = split_rows(100, 4, 2)
    a, b = (Scaler.fit(panel_of(v), split, per_node=True) for v in (values, changed))
    np.testing.assert_array_equal(a.mean, b.mean)
    np.testing.assert_array_equal(a.std, b.std)
    restored = a.restore(a.apply(panel_of(values).values)[None, :, :, 0])
    np.testing.assert_allclose(restored[0], values, atol=1e-5)


def test_a_constant_node_is_not_divided_by_zero_and_an_unseen_one_is_named() -> None:
    values = np.random.default_rng(0).normal(size=(100, 2))
    values[:, 1] = 5
    split = split_rows(100, 4, 2)
    assert np.isfinite(
        Scaler.fit(panel_of(values), split, per_node=True).apply(panel_of(values).values)
    ).all()
    values[:60, 1] = np.nan
    with pytest.raises(EtudeError, match="training rows for node n1"):
        Scaler.fit(panel_of(values), split, per_node=True)
    with pytest.raises(EtudeError, match="every training value is the same"):
        Scaler.fit(panel_of(np.ones((100, 2))), split, per_node=False)


def test_a_batch_is_the_slice_of_the_panel() -> None:
    panel = panel_of(np.random.default_rng(0).normal(size=(100, 3)))
    windows = windows_of(panel)
    batch = windows.batch([0, 7])
    scaled = windows.scaler.apply(panel.values)
    np.testing.assert_allclose(batch["window"][1], scaled[7:11], rtol=1e-6)
    np.testing.assert_allclose(batch["target"][1], scaled[11:13, :, 0], rtol=1e-6)
    assert batch["slot"].tolist() == [3, 10] and batch["weekday"].tolist() == [0, 0]
    np.testing.assert_array_equal(windows.truth(np.array([7]))[0], panel.values[11:13, :, 0])
    assert np.isnan(windows.truth(np.array([97]))).any()  # beyond the end


def test_missing_inputs_are_zero_and_marked_and_missing_targets_stay_missing() -> None:
    values = np.random.default_rng(0).normal(5, 1, size=(100, 2))
    values[6, 1] = np.nan
    windows = windows_of(panel_of(values), mask_feature=True)
    batch = windows.batch([5, 2])
    assert batch["window"].shape == (2, 4, 2, 2)
    assert batch["window"][0, 1, 1].tolist() == [0.0, 0.0] and batch["window"][0, 1, 0, 1] == 1
    assert torch.isnan(batch["target"][1, 0, 1]) and torch.isfinite(batch["target"][1, 0, 0])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=40, max_size=40),
    st.sampled_from(["forward", "linear"]),
)
def test_filling_uses_nothing_after_the_issue_time(series: list[float | None], fill: str) -> None:
    values = np.array([np.nan if v is None else v for v in series])[:, None] * np.ones(2)
    values[:3] = [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    start, history = 20, 8
    cut = values.copy()
    cut[start + history :] = np.random.default_rng(0).normal(size=(12, 2))  # another future
    scaler = Scaler(np.zeros((1, 1)), np.ones((1, 1)))

    def window(v: np.ndarray) -> np.ndarray:
        made = Windows(panel_of(v), scaler, history=history, horizon=2, slots_per_day=24, fill=fill)  # type: ignore[arg-type]
        return made.inputs([start])["window"].numpy()

    np.testing.assert_array_equal(window(values), window(cut))


def test_a_line_is_drawn_across_an_inner_gap_and_the_value_held_at_the_end() -> None:
    values = np.array([0, 1, np.nan, np.nan, 4, np.nan, np.nan, 9], dtype=np.float32)[:, None]
    assert hold(values)[:, 0].tolist() == [0, 1, 1, 1, 4, 4, 4, 9]
    line, ready = interpolate(values)
    np.testing.assert_allclose(line[2:4, 0], [2, 3])
    assert ready[2, 0] == 4 and ready[5, 0] == 7
    padded = np.concatenate([values, np.ones((52, 1), dtype=np.float32)])
    scaler = Scaler(np.zeros((1, 1)), np.ones((1, 1)))
    windows = Windows(panel_of(padded), scaler, history=6, horizon=1, slots_per_day=24, fill="linear")
    assert windows.inputs([1])["window"][0, :, 0, 0].tolist() == [1, 2, 3, 4, 4, 4]
    assert windows.inputs([2])["window"][0, :, 0, 0].tolist() == pytest.approx(
        [2, 3, 4, 5 + 2 / 3, 7 + 1 / 3, 9]
    )


def test_evenly_spaced_windows_reach_from_first_to_last() -> None:
    starts = np.arange(50, 90)
    some = evenly_spaced(starts, 7)
    assert len(some) == 7 and some[0] == 50 and some[-1] == 89
    np.testing.assert_array_equal(evenly_spaced(starts, 100), starts)


def test_a_null_is_masked_in_inputs_but_kept_in_the_truth() -> None:
    values = np.random.default_rng(0).normal(50, 5, size=(100, 2))
    values[10, 0] = 0
    windows = windows_of(replace(panel_of(values), null=0.0))
    assert windows.inputs([8])["window"][0, 2, 0, 0] == 0
    assert torch.isnan(windows.batch([6])["target"][0, 0, 0]) and windows.truth(np.array([6]))[0, 0, 0] == 0


def test_split_is_plain_data() -> None:
    assert split_rows(100, 4, 2) == Split(0, 60, 80, 100, 4, 2)
