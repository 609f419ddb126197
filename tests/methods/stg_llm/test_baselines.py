"""Baselines against closed forms, scikit-learn, and processes they must recover."""

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from etude.errors import EtudeError
from etude.methods.stg_llm import baselines
from etude.methods.stg_llm.baselines import BASELINES
from etude.methods.stg_llm.evaluation import baseline_names
from etude.methods.stg_llm.optional_baselines import PACKAGES, optional_baseline
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.windows import Scaler, Split, Windows, split_rows

HISTORY, HORIZON = 3, 2


def setup(values: np.ndarray, step: int = 3600) -> tuple[Windows, Split]:
    times = np.datetime64("2024-01-01T00:00:00") + np.arange(len(values)) * np.timedelta64(step, "s")
    nodes = tuple(f"n{i}" for i in range(values.shape[1]))
    panel = SensorPanel(values[:, :, None].astype(np.float32), times, nodes, step)
    split = split_rows(len(values), HISTORY, HORIZON)
    scaler = Scaler(np.zeros((1, 1)), np.ones((1, 1)))
    slots = panel.natural_slots()
    return Windows(panel, scaler, history=HISTORY, horizon=HORIZON, slots_per_day=slots), split


def noise(rows: int = 300, nodes: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, nodes)).cumsum(axis=0)


def test_persistence_repeats_the_last_known_value() -> None:
    values = noise()
    values[50, 1] = np.nan
    windows, split = setup(values)
    found = baselines.persistence(windows, split)(np.array([48]))
    np.testing.assert_allclose(found[0, :, 0], values[50, 0], rtol=1e-5)
    np.testing.assert_allclose(found[0, :, 1], values[49, 1], rtol=1e-5)


def test_the_historical_average_is_the_training_mean_by_hour_of_week_or_of_day() -> None:
    for weeks, weekly in ((1, False), (6, True)):
        hours = np.arange(weeks * 168)
        values = noise(len(hours), 2) + 10 * np.sin(hours / 24)[:, None]
        windows, split = setup(values)
        start = int(split.test()[5])
        found = baselines.historical_average(windows, split)(np.array([start]))
        row = start + HISTORY + 1
        period = 168 if weekly else 24
        train = np.arange(split.train_end)
        expected = values[train[train % period == row % period]].mean(axis=0)
        np.testing.assert_allclose(found[0, 1], expected, rtol=1e-4, atol=1e-4)


def test_the_historical_average_reaches_beyond_the_panel() -> None:
    values = (np.arange(480) % 24.0)[:, None] * np.ones(2)
    windows, split = setup(values)
    found = baselines.historical_average(windows, split)(np.array([480 - HISTORY]))
    np.testing.assert_allclose(found[0, :, 0], [0, 1], atol=1e-5)


def test_ridge_agrees_with_scikit_learn_at_the_chosen_penalty(monkeypatch: pytest.MonkeyPatch) -> None:
    values = noise()
    windows, split = setup(values)
    monkeypatch.setattr(baselines, "PENALTIES", (0.01,))
    starts = split.test()[:20]
    train = split.train()
    inputs = np.stack([values[s : s + HISTORY] for s in train])  # (W, L, N)
    targets = np.stack([values[s + HISTORY : s + HISTORY + HORIZON] for s in train])

    def fit(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        x1 = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        model = Ridge(alpha=0.01 * len(x), fit_intercept=False).fit(x1, y)
        return lambda z: model.predict(np.concatenate([z, np.ones((len(z), 1))], axis=1))

    shared = fit(
        inputs.transpose(0, 2, 1).reshape(-1, HISTORY), targets.transpose(0, 2, 1).reshape(-1, HORIZON)
    )
    own = [fit(inputs[:, :, n], targets[:, :, n]) for n in range(3)]
    joint = fit(
        inputs.transpose(0, 2, 1).reshape(len(train), -1), targets.transpose(0, 2, 1).reshape(len(train), -1)
    )
    test = np.stack([values[s : s + HISTORY] for s in starts])
    expected = {
        "ridge-shared": np.stack([shared(test[:, :, n]) for n in range(3)], axis=2),
        "ridge-per-node": np.stack([own[n](test[:, :, n]) for n in range(3)], axis=2),
        "var-ridge": joint(test.transpose(0, 2, 1).reshape(20, -1))
        .reshape(20, 3, HORIZON)
        .transpose(0, 2, 1),
    }
    for name, forecast in expected.items():
        np.testing.assert_allclose(BASELINES[name](windows, split)(starts), forecast, rtol=1e-3, atol=1e-3)


def test_a_vector_autoregression_is_recovered_by_var_and_not_by_single_nodes() -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((800, 2))
    for t in range(1, 800):
        values[t, 0] = rng.normal()
        values[t, 1] = 0.9 * values[t - 1, 0] + 0.01 * rng.normal()
    windows, split = setup(values)
    starts = split.test()
    truth = windows.truth(starts)[:, 0, 1]
    errors = {n: np.abs(BASELINES[n](windows, split)(starts)[:, 0, 1] - truth).mean() for n in BASELINES}
    assert errors["var-ridge"] < 0.05 and errors["ridge-per-node"] > 0.5


def test_no_baseline_looks_at_test_rows() -> None:
    values = noise()
    values[7, 0] = np.nan
    changed = values.copy()
    starts = np.array([200])
    changed[240:] += 100
    for name, fit in BASELINES.items():
        found = [fit(*setup(v))(starts) for v in (values, changed)]
        np.testing.assert_array_equal(found[0], found[1], err_msg=name)
        assert np.isfinite(found[0]).all()


def test_missing_targets_do_not_pull_ridge_to_zero() -> None:
    values = 10 + 0.1 * noise()
    values[:170:3, 0] = np.nan
    windows, split = setup(values)
    for name in ("ridge-shared", "ridge-per-node", "var-ridge"):
        assert BASELINES[name](windows, split)(split.test()[:5])[:, :, 1].min() > 5, name


def test_unknown_and_uninstalled_baselines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert baseline_names("ridge-shared, persistence") == ["ridge-shared", "persistence"]
    assert set(BASELINES) <= set(baseline_names("all"))
    with pytest.raises(EtudeError, match="no baseline crystal-ball"):
        baseline_names("crystal-ball")
    monkeypatch.setattr("etude.methods.stg_llm.optional_baselines.installed", list)
    for name in PACKAGES:
        with pytest.raises(EtudeError, match="needs the package"):
            optional_baseline(name, *setup(noise()))


@pytest.mark.skipif(
    importlib.util.find_spec("statsforecast") is None, reason="statsforecast is not installed"
)
def test_statsforecast_forecasts_a_season() -> None:
    values = (np.arange(1500) % 288.0)[:, None] * np.ones(2)
    windows, split = setup(values, step=300)
    found = optional_baseline("seasonal-naive", windows, split)(split.test()[:3])
    np.testing.assert_allclose(found, windows.truth(split.test()[:3]), atol=1e-3)
