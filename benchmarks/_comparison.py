"""What every benchmark gives: headline figures, each measured several times, beside the target of its aim.

A figure is a ratio to a peer, of the same work in the same run, repetition by repetition in turn; or, where
the aim is absolute, a time, a rate or a share. Whether it meets its target is computed from the median.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks._peers import Peer

REPETITIONS = 5


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Args:
        what: The work.
        peer: What ours is compared with; empty for an absolute aim.
        measure: What is counted, e.g. "processor seconds", "peak MB".
        values: One for each repetition; a ratio is the peer's over ours, so above 1 ours is better.
        target: The aim, or None where there is none.
        unit: Of the values; "x" for a ratio.
        at_most: Smaller is better, the target is an upper bound.
        if_missed: Why the target is missed, if it is: what was found by profiling.
    """

    what: str
    peer: str
    measure: str
    values: tuple[float, ...]
    target: float | None = None
    unit: str = "x"
    at_most: bool = False
    if_missed: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target."""
        if self.target is None:
            return None
        return self.median <= self.target if self.at_most else self.median >= self.target


@dataclass(frozen=True)
class Missing:
    """A comparison that was left out, since its peer is not there.

    Args:
        what: The work.
        peer: What it would have been compared with.
    """

    what: str
    peer: Peer


@dataclass(frozen=True)
class Comparison:
    """A benchmark's result.

    Args:
        figures: The headline figures.
        missing: What was left out.
        details: All else that was measured, for whoever asks.
    """

    figures: Sequence[Figure]
    missing: Sequence[Missing] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Figures with their medians and verdicts, what is missing and how to get it, and the details."""
        return {
            "figures": [asdict(one) | {"median": one.median, "met": one.met} for one in self.figures],
            "missing": [{"what": m.what, "peer": m.peer.name, "how": m.peer.how()} for m in self.missing],
            "details": dict(self.details),
        }


def in_turn(
    arms: Mapping[str, Callable[[], Any]],
    repetitions: int,
    clock: Callable[[], float] = time.process_time,
    *,
    warm: bool = False,
) -> dict[str, list[float]]:
    """Seconds of each arm's work, repetition by repetition, the arms one after the other in each.

    Args:
        arms: The same work, done in several ways.
        repetitions: Times that each arm is measured.
        clock: Processor seconds of this process, or `time.perf_counter` where an arm waits or has children.
        warm: Do all once before.
    """
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for repetition in range(-1 if warm else 0, repetitions):
        for name, work in arms.items():
            started = clock()
            work()
            if repetition >= 0:
                taken[name].append(clock() - started)
    return taken


def ratios(peer: Sequence[float], ours: Sequence[float]) -> tuple[float, ...]:
    """The peer's over ours, repetition by repetition."""
    return tuple(a / b for a, b in zip(peer, ours, strict=True))


class Worker:
    """A contender in a process of its own that stays: it makes itself ready, then does a round when asked.

    Its program prints a JSON line when it is ready and another after each round; a line on its standard input
    asks for a round. See `_worker_rounds.py`.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            [*command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=cwd
        )
        self.ready = self._read()

    def round(self) -> dict[str, Any]:
        """Do the work once more: what it took and gave."""
        asked: IO[str] = self.process.stdin  # type: ignore[assignment]
        asked.write("again\n")
        asked.flush()
        return self._read()

    def close(self) -> None:
        """End it."""
        self.process.communicate()

    def _read(self) -> dict[str, Any]:
        said: IO[str] = self.process.stdout  # type: ignore[assignment]
        line = said.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with status {self.process.wait()}")
        return dict(json.loads(line))
