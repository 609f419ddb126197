"""Forecasters from other packages, offered where they are installed: statsforecast per node, Chronos zero-
shot.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.stg_llm.baselines import Predictor
from etude.methods.stg_llm.windows import Split, Windows

CONTEXT = 512
LONGEST_SEASON = 24  # ARIMA and ETS with longer seasons take minutes a series
CHRONOS_MODEL = "amazon/chronos-bolt-small"
SLOW = ("auto-arima", "auto-ets")  # a model search for every node and window: only by name, never under `all`
PACKAGES = {
    "seasonal-naive": "statsforecast",
    "auto-arima": "statsforecast",
    "auto-ets": "statsforecast",
    "chronos": "chronos",
}


def installed() -> list[str]:
    """The optional baselines that this environment can run."""
    return [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]


def optional_baseline(name: str, windows: Windows, split: Split) -> Predictor:
    """A predictor by name, in z-scores like every baseline.

    Raises:
        EtudeError: If its package is missing.
    """
    if name not in installed():
        raise EtudeError(
            f"the baseline {name} needs the package {PACKAGES[name]}", "pip install 'etude[forecasting]'"
        )
    return _chronos(windows) if name == "chronos" else _statsforecast(name, windows)


def _context(windows: Windows, start: int) -> NDArray[np.float32]:
    """Up to 512 values before the forecast is issued, gaps held, (C, N)."""
    end = start + windows.history
    return windows.held.numpy()[max(0, end - CONTEXT) : end, :, 0]


def _season(windows: Windows) -> int:
    """Steps of a day for sub-daily data, of a week for daily data, else 1."""
    step = windows.panel.step
    if step is None or step > 86_400:
        return 1
    return 7 if step == 86_400 else 86_400 // step


def _statsforecast(name: str, windows: Windows) -> Predictor:
    from statsforecast import models

    season = _season(windows)
    if name != "seasonal-naive" and season > LONGEST_SEASON:
        season = 1

    def forecast(series: NDArray[np.float64]) -> NDArray[np.float64]:
        periods = 1 if name == "seasonal-naive" else 2
        usable = season if len(series) >= periods * season else 1
        kind: Any = {"seasonal-naive": "SeasonalNaive", "auto-arima": "AutoARIMA", "auto-ets": "AutoETS"}[
            name
        ]
        model = getattr(models, kind)(season_length=usable)
        return np.asarray(model.forecast(y=series, h=windows.horizon)["mean"])

    def predict(starts: NDArray[np.int64]) -> NDArray[np.float32]:
        found = [
            np.stack(
                [forecast(series.astype(np.float64)) for series in _context(windows, int(start)).T], axis=1
            )
            for start in starts
        ]
        return np.stack(found).astype(np.float32)

    return predict


def _chronos(windows: Windows) -> Predictor:
    import torch
    from chronos import BaseChronosPipeline

    pipeline: Any = BaseChronosPipeline.from_pretrained(CHRONOS_MODEL)

    def predict(starts: NDArray[np.int64]) -> NDArray[np.float32]:
        found = []
        for start in starts:
            series = torch.from_numpy(_context(windows, int(start)).T.copy())
            _, mean = pipeline.predict_quantiles(
                series, prediction_length=windows.horizon, quantile_levels=[0.5]
            )
            found.append(mean.numpy().T)
        return np.stack(found).astype(np.float32)

    return predict
