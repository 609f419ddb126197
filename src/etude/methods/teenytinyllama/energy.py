"""Energy and emissions of a training, in CodeCarbon's columns, summed over resumes.

With the package `codecarbon` the readings are its own, offline, with its factor for the country. Without it
they are an estimate that says so: processor time x watts a core, what the GPUs' driver reports, memory x
watts a GB. A GPU that reports 0 W is flagged: on some hosts the driver cannot measure.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from etude.data.records import read_lines
from etude.errors import EtudeError
from etude.render import console
from etude.runs import write_text

COLUMNS = (
    *(
        "timestamp",
        "project_name",
        "run_id",
        "duration",
        "emissions",
        "emissions_rate",
        "cpu_power",
        "gpu_power",
    ),
    *("ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "country_name"),
    *("country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version"),
    *("codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude"),
    *("ram_total_size", "tracking_mode", "on_cloud", "pue"),
)
"""The columns of CodeCarbon 2.3's emissions.csv, the authors' version."""

_NUMBERS = {
    *(
        "duration",
        "emissions",
        "emissions_rate",
        "cpu_power",
        "gpu_power",
        "ram_power",
        "cpu_energy",
        "gpu_energy",
    ),
    *("ram_energy", "energy_consumed", "ram_total_size", "pue"),
}
_JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class EnergySettings:
    """How energy is measured. It does not change what is learned, so it may differ between resumes.

    Attributes:
        source: `codecarbon`, `estimate`, or `auto`: the package when it is installed.
        country: ISO code of three letters, for CodeCarbon's own factor.
        kg_per_kwh: kg CO2eq a kWh otherwise (0.475: the world's average that CodeCarbon uses too).
        watts_per_core: Power of a busy core in estimates.
        watts_per_gb: Power of a GB of memory in estimates (CodeCarbon: 3 W for 8 GB).
    """

    source: Literal["auto", "codecarbon", "estimate"] = "auto"
    country: str | None = None
    kg_per_kwh: float = 0.475
    watts_per_core: float = 10.0
    watts_per_gb: float = 0.375


@dataclass(frozen=True)
class Consumption:
    """What was used so far: seconds, kWh by part, kg CO2eq.

    Attributes:
        method: How it was found, in words; an estimate says so.
    """

    seconds: float = 0.0
    cpu_kwh: float = 0.0
    gpu_kwh: float = 0.0
    ram_kwh: float = 0.0
    kg: float = 0.0
    method: str = ""

    @property
    def kwh(self) -> float:
        """All parts together."""
        return self.cpu_kwh + self.gpu_kwh + self.ram_kwh

    def __add__(self, other: Consumption) -> Consumption:
        """Sum of two; the methods of both are named when they differ."""
        methods = [m for m in dict.fromkeys([*self.method.split("; then "), other.method]) if m]
        sums = {
            f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "method"
        }
        return Consumption(**sums, method="; then ".join(methods))


class EnergyMeter:
    """Measures from its creation on and adds to what earlier processes used.

    Args:
        settings: How.
        before: What earlier processes of the same run used.
        cuda: Whether a GPU is at work.
        processes: Processes like this one that work on the same training; estimates count their time too.
    """

    def __init__(
        self, settings: EnergySettings, before: Consumption, *, cuda: bool = False, processes: int = 1
    ) -> None:
        self.settings, self.before, self.cuda, self.processes = settings, before, cuda, processes
        self._began, self._cpu_began = time.monotonic(), _cpu_seconds()
        self._read_at, self._gpu_joules = self._began, 0.0
        self._tracker = None if settings.source == "estimate" else _start_codecarbon(settings)
        self.gpu_is_silent = False

    def read(self) -> Consumption:
        """What the run used until now, over all its processes."""
        tracker = self._tracker
        now = self._estimate() if tracker is None else _from_codecarbon(tracker, self.settings)
        if self.cuda and now.gpu_kwh == 0.0 and now.seconds > 30 and not self.gpu_is_silent:
            self.gpu_is_silent = True
            console().print("note: the GPU reports 0 W, so its energy is missing from the figures")
        return self.before + now

    def stop(self) -> None:
        """End the measuring."""
        if self._tracker is not None:
            self._tracker.stop()

    def _estimate(self) -> Consumption:
        s, now = self.settings, time.monotonic()
        if self.cuda:  # the driver's momentary power, over the time since the last reading
            self._gpu_joules += _gpu_watts() * (now - self._read_at)
        self._read_at = now
        seconds = now - self._began
        busy = (_cpu_seconds() - self._cpu_began) * self.processes
        cpu = busy * s.watts_per_core / _JOULES_PER_KWH
        ram = seconds * memory_gb() * s.watts_per_gb / _JOULES_PER_KWH
        gpu = self._gpu_joules / _JOULES_PER_KWH
        method = (
            f"estimate: processor time x {s.watts_per_core:g} W a core, {s.watts_per_gb:g} W a GB of memory"
            f"{', GPU power as its driver reports it' if self.cuda else ''}, {s.kg_per_kwh:g} kg CO2eq a kWh"
        )
        return Consumption(seconds, cpu, gpu, ram, (cpu + gpu + ram) * s.kg_per_kwh, method)


def emissions_row(
    total: Consumption, *, project: str, run_id: str, settings: EnergySettings
) -> dict[str, Any]:
    """One row in CodeCarbon's columns; durations in s, energies in kWh, powers in W, emissions in kg CO2eq.

    Powers are means over the duration. `tracking_mode` of an estimate is `estimate`.
    """
    hours = max(total.seconds, 1e-9) / 3600
    gpus, gpu_model = _gpus()
    is_estimate = total.method.startswith("estimate")
    return {
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "project_name": project,
        "run_id": run_id,
        "duration": total.seconds,
        "emissions": total.kg,
        "emissions_rate": total.kg / max(total.seconds, 1e-9),
        "cpu_power": 1000 * total.cpu_kwh / hours,
        "gpu_power": 1000 * total.gpu_kwh / hours,
        "ram_power": 1000 * total.ram_kwh / hours,
        "cpu_energy": total.cpu_kwh,
        "gpu_energy": total.gpu_kwh,
        "ram_energy": total.ram_kwh,
        "energy_consumed": total.kwh,
        "country_iso_code": settings.country or "",
        "os": platform.platform(),
        "python_version": platform.python_version(),
        "codecarbon_version": "" if is_estimate else _codecarbon_version(),
        "cpu_count": os.cpu_count(),
        "cpu_model": platform.processor(),
        "gpu_count": gpus or "",
        "gpu_model": gpu_model,
        "ram_total_size": memory_gb(),
        "tracking_mode": "estimate" if is_estimate else "machine",
        "on_cloud": "N",
        "pue": 1.0,
    }


def write_emissions(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as emissions.csv, in one step."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_emissions(path: Path) -> list[dict[str, Any]]:
    """Read an emissions.csv, of ours or of CodeCarbon itself; numbers as floats, the rest as text.

    Raises:
        EtudeError: A column is missing or a number is none, with its line.
    """
    reader = csv.DictReader(read_lines(path))
    try:
        return _numbered(path, reader)
    except csv.Error as error:
        raise EtudeError(f"{path}: line {reader.line_num}: not a row ({error})", "Mend the line.") from error


def _numbered(path: Path, reader: csv.DictReader[str]) -> list[dict[str, Any]]:
    missing = {"duration", "emissions", "energy_consumed"} - set(reader.fieldnames or ())
    if missing:
        raise EtudeError(
            f"{path}: no column {', '.join(sorted(missing))}", "Give an emissions.csv of CodeCarbon."
        )
    rows: list[dict[str, Any]] = []
    for row in reader:
        found: dict[str, Any] = dict(row)
        for name in _NUMBERS & set(found):
            try:
                found[name] = float(found[name] or 0)
            except ValueError as error:
                raise EtudeError(
                    f"{path}: line {reader.line_num}, {name}: {found[name]!r} is not a number",
                    "Mend the line.",
                ) from error
        rows.append(found)
    return rows


def memory_gb() -> float:
    """The machine's memory in GB, 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return 0.0


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system


def _gpu_watts() -> float:
    import torch

    try:
        return sum(torch.cuda.power_draw(i) for i in range(torch.cuda.device_count())) / 1000
    except Exception:  # no driver library, or a host that hides the counter
        return 0.0


def _gpus() -> tuple[int, str]:
    import torch

    if not torch.cuda.is_available():
        return 0, ""
    count = torch.cuda.device_count()
    return count, f"{count} x {torch.cuda.get_device_name(0)}"


class _LastReading:
    """An output handler of CodeCarbon's that keeps what it is told at each flush."""

    last: Any = None

    def out(self, total: Any, delta: Any) -> None:
        self.last = total

    def live_out(self, total: Any, delta: Any) -> None:
        self.last = total

    def task_out(self, data: Any, experiment_name: str) -> None:
        """Tasks are not used."""

    def exit(self) -> None:
        """Nothing is open."""


def _start_codecarbon(settings: EnergySettings) -> Any:
    """A running offline tracker; None when the package is not there and was not insisted on."""
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError as error:
        if settings.source == "codecarbon":
            raise EtudeError(
                "the package codecarbon is not installed", "pip install codecarbon, or --energy estimate."
            ) from error
        return None

    readings = _LastReading()
    logging.getLogger("codecarbon").setLevel(logging.ERROR)
    try:
        tracker: Any = OfflineEmissionsTracker(
            country_iso_code=settings.country or "USA",
            save_to_file=False,
            output_handlers=[readings],
            log_level="error",
            allow_multiple_runs=True,
        )
        tracker.start()
    except Exception as error:  # it probes hardware in many ways, each of which can fail
        if settings.source == "codecarbon":
            raise EtudeError(
                f"codecarbon could not start ({error})"[:300], "Use --energy estimate."
            ) from error
        console().print(f"note: codecarbon could not start ({error}); energy is an estimate"[:300])
        return None
    tracker.readings = readings
    return tracker


def _from_codecarbon(tracker: Any, settings: EnergySettings) -> Consumption:
    kg = float(tracker.flush() or 0.0)
    data = tracker.readings.last
    if settings.country is None:
        kg, factor = (
            float(data.energy_consumed) * settings.kg_per_kwh,
            f"{settings.kg_per_kwh:g} kg CO2eq a kWh",
        )
    else:
        factor = f"its factor for {settings.country}"
    return Consumption(
        seconds=float(data.duration),
        cpu_kwh=float(data.cpu_energy),
        gpu_kwh=float(data.gpu_energy),
        ram_kwh=float(data.ram_energy),
        kg=kg,
        method=f"CodeCarbon {_codecarbon_version()}, {factor}",
    )


def _codecarbon_version() -> str:
    from importlib import metadata

    return metadata.version("codecarbon")


def as_record(total: Consumption) -> dict[str, Any]:
    """The consumption as JSON, with the sum."""
    return {**asdict(total), "kwh": total.kwh}
