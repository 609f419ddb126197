"""`convert`: published arrays and frames become plain tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.stg_llm.panel import SensorPanel, frequency_name, time_name
from etude.methods.stg_llm.panel_reader import read_panel
from etude.render import table
from etude.runs import atomic_path


@dataclass(frozen=True)
class ConvertResult:
    """What was written.

    Attributes:
        out: The table.
        steps, nodes, features: Its size.
        first, last, frequency: Its time axis.
        missing: Share of cells without a measurement.
        notices: What the reader did.
    """

    out: str
    steps: int
    nodes: int
    features: int
    first: str
    last: str
    frequency: str
    missing: float
    notices: tuple[str, ...] = ()

    def __rich__(self) -> Any:
        """Size and time axis."""
        from rich.console import Group

        rows: list[list[Any]] = [
            ["steps x nodes x features", f"{self.steps} x {self.nodes} x {self.features}"],
            ["time", f"{self.first} to {self.last}, every {self.frequency}"],
            ["missing", f"{100 * self.missing:.2f} %"],
            ["written", self.out],
        ]
        return Group(table(["stg-llm convert", ""], rows), *self.notices)


@verb
def convert(
    source: Path,
    *,
    out: Path,
    feature: str | None = None,
    start: str | None = None,
    freq: str | None = None,
    time: str = "time",
    null: float | None = None,
) -> ConvertResult:
    """Turn a PEMS .npz, a METR-LA .h5 or any readable panel into a CSV or Parquet table.

    Args:
        source: NPZ with data (T, N[, F]), HDF5 wide frame, CSV, TSV or Parquet.
        out: Table to write (.csv or .parquet): wide for one feature, long for several.
        feature: Keep one: an index, or flow, occupancy, speed in PEMS arrays.
        start: Time of the first row, for NPZ.
        freq: Step between rows, for NPZ.
        time: Name of the time column.
        null: Write this number as missing.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise EtudeError(
            f"--out {out}: a panel is written as .csv or .parquet", "for example --out pems08.parquet"
        )
    panel = read_panel(source, time=time, freq=freq, start=start, feature=feature, null=null)
    frame = panel_table(panel)
    with atomic_path(out) as part:
        if out.suffix == ".csv":
            frame.write_csv(part)
        else:
            frame.write_parquet(part)
    steps, nodes, features = panel.values.shape
    return ConvertResult(
        out=str(out),
        steps=steps,
        nodes=nodes,
        features=features,
        first=time_name(panel.times[0]),
        last=time_name(panel.times[-1]),
        frequency=frequency_name(panel.step),
        missing=float(1 - panel.observed.mean()),
        notices=panel.notices,
    )


def panel_table(panel: SensorPanel) -> pl.DataFrame:
    """Wide with one feature (`time` or `t`, then a column a node), else long (`time,node,value,feature`)."""
    values = np.where(panel.observed, panel.values, np.float32(np.nan))
    name = "time" if panel.has_calendar else "t"
    times = [time_name(t) for t in panel.times] if panel.has_calendar else panel.times.tolist()
    steps, nodes, features = values.shape
    if features == 1:
        wide = {name: times} | {node: values[:, i, 0] for i, node in enumerate(panel.nodes)}
        return pl.DataFrame(wide).with_columns(pl.exclude(name).fill_nan(None))
    long = {
        name: [t for t in times for _ in range(nodes * features)],
        "node": [n for n in panel.nodes for _ in range(features)] * steps,
        "value": values.reshape(-1),
        "feature": [str(f) for f in range(features)] * (steps * nodes),
    }
    return pl.DataFrame(long).with_columns(pl.col("value").fill_nan(None))
