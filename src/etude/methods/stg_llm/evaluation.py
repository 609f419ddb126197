"""`evaluate`: a trained model and the baselines on the same test windows, in the data's units."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.stg_llm.baselines import BASELINES, Predictor
from etude.methods.stg_llm.forecaster import Settings
from etude.methods.stg_llm.forecasting import predict
from etude.methods.stg_llm.metrics import NAMES, score_table
from etude.methods.stg_llm.model_folder import Forecaster, load_network, read_folder
from etude.methods.stg_llm.optional_baselines import PACKAGES, SLOW, installed, optional_baseline
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.panel_reader import read_panel
from etude.methods.stg_llm.prompts import read_events
from etude.methods.stg_llm.training import Training, prepare
from etude.methods.stg_llm.windows import Split, Windows, evenly_spaced
from etude.render import table
from etude.runs import write_json


@dataclass(frozen=True)
class EvaluateResult:
    """Scores of every arm.

    Attributes:
        windows: Test windows, the same for all arms.
        units: Of MAE and RMSE.
        null: Value masked as missing.
        arms: Arm, then `masked` or `unmasked`, then `average` or `step 3` ..., then scores.
        shown: Metrics shown on a terminal.
        masked: Which of the two is shown.
        out: Where all of it was written.
        notices: What a reader should know about the data.
    """

    windows: int
    units: str
    null: float | None
    arms: dict[str, dict[str, dict[str, dict[str, Any]]]]
    shown: tuple[str, ...]
    masked: bool
    out: str | None
    notices: tuple[str, ...] = ()

    def __rich__(self) -> Any:
        """One row an arm, one column for the average and each step."""
        from rich.console import Group

        view = "masked" if self.masked else "unmasked"
        cuts = list(next(iter(self.arms.values()))[view])
        rows = [
            [arm, *[" / ".join(_short(found[view][cut][m]) for m in self.shown) for cut in cuts]]
            for arm, found in self.arms.items()
        ]
        counts = next(iter(self.arms.values()))[view]["average"]
        null = "" if self.null is None else f" (null {self.null:g})"
        mask = (
            f"{view}{null}: {counts['cells']:,} cells counted, {counts['left_out']:,} left out, "
            f"{counts['zeros']:,} zeros without a MAPE"
        )
        units = f", {self.units}" if self.units else ""
        title = f"{' / '.join(self.shown)} on {self.windows} test windows{units}"
        return Group(table(["arm", *cuts], rows, title=title), mask, *self.notices)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


@verb
def evaluate(
    checkpoint: str,
    panel: Path,
    *,
    baselines: str | None = None,
    windows: int | None = None,
    metrics: str = "MAE,RMSE,MAPE",
    mask: bool = True,
    events: Path | None = None,
    history: int = 12,
    horizon: int = 12,
    time: str = "time",
    freq: str | None = None,
    null: float | None = None,
    out: Path | None = None,
) -> EvaluateResult:
    """Score a trained model or a baseline on the test rows (the last fifth).

    Args:
        checkpoint: Model folder, or the name of a baseline.
        panel: The data.
        baselines: Comma-separated names, scored on the same windows. all means those of the library, and
            seasonal-naive and chronos where their packages are installed; auto-arima and auto-ets, which are
            slow, go by name only.
        windows: Only so many, evenly spaced test windows.
        metrics: Metrics to show; the file holds all.
        mask: Show scores without the null value; the file holds both.
        events: JSONL of events, for models trained with an event prompt.
        history: Steps read, where no model folder says it.
        horizon: Steps forecast, where no model folder says it.
        time: Name of the time column.
        freq: Expected frequency.
        null: The number that stands for missing, where no model folder says it.
        out: JSON to write; metrics.json in the model folder by default.

    Raises:
        EtudeError: For unknown baselines or metrics, or a panel that does not fit the model.
    """
    shown = tuple(m.strip().upper() for m in metrics.split(",") if m.strip())
    if not shown or set(shown) - set(NAMES):
        raise EtudeError(f"--metrics {metrics!r}", f"choose among {', '.join(NAMES)}")
    names = baseline_names(baselines)
    folder = None if _is_baseline(checkpoint) else Path(checkpoint)
    if folder is None:
        data = read_panel(panel, time=time, freq=freq, null=null)
        names = [checkpoint, *[n for n in names if n != checkpoint]]
        forecaster = prepare(data, _plain_settings(data, history, horizon), Training())
        grid = forecaster.windows(data)
        split = forecaster.split
    else:
        forecaster = read_folder(folder)
        data = read_panel(panel, time=time, freq=freq, null=forecaster.null, units=forecaster.units)
        data = forecaster.fit_panel(data)
        prompts = forecaster.prompts(data, read_events(events, data) if events else ())
        grid = forecaster.windows(data, prompts)
        split = _same_split(forecaster, data)
    starts = evenly_spaced(split.test(), windows)
    predictions: dict[str, NDArray[np.float32]] = {}
    if folder is not None:
        arm = f"STG-LLM ({forecaster.settings.backbone})"
        predictions[arm] = predict(load_network(folder, forecaster, grid.ids), grid, starts)
    for name in names:
        predictions[name] = baseline_forecasts(name, grid, split, starts)
    truth = grid.truth(starts)
    arms = {
        arm: {
            view: {cut: asdict(found) for cut, found in cuts.items()}
            for view, cuts in score_table(prediction, truth, null=data.null).items()
        }
        for arm, prediction in predictions.items()
    }
    target = out or (folder / "metrics.json" if folder else None)
    if target is not None:
        write_json(target, {"windows": len(starts), "units": data.units, "null": data.null, "arms": arms})
    return EvaluateResult(
        windows=len(starts),
        units=data.units,
        null=data.null,
        arms=arms,
        shown=shown,
        masked=mask,
        out=None if target is None else str(target),
        notices=data.notices,
    )


def baseline_names(text: str | None) -> list[str]:
    """The baselines asked for; `all` includes the quick optional ones whose package is installed."""
    if text is None:
        return []
    if text.strip() == "all":
        return [*BASELINES, *[name for name in installed() if name not in SLOW]]
    names = [n.strip() for n in text.split(",") if n.strip()]
    unknown = [n for n in names if not _is_baseline(n)]
    if unknown:
        raise EtudeError(
            f"no baseline {', '.join(unknown)}", f"choose among all, {', '.join([*BASELINES, *PACKAGES])}"
        )
    return names


def baseline_forecasts(
    name: str, windows: Windows, split: Split, starts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """A baseline's forecasts in units, (W, P, N)."""
    predictor: Predictor
    predictor = (
        BASELINES[name](windows, split) if name in BASELINES else optional_baseline(name, windows, split)
    )
    return windows.scaler.restore(predictor(starts))


def _is_baseline(name: str) -> bool:
    return name in BASELINES or name in PACKAGES


def _plain_settings(panel: SensorPanel, history: int, horizon: int) -> Settings:
    return Settings(
        nodes=len(panel.nodes), backbone="none", history=history, horizon=horizon, slots_per_day=0
    )


def _same_split(forecaster: Forecaster, panel: SensorPanel) -> Split:
    """The split of the training.

    Raises:
        EtudeError: If the panel is another one, so that test rows could be training rows.
    """
    if len(panel.times) != forecaster.split.total:
        raise EtudeError(
            f"the panel has {len(panel.times)} rows, the model was split on {forecaster.split.total}",
            "evaluate on the panel of the training, or use `forecast --start` on later rows",
        )
    return forecaster.split
