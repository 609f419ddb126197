"""`transfer`: a model trained on one network is tuned on few windows of another (paper section 4.4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.stg_llm.evaluation import baseline_forecasts
from etude.methods.stg_llm.forecasting import predict
from etude.methods.stg_llm.metrics import scores
from etude.methods.stg_llm.model_folder import load_network, read_folder
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.panel_reader import read_panel
from etude.methods.stg_llm.training import Training, panel_digest, train_panel
from etude.methods.stg_llm.windows import evenly_spaced
from etude.render import table
from etude.runs import Run, file_hash

COMPARED = ("persistence", "ridge-shared")


@dataclass(frozen=True)
class TransferResult:
    """Test errors by number of training windows.

    Attributes:
        source: The model started from.
        rows: Samples, arm, MAE, RMSE; arms are the transferred model, the same network trained from the start
            on the same windows, and baselines fitted on them.
        units: Of the errors.
        windows: Test windows.
        fresh: Trained parts that could not be taken over.
        out: The run's folder, with one model folder a row.
    """

    source: str
    rows: tuple[tuple[int, str, float, float], ...]
    units: str
    windows: int
    fresh: tuple[str, ...]
    out: str

    def __rich__(self) -> Any:
        """One row an arm and number of samples."""
        from rich.console import Group

        title = f"transfer from {self.source}, {self.windows} test windows" + (
            f", {self.units}" if self.units else ""
        )
        note = f"started afresh on the new network: {', '.join(self.fresh) or 'nothing'}"
        return Group(
            table(["samples", "arm", "MAE", "RMSE"], [list(r) for r in self.rows], title=title), note
        )


@verb
def transfer(
    checkpoint: Path,
    panel: Path,
    *,
    out: Path,
    samples: str = "50,200,1000,2000",
    steps: int = 200,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    windows: int | None = None,
    edges: Path | None = None,
    time: str = "time",
    freq: str | None = None,
    null: float | None = None,
    units: str = "",
    seed: int = 0,
) -> TransferResult:
    """Tune a model on the most recent 50, 200 ... training windows of another network, and compare with
    starting anew.

    Args:
        checkpoint: Folder that `train` wrote, on any network.
        panel: The new network, with the same features and, for meaning, the same frequency.
        out: Folder for the tuned models and the table.
        samples: Numbers of training windows, comma-separated.
        steps: Optimizer steps each.
        batch_size: Windows a step.
        learning_rate: Peak learning rate.
        windows: Only so many, evenly spaced test windows.
        edges: Graph of the new network.
        time: Name of the time column.
        freq: Expected frequency.
        null: The number that stands for missing.
        units: Units of the values.
        seed: Of fresh weights and the order of windows.

    Raises:
        EtudeError: For more samples than there are training windows, or features that differ.
    """
    source = read_folder(checkpoint)
    data = read_panel(panel, time=time, edges=edges, freq=freq, null=null, units=units)
    wanted = _counts(samples)
    _check_features(source.settings.features - source.settings.mask_feature, data)
    config = {
        "checkpoint": file_hash(checkpoint / "model.safetensors"),
        "panel": panel_digest(data),
        "samples": wanted,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "windows": windows,
        "seed": seed,
    }
    rows: list[tuple[int, str, float, float]] = []
    tested = 0
    fresh: tuple[str, ...] = ()
    with Run(out, config, command="stg-llm transfer") as run:
        if run.result is not None:
            return _stored(run.result)
        for count in wanted:
            how = Training(steps=steps, batch_size=batch_size, learning_rate=learning_rate, samples=count)
            settings = replace(source.settings, seed=seed)
            for arm, init in (("transferred", checkpoint), ("from the start", None)):
                folder = run.path / f"{count}-{arm.replace(' ', '-')}"
                trained = train_panel(
                    data, settings, how, out=folder, parts=source.parts, domain=source.domain, init_from=init
                )
                fresh = trained.fresh or fresh
                tuned = read_folder(folder)
                prompts = tuned.prompts(data)
                grid = tuned.windows(data, prompts)
                starts = evenly_spaced(tuned.split.test(), windows)
                tested = len(starts)
                truth = grid.truth(starts)
                found = scores(predict(load_network(folder, tuned, prompts), grid, starts), truth, null=null)
                rows.append((count, arm, found.MAE or 0.0, found.RMSE or 0.0))
            for name in COMPARED:
                found = scores(baseline_forecasts(name, grid, tuned.split, starts), truth, null=null)
                rows.append((count, name, found.MAE or 0.0, found.RMSE or 0.0))
        result = TransferResult(str(checkpoint), tuple(rows), units, tested, fresh, str(out))
        run.complete(asdict(result))
        return result


def _stored(result: dict[str, Any]) -> TransferResult:
    rows = tuple((int(n), str(a), float(m), float(r)) for n, a, m, r in result["rows"])
    return TransferResult(**{**result, "rows": rows, "fresh": tuple(result["fresh"])})


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise EtudeError(f"--samples {text!r}", "give numbers of windows, such as 50,200,1000")
    return counts


def _check_features(expected: int, panel: SensorPanel) -> None:
    if panel.values.shape[2] != expected:
        raise EtudeError(
            f"the model reads {expected} feature(s) a node, the panel has {panel.values.shape[2]}",
            "keep the features of the training with `convert --feature`",
        )
