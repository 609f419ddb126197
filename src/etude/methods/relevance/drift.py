"""Monitoring: the same gold probes in every batch of labels. Has the labeller changed since the first?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from etude.errors import EtudeError
from etude.evidence import Interval
from etude.methods.relevance.agreement import Agreement, agreement, by_query
from etude.methods.relevance.labels import Label, grades_of
from etude.render import Text, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

LEAST_SELF_AGREEMENT = 0.9
"""Share of probes that must keep their label; below it the labels are no longer the same instrument's."""


@dataclass(frozen=True)
class BatchCheck:
    """One batch against the gold and against the first batch.

    Args:
        batch: Its name.
        probes: Gold probes in it.
        unusable: Probes without a usable label.
        agreement: With the gold.
        self_agreement: Share of probes with the same label as in the first batch.
        error_change: Mean absolute error minus the first batch's, paired.
        alarms: What has changed.
    """

    batch: str
    probes: int
    unusable: int
    agreement: Agreement
    self_agreement: float
    error_change: Interval | None
    alarms: list[str]


@dataclass(frozen=True)
class MonitorResult:
    """All batches, in the order given.

    Args:
        batches: One check each.
        drifted: Whether any batch raised an alarm.
    """

    batches: list[BatchCheck]
    drifted: bool

    def __rich__(self) -> RenderableType:
        """A row for each batch, then the alarms."""
        from rich.console import Group

        rows = [
            (
                one.batch,
                one.probes,
                one.unusable,
                one.agreement.kappa and str(one.agreement.kappa),
                one.agreement.mae.value,
                f"{one.agreement.prevalence_labels:.1%}",
                f"{one.self_agreement:.1%}",
                one.error_change and str(one.error_change),
            )
            for one in self.batches
        ]
        columns = ("batch", "probes", "unusable", "kappa", "MAE", "relevant", "as first", "MAE change")
        lines = [f"ALARM: {one.batch}: {alarm}" for one in self.batches for alarm in one.alarms]
        return Group(table(columns, rows), *(show(Text(line)) for line in lines or ["no drift was found"]))


def monitor_batches(
    gold: Mapping[tuple[str, str], int], batches: Sequence[tuple[str, Sequence[Label]]], binarize: int = 1
) -> MonitorResult:
    """Compare the probes of every batch with the gold and with the first batch.

    Args:
        gold: The probes.
        batches: Name and labels of each batch, the first being the reference.
        binarize: Grades from here on count as relevant.

    Raises:
        EtudeError: A batch holds no probe with a usable label.
    """
    checks: list[BatchCheck] = []
    first: dict[tuple[str, str], float] = {}
    versions: set[str] = set()
    for name, labels in batches:
        probes = [one for one in labels if (one.qid, one.docid) in gold]
        found = grades_of(probes)
        if not found:
            raise EtudeError(
                f"{name}: no gold probe has a usable label", "Mix probes in: label --probes GOLD."
            )
        here = {f"{one.model} {one.prompt}" for one in probes}
        compared = agreement({p: gold[p] for p in found}, found, binarize=binarize)
        alarms = list(compared.alarms)
        if not checks:
            first, versions = found, here
        elif here != versions:
            alarms.append(
                f"labelled by {', '.join(sorted(here))}, the first batch by {', '.join(sorted(versions))}"
            )
        shared = sorted(first.keys() & found.keys())
        same = float(np.mean([first[p] == found[p] for p in shared])) if shared else 0.0
        change = _error_change(gold, first, found, shared)
        if same < LEAST_SELF_AGREEMENT:
            alarms.append(
                f"{1 - same:.1%} of {len(shared)} probes have another label than in the first batch"
            )
        if change is not None and np.isfinite(change.low) and change.low > 0:
            alarms.append(f"the error has grown by {change} grades")
        checks.append(BatchCheck(name, len(probes), len(probes) - len(found), compared, same, change, alarms))
    return MonitorResult(checks, any(one.alarms for one in checks))


def _error_change(
    gold: Mapping[tuple[str, str], int],
    before: Mapping[tuple[str, str], float],
    now: Mapping[tuple[str, str], float],
    shared: Sequence[tuple[str, str]],
) -> Interval | None:
    if not shared:
        return None
    queries, group = np.unique([qid for qid, _ in shared], return_inverse=True)
    growth = np.array([abs(now[p] - gold[p]) - abs(before[p] - gold[p]) for p in shared])
    return by_query(lambda w: (w * growth).sum(1) / w.sum(1), group, len(queries))
