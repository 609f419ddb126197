"""What was found: every arm on every seed, every difference with its interval, the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.evidence.claim import Measurement, Verdict
from etude.runs import read_json, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class ArmResult:
    """One arm: its measurement on each seed, or why there is none.

    Args:
        name: The arm.
        seeded: Whether it depends on the seed; if not, it was measured once.
        measurements: Seed to measurement.
        errors: Seed to the error that stopped it.
        seconds: Seed to wall time of the measurement.
    """

    name: str
    seeded: bool
    measurements: Mapping[int, Measurement]
    errors: Mapping[int, str] = field(default_factory=dict)
    seconds: Mapping[int, float] = field(default_factory=dict)

    def units(self, metric: str) -> list[str]:
        """The units that every finished seed has, sorted."""
        shared: set[str] | None = None
        for measurement in self.measurements.values():
            names = set(measurement.scores.get(metric, {}))
            shared = names if shared is None else shared & names
        return sorted(shared or ())

    def values(self, metric: str, units: Sequence[str], seed: int) -> np.ndarray:
        """Per-unit values on a seed, (units,); an unseeded arm has the same ones on every seed."""
        measurement = self.measurements[seed if self.seeded else next(iter(self.measurements))]
        return np.array([measurement.scores[metric][unit] for unit in units], dtype=float)

    def mean(self, metric: str) -> float | None:
        """Mean over units and seeds, or None where the arm has no such metric."""
        units = self.units(metric)
        if not units:
            return None
        return float(np.mean([self.values(metric, units, seed).mean() for seed in self.measurements]))

    def spread(self, metric: str) -> float | None:
        """Standard deviation over seeds of the mean over units; None with fewer than two seeds."""
        units = self.units(metric)
        if not units or len(self.measurements) < 2:
            return None
        means = [self.values(metric, units, seed).mean() for seed in self.measurements]
        return 0.0 if np.ptp(means) < 1e-12 else float(np.std(means, ddof=1))

    def fact(self, name: str) -> Any:
        """A fact: the mean over seeds if it is a number, else the first seed's."""
        found = [m.facts[name] for m in self.measurements.values() if name in m.facts]
        if found and all(isinstance(value, int | float) and not isinstance(value, bool) for value in found):
            mean = float(np.mean(found))
            return int(mean) if all(isinstance(v, int) for v in found) and mean.is_integer() else mean
        return found[0] if found else None


@dataclass(frozen=True)
class Finding:
    """One entry of a part, settled.

    Args:
        statement: What it would show.
        verdict: `holds`, `fails` or `not shown`.
        kind: `comparison`, `contrast` or `check`.
        value: The difference (arm minus baseline) or the statistic.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
        p_value: Two-sided sign-flip permutation p-value.
        p_adjusted: The same, Holm-corrected over the claim's comparisons.
        by_seed: The difference on each seed.
        units: How many independent units (or clusters) stand behind it.
        detail: The numbers behind a check, or why nothing could be compared.
        metric: The metric, if any.
        arm: Of a comparison.
        baseline: Of a comparison.
        better: Of a comparison.
    """

    statement: str
    verdict: Verdict
    kind: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    by_seed: Mapping[str, float] = field(default_factory=dict)
    units: int = 0
    detail: str = ""
    metric: str = ""
    arm: str = ""
    baseline: str = ""
    better: str = ""


@dataclass(frozen=True)
class PartFinding:
    """One part of the claim: its findings and the verdict computed from them."""

    name: str
    statement: str
    verdict: Verdict
    findings: Sequence[Finding]


@dataclass(frozen=True)
class Evidence:
    """Everything a claim's run gave.

    Args:
        name: The method.
        statement: The claim.
        parts: One per part, in the claim's order.
        arms: Every arm, also the crashed ones.
        metrics: Metric to what is better.
        seeds: Seeds asked for.
        config: The claim's config.
        columns: Facts shown in the arms table.
        notes: The claim's notes.
        tables: Extra tables as `{caption, columns, rows}`.
        provenance: Host facts, versions, date, seconds.
    """

    name: str
    statement: str
    parts: Sequence[PartFinding]
    arms: Sequence[ArmResult]
    metrics: Mapping[str, str]
    seeds: Sequence[int]
    config: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[str] = ()
    notes: Sequence[str] = ()
    tables: Sequence[Mapping[str, Any]] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Part name to verdict."""
        return {part.name: part.verdict for part in self.parts}

    def arm(self, name: str) -> ArmResult:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)

    def save(self, path: Path) -> None:
        """Write as JSON, in one step: unit names once, a metric's values in one string, 9 digits each."""
        value = asdict(self)
        places: dict[tuple[str, ...], int] = {}
        for arm in value["arms"]:
            for measurement in arm["measurements"].values():
                for metric, scores in measurement["scores"].items():
                    place = places.setdefault(tuple(scores), len(places))
                    values = " ".join(f"{score:.9g}" for score in scores.values())
                    measurement["scores"][metric] = {"units": place, "values": values}
        write_json(path, finite({**value, "units": [list(units) for units in places]}))

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read what `save` wrote."""
        return cls.from_json(read_json(path))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evidence:
        """From the JSON value that `save` writes."""
        value = dict(value)
        units = value.pop("units")

        def measurement(stored: Mapping[str, Any]) -> Measurement:
            scores = {
                metric: dict(zip(units[of["units"]], map(float, of["values"].split()), strict=True))
                for metric, of in stored["scores"].items()
            }
            return Measurement(scores, stored["facts"])

        arms = [
            ArmResult(
                name=arm["name"],
                seeded=arm["seeded"],
                measurements={int(seed): measurement(m) for seed, m in arm["measurements"].items()},
                errors={int(seed): text for seed, text in arm["errors"].items()},
                seconds={int(seed): s for seed, s in arm["seconds"].items()},
            )
            for arm in value["arms"]
        ]
        parts = [
            PartFinding(p["name"], p["statement"], p["verdict"], [Finding(**f) for f in p["findings"]])
            for p in value["parts"]
        ]
        return cls(**{**value, "arms": arms, "parts": parts})

    def __rich__(self) -> RenderableType:
        """The arms, the differences and the verdicts, for a terminal."""
        from rich.console import Group

        from etude.evidence.blocks import evidence_blocks
        from etude.render import show

        return Group(*(show(block) for block in evidence_blocks(self)))


def finite(value: Any) -> Any:
    """JSON with None for NaN and infinities, and strings for keys."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
