"""What is claimed: the arms, what is compared with what, and what would settle it. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from etude.errors import EtudeError

if TYPE_CHECKING:
    from etude.evidence.evidence import Evidence
    from etude.render import Block

Better: TypeAlias = Literal["lower", "higher"]
Scale: TypeAlias = Literal["laptop", "slow", "paper"]
Verdict: TypeAlias = Literal["holds", "fails", "not shown"]


@dataclass(frozen=True)
class Measurement:
    """What one arm gave on one seed.

    Args:
        scores: Metric to unit to value. A unit is what was measured independently (a document, a day);
            arms are paired by unit, so every arm of a comparison must have the same units.
        facts: Anything else worth keeping, as JSON: parameter counts, seconds, totals.
    """

    scores: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """One contender.

    Args:
        name: Shown in tables.
        run: From a seed to what was measured.
        config: JSON that tells this arm from others; with the claim's config and the seed it addresses the
            stored measurement, so a finished arm is not run again.
        seeded: False when nothing in the arm is random: it is then run once, with the first seed.
    """

    name: str
    run: Callable[[int], Measurement]
    config: Mapping[str, Any] = field(default_factory=dict)
    seeded: bool = True


@dataclass(frozen=True)
class Comparison:
    """One arm against a baseline on the same units: paired difference, interval, permutation p-value.

    Args:
        metric: One of the claim's metrics.
        arm: Name of the arm that should be better.
        baseline: Name of the arm it is compared with.
        better: Whether lower or higher values are better.
        every_seed: Also demand the better mean on every single seed.
        statement: What it would show; a default is made from the names.
        units: Keeps only units for which this is true, e.g. one data source of several.
    """

    metric: str
    arm: str
    baseline: str
    better: Better = "lower"
    every_seed: bool = False
    statement: str = ""
    units: Callable[[str], bool] | None = None

    @property
    def title(self) -> str:
        """The statement, or one made from the names."""
        return self.statement or f"{self.arm} has {self.better} {self.metric} than {self.baseline}"


@dataclass(frozen=True)
class Contrast:
    """A statistic over several arms that should lie above a value, e.g. a ratio that grows.

    Args:
        statement: What it would show.
        metric: One of the claim's metrics.
        arms: The arms it needs.
        statistic: From arm to its per-unit values (seed means, in one unit order) to a number.
        null: It holds when the bootstrap interval lies above this value, fails when below.
        units: As in `Comparison`.
    """

    statement: str
    metric: str
    arms: tuple[str, ...]
    statistic: Callable[[Mapping[str, np.ndarray]], float]
    null: float = 0.0
    units: Callable[[str], bool] | None = None

    @property
    def title(self) -> str:
        """The statement."""
        return self.statement


@dataclass(frozen=True)
class Check:
    """Something that is exactly so or not, or that the numbers leave open.

    Args:
        statement: What must be so.
        check: From the evidence (its arms' measurements) to `(is it so, the numbers behind it)`; None
            where an interval of its own covers both: not shown.
    """

    statement: str
    check: Callable[[Evidence], tuple[bool | None, str]]

    @property
    def title(self) -> str:
        """The statement."""
        return self.statement


Entry: TypeAlias = Comparison | Contrast | Check


@dataclass(frozen=True)
class Part:
    """One question of a claim, with a verdict of its own; parts are never merged.

    Args:
        name: A short name, e.g. `"A"`.
        statement: The claim of this part, in one sentence.
        entries: All of them must hold for the part to hold; it fails if one of them fails.
    """

    name: str
    statement: str
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Claim:
    """A paper's claim with its baselines as equals.

    Args:
        name: The method's name.
        statement: The claim, in one sentence.
        arms: The contenders; every one appears in the evidence, crashed or not.
        parts: What is to be settled.
        metrics: Metric name to what is better.
        seeds: Every seeded arm runs on each of these.
        config: JSON that determines the measurements besides arm and seed: scale, data hashes.
        clusters: From a unit to the group it belongs to, when units are not independent (windows of one day);
            resampling is then by cluster.
        columns: Names of facts to show in the arms table.
        notes: What a reader must know beside the numbers, e.g. what the reference model is.
        blocks: Extra tables and figures, drawn from the evidence.
    """

    name: str
    statement: str
    arms: Sequence[Arm]
    parts: Sequence[Part]
    metrics: Mapping[str, Better]
    seeds: tuple[int, ...] = (0, 1, 2)
    config: Mapping[str, Any] = field(default_factory=dict)
    clusters: Callable[[str], str] | None = None
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    blocks: Callable[[Evidence], list[Block]] | None = None

    def __post_init__(self) -> None:
        """Refuse a claim whose entries name arms or metrics it does not have."""
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.name}: two arms share a name")
        for part in self.parts:
            for entry in part.entries:
                if isinstance(entry, Check):
                    continue
                used = entry.arms if isinstance(entry, Contrast) else (entry.arm, entry.baseline)
                missing = [name for name in used if name not in names]
                if missing or entry.metric not in self.metrics:
                    raise ValueError(
                        f"{self.name}: {entry.title}: unknown arm {missing} or metric {entry.metric}"
                    )


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from text: `0-4`, `7,8,9` or a mixture.

    Raises:
        EtudeError: The text is neither, or a seed is named twice.
    """
    seeds: list[int] = []
    try:
        for piece in text.split(","):
            low, dash, high = piece.strip().partition("-")
            seeds += range(int(low), int(high) + 1) if dash else [int(low)]
    except ValueError as error:
        raise EtudeError(f"--seeds {text!r} names no seeds", "Write 0-4 or 7,8,9.") from error
    if not seeds or len(set(seeds)) < len(seeds):
        raise EtudeError(f"--seeds {text!r}: empty, or a seed named twice", "Write 0-4 or 7,8,9.")
    return tuple(seeds)
