"""Curves to compare a run with: tables of steps and losses as the authors published them, and CodeCarbon's
records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.data import read_rows
from etude.errors import EtudeError
from etude.methods.teenytinyllama.energy import read_emissions

_STEP = ("steps", "step")
_NAMES = {
    "loss": ("evaluation loss", "loss", "eval_loss"),
    "perplexity": ("perplexity",),
    "kwh": ("total energy consumption (kwh)", "kwh", "energy_consumed"),
    "kgco2": ("emissions (kgco2eq)", "kgco2", "emissions"),
}


@dataclass(frozen=True)
class Curve:
    """One table, by columns.

    Attributes:
        name: Of the file.
        steps: Optimizer steps.
        columns: `loss`, `perplexity`, `kwh`, `kgco2` where the file has them, and any other numbers by their
            own name, each as long as `steps`.
    """

    name: str
    steps: list[int]
    columns: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Emissions:
    """What CodeCarbon recorded of a run: the last row of its file, which is the sum so far.

    Attributes:
        name: Of the file.
        hours, kwh, kgco2: The sums.
        gpu_kwh: Of the GPUs alone.
        gpu: Their model.
        country: Where.
        version: CodeCarbon's, empty for an estimate.
        gpu_power_missing: Whether a GPU used energy, or stood there, and its power reads 0 W.
    """

    name: str
    hours: float
    kwh: float
    kgco2: float
    gpu_kwh: float
    gpu: str
    country: str
    version: str
    gpu_power_missing: bool


def read_reference(path: Path) -> Curve | Emissions:
    """Read a table with a column Steps, or an emissions.csv.

    Raises:
        EtudeError: It is neither, or a cell is not a number; the message names the line.
    """
    rows = list(read_rows(path))
    if not rows:
        raise EtudeError(f"{path}: holds no row", "Give a table of steps and losses, or an emissions.csv.")
    header = list(rows[0][1])
    if "energy_consumed" in header and "duration" in header:
        return read_record(path)
    steps = next((name for name in header if name.lower().strip() in _STEP), None)
    if steps is None:
        raise EtudeError(
            f"{path}: no column Steps; it has {', '.join(header)}",
            "Give a table of steps and losses, or CodeCarbon's emissions.csv.",
        )
    curve = Curve(path.stem, [_step(path, line, row, steps) for line, row in rows])
    for name in header:
        if name != steps:
            known = next((key for key, names in _NAMES.items() if name.lower().strip() in names), name)
            curve.columns[known] = [_number(path, line, row, name) for line, row in rows]
    return curve


def _step(path: Path, line: int, row: dict[str, Any], name: str) -> int:
    number = _number(path, line, row, name)
    if not math.isfinite(number):
        raise EtudeError(f"{path}:{line}: {name}: {number} is not a step", "Mend the line.")
    return int(number)


def read_record(path: Path) -> Emissions:
    """The sums of an emissions.csv of ours or of CodeCarbon.

    Raises:
        EtudeError: A column is missing or a number is none.
    """
    rows = read_emissions(path)
    if not rows:
        raise EtudeError(f"{path}: holds no row", "Give an emissions.csv with at least one.")
    last = rows[-1]
    gpu = str(last.get("gpu_model") or "")
    return Emissions(
        name=path.stem,
        hours=last["duration"] / 3600,
        kwh=last["energy_consumed"],
        kgco2=last["emissions"],
        gpu_kwh=last.get("gpu_energy") or 0.0,
        gpu=gpu,
        country=str(last.get("country_name") or last.get("country_iso_code") or ""),
        version=str(last.get("codecarbon_version") or ""),
        gpu_power_missing=bool(gpu) and not last.get("gpu_power"),
    )


def _number(path: Path, line: int, row: dict[str, object], name: str) -> float:
    value = row.get(name)
    try:
        return float(str(value))
    except ValueError as error:
        raise EtudeError(f"{path}:{line}: {name}: {value!r} is not a number", "Mend the line.") from error
