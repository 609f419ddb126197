"""`forecast`: the next P steps at every node, as a table and, if asked, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.stg_llm.forecaster import STGForecaster
from etude.methods.stg_llm.model_folder import load_network, read_folder
from etude.methods.stg_llm.panel import SensorPanel, time_name
from etude.methods.stg_llm.panel_reader import read_panel
from etude.methods.stg_llm.prompts import read_events
from etude.methods.stg_llm.windows import Windows
from etude.render import table
from etude.runs import atomic_path

BATCH = 32


@dataclass(frozen=True)
class ForecastResult:
    """Where the forecast went and how it begins.

    Attributes:
        out: The table written.
        issued: Number of forecasts.
        first_issued, last_issued: Times of the first and the last.
        rows: Rows written.
        preview: Node, time, prediction of the last forecast's first nodes.
        page: The page written, if any.
    """

    out: str
    issued: int
    first_issued: str
    last_issued: str
    rows: int
    preview: tuple[tuple[str, str, float], ...]
    page: str | None = None

    def __rich__(self) -> Any:
        """The preview and where the rest is."""
        from rich.console import Group

        title = f"{self.issued} forecast(s), the last issued {self.last_issued}"
        where = f"{self.rows} rows in {self.out}" + (f", page {self.page}" if self.page else "")
        return Group(
            table(["node", "time", "prediction"], [list(r) for r in self.preview], title=title), where
        )


@verb
def forecast(
    checkpoint: Path,
    panel: Path,
    *,
    out: Path,
    start: str | None = None,
    last: bool = False,
    events: Path | None = None,
    edges: Path | None = None,
    stations: Path | None = None,
    page: Path | None = None,
    time: str = "time",
    freq: str | None = None,
) -> ForecastResult:
    """Forecast with a trained model: after the last row, or again and again from a past time on.

    Args:
        checkpoint: Folder that `train` wrote.
        panel: The data; it needs the nodes of the training, in any order.
        out: Table to write, long: issued_at, step, time, node, prediction and, where known, target (.csv or
            .parquet).
        start: Issue the first forecast at this time and one every horizon after it, up to the end.
        last: Issue one forecast after the last row (the default when --start is not given).
        events: JSONL of events, for models trained with an event prompt.
        edges: Graph to draw on the page.
        stations: Table node,lat,lon to place nodes on the page.
        page: Also write an HTML page with lines and a map.
        time: Name of the time column.
        freq: Expected frequency.

    Raises:
        EtudeError: For other nodes than in training, a time the panel does not have, or too few rows before
            it.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise EtudeError(f"--out {out}: a forecast is a .csv or .parquet table", "for example --out next.csv")
    if start is not None and last:
        raise EtudeError("--start and --last contradict each other", "give one of them")
    forecaster = read_folder(checkpoint)
    data = read_panel(panel, time=time, edges=edges, freq=freq, null=forecaster.null, units=forecaster.units)
    data = forecaster.fit_panel(data)
    prompts = forecaster.prompts(data, read_events(events, data) if events else ())
    windows = forecaster.windows(data, prompts)
    network = load_network(checkpoint, forecaster, prompts)
    starts = issue_starts(data, start, windows.history, windows.horizon)
    prediction = predict(network, windows, starts)
    rows = forecast_table(data, windows, starts, prediction)
    with atomic_path(out) as part:
        if out.suffix == ".csv":
            rows.write_csv(part)
        else:
            rows.write_parquet(part)
    if page is not None:
        from etude.methods.stg_llm.plots import forecast_page, place_nodes

        forecast_page(page, data, windows, starts, prediction, places=place_nodes(data, stations))
    final = rows.filter(pl.col("issued_at") == rows["issued_at"][-1])
    preview = final.filter(pl.col("step") == 1).head(8)
    return ForecastResult(
        out=str(out),
        issued=len(starts),
        first_issued=str(rows["issued_at"][0]),
        last_issued=str(rows["issued_at"][-1]),
        rows=len(rows),
        preview=tuple(
            (str(r["node"]), str(r["time"]), round(float(r["prediction"]), 4))
            for r in preview.iter_rows(named=True)
        ),
        page=None if page is None else str(page),
    )


def issue_starts(panel: SensorPanel, start: str | None, history: int, horizon: int) -> NDArray[np.int64]:
    """Window starts: one forecast after the last row, or one at `start` and every `horizon` rows after it."""
    total = len(panel.times)
    issued = total - 1 if start is None else panel.row_of(start)
    if issued + 1 < history:
        earliest = time_name(panel.times[history - 1]) if total >= history else "none"
        raise EtudeError(
            f"only {issued + 1} rows up to {time_name(panel.times[issued])}, the model reads {history}",
            f"the earliest possible time is {earliest}",
        )
    return np.arange(issued, total, horizon) - history + 1


def predict(network: STGForecaster, windows: Windows, starts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Forecasts in units, (W, P, N)."""
    device = next(network.parameters()).device
    network.eval()
    found = []
    with torch.inference_mode():
        for first in range(0, len(starts), BATCH):
            batch = {k: v.to(device) for k, v in windows.inputs(starts[first : first + BATCH]).items()}
            found.append(network(**batch)["prediction"].float().cpu().numpy())
    return windows.scaler.restore(np.concatenate(found))


def forecast_table(
    panel: SensorPanel, windows: Windows, starts: NDArray[np.int64], prediction: NDArray[np.float32]
) -> pl.DataFrame:
    """Long rows `issued_at, step, time, node, prediction, target` (target empty where the truth is not
    known).
    """
    count, horizon, nodes = prediction.shape
    issued = starts + windows.history - 1
    times = np.concatenate([panel.times, panel.future_times(horizon)])
    ahead = issued[:, None] + 1 + np.arange(horizon)
    truth = windows.truth(starts)
    if panel.null is not None:
        truth = np.where(truth == np.float32(panel.null), np.float32(np.nan), truth)
    columns: dict[str, Any] = {
        "issued_at": np.repeat(_column(times[issued]), horizon * nodes),
        "step": np.tile(np.repeat(np.arange(1, horizon + 1), nodes), count),
        "time": np.repeat(_column(times[ahead].reshape(-1)), nodes),
        "node": list(panel.nodes) * (count * horizon),
        "prediction": prediction.reshape(-1),
        "target": truth.reshape(-1),
    }
    return pl.DataFrame(columns).with_columns(pl.col("target").fill_nan(None))


def _column(times: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """Times as ISO text, or step counters as they are."""
    array = np.asarray(times)
    return np.array([time_name(t) for t in array]) if array.dtype.kind == "M" else array
