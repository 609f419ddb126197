"""Reading a panel from the tables people have.

Wide tables (`time` + one column a node) and long ones (`time,node,value[,feature]`) as CSV, TSV or Parquet;
`.npz` with `data` (T, N, F) as the PEMS sets are published; HDF5 wide frames as METR-LA is. A missing cell is
NaN, a missing row becomes a row of NaN and is counted, and a time stamp off the grid is refused with its row.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from etude.data import read_frame
from etude.errors import EtudeError
from etude.methods.stg_llm.graph import read_edges
from etude.methods.stg_llm.panel import SensorPanel, frequency_name, parse_frequency, parse_iso, time_name

MISSING = ("", "nan", "na", "null", "none")
PEMS_FEATURES = {"flow": 0, "occupancy": 1, "speed": 2}


def read_panel(
    path: Path | str,
    *,
    time: str = "time",
    edges: Path | None = None,
    freq: str | None = None,
    null: float | None = None,
    start: str | None = None,
    feature: str | None = None,
    units: str = "",
) -> SensorPanel:
    """Read a panel from any of the accepted layouts.

    Args:
        path: `.csv`, `.tsv`, `.parquet` (wide or long), `.npz` or `.h5`.
        time: Name of the time column (`t`, an integer counter, is found by itself).
        edges: `from,to,weight` or `from,to,cost`.
        freq: Expected step, such as `5min`, `1h`, `1d`; inferred when left out.
        null: The number that stands for missing.
        start: Time of the first row, for `.npz`, which carries none.
        feature: Which feature to keep: an index or, for PEMS arrays, flow, occupancy or speed. All are kept
            otherwise.
        units: Units of the values.

    Raises:
        EtudeError: With the first offending row, column or node.
    """
    path = Path(path)
    if not path.is_file():
        raise EtudeError(f"{path}: no such file", "give a CSV, TSV, Parquet, NPZ or HDF5 panel")
    step = parse_frequency(freq) if freq else None
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv", ".parquet"):
        times, nodes, values = _read_table(path, time, feature)
    elif suffix == ".npz":
        times, nodes, values = _read_npz(path, start, step, feature)
    elif suffix in (".h5", ".hdf5", ".hdf"):
        from etude.methods.stg_llm.hdf5 import read_wide_frame

        times, nodes, values = read_wide_frame(path)
    else:
        raise EtudeError(
            f"{path}: cannot read a {suffix or 'nameless'} panel", "use .csv, .tsv, .parquet, .npz or .h5"
        )
    return _assemble(path, times, nodes, values, step=step, edges=edges, null=null, units=units)


def _read_table(
    path: Path, time: str, feature: str | None
) -> tuple[NDArray[Any], list[str], NDArray[np.float64]]:
    frame = read_frame(path)
    if time not in frame.columns:
        if "t" not in frame.columns:
            raise EtudeError(
                f"{path}: no column {time!r}; the columns are {', '.join(frame.columns[:8])} …",
                "name the time column with --time (ISO times, or t with integers)",
            )
        time = "t"
    stamps = _parse_times(path, frame[time])
    if {"node", "value"} <= set(frame.columns):
        return _pivot(path, frame, stamps, feature)
    nodes = [c for c in frame.columns if c != time]
    if not nodes:
        raise EtudeError(
            f"{path}: there is no node column beside {time!r}", "a wide table has one column a node"
        )
    values = np.stack([_numbers(path, frame[n]) for n in nodes], axis=1)
    return stamps, nodes, values[:, :, None]


def _line(path: Path, row: int) -> str:
    return f"{path}: row {row + 1}" if path.suffix.lower() == ".parquet" else f"{path}:{row + 2}"


def _parse_times(path: Path, column: pl.Series) -> NDArray[Any]:
    if column.null_count():
        raise EtudeError(
            f"{_line(path, int(column.is_null().arg_max() or 0))}: {column.name} is empty",
            "every row needs its time",
        )
    if column.dtype.is_integer():
        return column.to_numpy().astype(np.int64)
    if column.dtype.is_temporal():
        return column.cast(pl.Datetime("ms")).to_numpy().astype("datetime64[s]")
    if column.dtype != pl.String:
        raise EtudeError(
            f"{path}: column {column.name} holds {column.dtype}, not times", "write ISO times or integers"
        )
    integers = column.str.strip_chars().cast(pl.Int64, strict=False)
    if not integers.null_count():
        return integers.to_numpy()
    known: dict[str, datetime] = {}
    for row, text in enumerate(column):
        if text not in known:
            try:
                known[text] = parse_iso(text)
            except ValueError:
                raise EtudeError(
                    f"{_line(path, row)}: {column.name} is {text!r}, which is not a time",
                    "use ISO times such as 2012-03-01T00:05",
                ) from None
    return np.array([known[text] for text in column], dtype="datetime64[s]")


def _numbers(path: Path, column: pl.Series) -> NDArray[np.float64]:
    if column.dtype.is_numeric():
        return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if column.dtype != pl.String:
        raise EtudeError(
            f"{path}: column {column.name} holds {column.dtype}, not numbers",
            "keep only the time and the nodes",
        )
    text = column.str.strip_chars()
    numbers = text.cast(pl.Float64, strict=False)
    bad = numbers.is_null() & text.is_not_null() & ~text.str.to_lowercase().is_in(MISSING)
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise EtudeError(
            f"{_line(path, row)}: {column.name} is {column[row]!r}, not a number", "leave missing cells empty"
        )
    return numbers.fill_null(float("nan")).to_numpy()


def _pivot(
    path: Path, frame: pl.DataFrame, stamps: NDArray[Any], feature: str | None
) -> tuple[NDArray[Any], list[str], NDArray[np.float64]]:
    """Long rows `time,node,value[,feature]` to (T, N, F); nodes and features in order of appearance."""
    numbers = _numbers(path, frame["value"])
    nodes = frame["node"].cast(pl.String)
    features = (
        frame["feature"].cast(pl.String)
        if "feature" in frame.columns
        else pl.Series(["value"]).new_from_index(0, len(frame))
    )
    if feature is not None:
        keep = (features == feature).to_numpy()
        if not keep.any():
            raise EtudeError(
                f"{path}: no feature {feature!r}", f"it has {', '.join(features.unique().to_list()[:10])}"
            )
        numbers, stamps, nodes, features = (
            numbers[keep],
            stamps[keep],
            nodes.filter(keep),
            features.filter(keep),
        )
    node_names = nodes.unique(maintain_order=True).to_list()
    feature_names = features.unique(maintain_order=True).to_list()
    grid, row = np.unique(stamps, return_inverse=True)
    place = {n: i for i, n in enumerate(node_names)}
    kind = {f: i for i, f in enumerate(feature_names)}
    column = np.array([place[n] for n in nodes])
    layer = np.array([kind[f] for f in features])
    cell = (row * len(node_names) + column) * len(feature_names) + layer
    first_use = np.unique(cell, return_index=True)[1]
    if len(first_use) < len(cell):
        again = int(np.setdiff1d(np.arange(len(cell)), first_use)[0])
        raise EtudeError(
            f"{_line(path, again)}: a second value for node {nodes[again]} at {time_name(stamps[again])}",
            "keep one value a time and node",
        )
    values = np.full((len(grid), len(node_names), len(feature_names)), np.nan)
    values.reshape(-1)[cell] = numbers
    return grid, node_names, values


def _read_npz(
    path: Path, start: str | None, step: int | None, feature: str | None
) -> tuple[NDArray[Any], list[str], NDArray[np.float64]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "data" not in archive.files:
                raise EtudeError(
                    f"{path}: no array 'data', only {', '.join(archive.files)}",
                    "PEMS archives hold data (T, N, F)",
                )
            data = archive["data"]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        # RuntimeError: encrypted, or packed in a way that zipfile does not know
        raise EtudeError(
            f"{path}: not a plain array archive ({error})",
            "save numbers with numpy.savez; objects are not loaded",
        ) from None
    if data.ndim == 2:
        data = data[:, :, None]
    if data.ndim != 3 or data.dtype.kind not in "fiu":
        raise EtudeError(
            f"{path}: data is {data.dtype} of shape {data.shape}", "expected numbers (T, N) or (T, N, F)"
        )
    if feature is not None:
        index = PEMS_FEATURES.get(feature, int(feature) if feature.isdecimal() else -1)
        if not 0 <= index < data.shape[2]:
            raise EtudeError(
                f"{path}: no feature {feature!r} among {data.shape[2]}",
                "give flow, occupancy, speed or an index from 0",
            )
        data = data[:, :, index : index + 1]
    if (start is None) != (step is None):
        raise EtudeError(
            f"{path}: an array has a calendar only with both --start and --freq", "give both, or neither"
        )
    counter = np.arange(len(data))
    times: NDArray[Any] = counter
    if start is not None and step is not None:
        try:
            origin = np.datetime64(parse_iso(start), "s")
        except ValueError:
            raise EtudeError(f"--start {start!r} is not a time", "use ISO, such as 2016-07-01") from None
        times = origin + (counter * step).astype("timedelta64[s]")
    return times, [str(i) for i in range(data.shape[1])], data.astype(np.float64)


def _assemble(
    path: Path,
    times: NDArray[Any],
    nodes: list[str],
    values: NDArray[np.float64],
    *,
    step: int | None,
    edges: Path | None,
    null: float | None,
    units: str,
) -> SensorPanel:
    if len(times) < 2:
        raise EtudeError(f"{path}: {len(times)} rows", "a panel needs at least two times")
    notices: list[str] = []
    calendar = times.dtype.kind == "M"
    clock = times.astype(np.int64)
    spacing, row, missing = _grid(path, clock, step if calendar else None, calendar)
    if missing:
        full = np.full((row[-1] + 1, *values.shape[1:]), np.nan)
        full[row] = values
        values = full
        first = int(np.argmax(np.diff(row) > 1))
        notices.append(
            f"{missing} missing time steps are kept as gaps, the first after {time_name(times[first])}"
        )
        times = times[0] + np.arange(len(values)) * (np.timedelta64(spacing, "s") if calendar else spacing)
    panel = SensorPanel(
        values=values.astype(np.float32),
        times=times,
        nodes=tuple(nodes),
        step=spacing if calendar else None,
        graph=read_edges(edges, nodes) if edges else None,
        null=null,
        units=units,
    )
    notices += _check_nodes(path, panel)
    if not calendar:
        notices.append("integer time has no calendar: the time-of-day and weekday tables have one slot each")
    return replace(panel, notices=tuple(notices))


def _grid(
    path: Path, clock: NDArray[np.int64], expected: int | None, calendar: bool
) -> tuple[int, NDArray[np.int64], int]:
    """The spacing, the grid row of every given row, and how many grid rows are missing."""
    gaps = np.diff(clock)

    def name(row: int) -> str:
        return time_name(clock[row].astype("datetime64[s]") if calendar else clock[row])

    positive = gaps[gaps > 0]
    sizes, counts = np.unique(positive, return_counts=True)
    spacing = expected or (int(sizes[counts.argmax()]) if len(sizes) else 1)
    inferred = frequency_name(spacing) if calendar else f"a step of {spacing}"
    if (gaps <= 0).any():
        row = int(np.argmax(gaps <= 0)) + 1
        what = "is there twice" if gaps[row - 1] == 0 else f"comes after {name(row - 1)}"
        raise EtudeError(
            f"{_line(path, row)}: time {name(row)} {what} (frequency taken as {inferred})",
            "sort the rows and keep each time once",
        )
    off = (clock - clock[0]) % spacing != 0
    place = (clock - clock[0]) // spacing
    if off.any() or place[-1] + 1 > 10 * len(clock):
        row = int(np.argmax(off)) if off.any() else int(np.argmax(gaps)) + 1
        raise EtudeError(
            f"{_line(path, row)}: time {name(row)} is off the grid of {inferred} that starts at {name(0)}",
            "resample to one frequency first, or name it with --freq",
        )
    return spacing, place, int(place[-1] + 1 - len(clock))


def _check_nodes(path: Path, panel: SensorPanel) -> list[str]:
    """Refuse nodes without a single measurement; mention those that never change."""
    target = np.where(panel.observed[:, :, 0], panel.values[:, :, 0], np.nan)
    empty = np.asarray(np.isnan(target).all(axis=0))
    if empty.any():
        names = [n for n, e in zip(panel.nodes, empty, strict=True) if e]
        raise EtudeError(
            f"{path}: no measurement at all for node {', '.join(names[:20])}", "remove the column"
        )
    constant = np.asarray(np.nanmax(target, axis=0) == np.nanmin(target, axis=0))
    if constant.all():
        raise EtudeError(f"{path}: every node is constant", "there is nothing to forecast")
    if constant.any():
        names = [n for n, c in zip(panel.nodes, constant, strict=True) if c]
        return [f"constant nodes: {', '.join(names[:20])}"]
    return []
