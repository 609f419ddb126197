"""A sensor panel: values of N nodes on one regular time grid, with its calendar and its graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.stg_llm.graph import Graph

DAY = 86_400


@dataclass(frozen=True)
class SensorPanel:
    """Values of N nodes at T equally spaced times.

    Attributes:
        values: (T, N, F) float32 in the data's units; NaN where nothing was measured. Feature 0 is the one
            forecast.
        times: (T,) datetime64[s], or int64 step counters when the data have no calendar.
        nodes: N names, in the order of `values`.
        step: Seconds between rows; None for integer time.
        graph: Weighted edges between nodes, if given.
        null: A value that stands for "missing" (traffic feeds write 0); None when every number is a
            measurement.
        units: What the values are measured in, for people.
        notices: What the reader had to do or wants to say (gaps, constant nodes).
    """

    values: NDArray[np.float32]
    times: NDArray[Any]
    nodes: tuple[str, ...]
    step: int | None
    graph: Graph | None = None
    null: float | None = None
    units: str = ""
    notices: tuple[str, ...] = ()

    @property
    def has_calendar(self) -> bool:
        """Whether rows carry dates, so that time of day and weekday exist."""
        return self.step is not None

    @property
    def observed(self) -> NDArray[np.bool_]:
        """(T, N, F): measured, and not the value that stands for missing."""
        seen = np.isfinite(self.values)
        return seen if self.null is None else seen & (self.values != np.float32(self.null))

    def slots(self, slots_per_day: int) -> NDArray[np.int64]:
        """(T,) index of the time of day in a table of `slots_per_day` rows; zeros without a calendar."""
        if not self.has_calendar:
            return np.zeros(len(self.times), dtype=np.int64)
        seconds = self.times.astype("datetime64[s]").astype(np.int64) % DAY
        return seconds * slots_per_day // DAY

    def weekdays(self) -> NDArray[np.int64]:
        """(T,) day of the week, Monday = 0; zeros without a calendar."""
        if not self.has_calendar:
            return np.zeros(len(self.times), dtype=np.int64)
        days = self.times.astype("datetime64[D]").astype(np.int64)
        return np.asarray((days + 3) % 7)  # 1970-01-01 was a Thursday

    def natural_slots(self, slots_per_day: int | None = None) -> int:
        """Rows of the time-of-day table: one a step of the day, or the shared number asked for.

        Raises:
            EtudeError: If the frequency does not divide a day and no shared number was given.
        """
        if self.step is None or self.step % DAY == 0:
            return 1
        if slots_per_day is not None:
            if slots_per_day < 1:
                raise EtudeError(f"--slots-per-day is {slots_per_day}", "give a positive number, such as 24")
            return slots_per_day
        if DAY % self.step:
            raise EtudeError(
                f"a step of {frequency_name(self.step)} does not divide a day: a time has no fixed slot",
                "say how many slots a day to share, for example --slots-per-day 24",
            )
        return DAY // self.step

    def future_times(self, count: int) -> NDArray[Any]:
        """The `count` times that follow the last row."""
        ahead = np.arange(1, count + 1)
        steps = ahead if self.step is None else (ahead * self.step).astype("timedelta64[s]")
        return np.asarray(self.times[-1] + steps)

    def select(self, nodes: Sequence[str]) -> SensorPanel:
        """The same panel with these nodes in this order (edges between other nodes are dropped)."""
        unknown = [n for n in nodes if n not in self.nodes]
        if unknown:
            raise EtudeError(
                f"the panel has no node {', '.join(unknown[:10])}", f"it has {', '.join(self.nodes[:10])} …"
            )
        place = {n: i for i, n in enumerate(self.nodes)}
        index = np.array([place[n] for n in nodes])
        graph = self.graph.select(index, len(self.nodes)) if self.graph else None
        return replace(self, values=self.values[:, index], nodes=tuple(nodes), graph=graph)

    def rows(self, first: int, last: int) -> SensorPanel:
        """Rows first ... last - 1."""
        return replace(self, values=self.values[first:last], times=self.times[first:last])

    def row_of(self, time: str) -> int:
        """The row of a time written as in the data (ISO or step counter)."""
        try:
            wanted = np.datetime64(parse_iso(time), "s") if self.has_calendar else np.int64(int(time))
        except ValueError:
            raise EtudeError(
                f"{time!r} is not a time of this panel", f"write it like {time_name(self.times[0])}"
            ) from None
        at = int(np.searchsorted(self.times, wanted))
        if at == len(self.times) or self.times[at] != wanted:
            raise EtudeError(
                f"the panel has no row at {time}",
                f"it runs from {time_name(self.times[0])} to {time_name(self.times[-1])}",
            )
        return at


def parse_frequency(text: str) -> int:
    """Seconds of `30s`, `5min`, `1h`, `1d`."""
    match = re.fullmatch(r"\s*(\d+)\s*(s|sec|min|m|t|h|d)\s*", text.lower())
    if not match or int(match[1]) == 0:
        raise EtudeError(f"cannot read the frequency {text!r}", "write it like 30s, 5min, 1h or 1d")
    return int(match[1]) * {"s": 1, "sec": 1, "min": 60, "m": 60, "t": 60, "h": 3600, "d": DAY}[match[2]]


def frequency_name(step: int | None) -> str:
    """`5min`, `1h`, `1d` ... for people."""
    if step is None:
        return "1 step"
    for size, name in ((DAY, "d"), (3600, "h"), (60, "min")):
        if step % size == 0:
            return f"{step // size}{name}"
    return f"{step}s"


def time_name(time: Any) -> str:
    """A row's time as the data write it."""
    if not isinstance(time, np.datetime64):
        return str(int(time))
    text = str(time.astype("datetime64[s]"))
    return text[:-3] if text.endswith(":00") else text


def parse_iso(text: str) -> datetime:
    """An ISO time without zone; one with a zone is turned into UTC.

    Raises:
        ValueError: If it is none.
    """
    stamp = datetime.fromisoformat(text.strip())
    return stamp if stamp.tzinfo is None else stamp.astimezone(UTC).replace(tzinfo=None)
