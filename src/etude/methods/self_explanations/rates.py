"""From rows to rates: faithfulness with its interval, the random control, Delta, flips, mismatches by stage.

A cell is one model, data set, explanation type and variant. Only counted observations all of whose answers
can be read enter a rate; what is dropped is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from etude.evidence import Interval, holm, sign_flip_p_value, wilson_interval
from etude.methods.self_explanations.rows import Row

RESAMPLES = 10_000
FEWEST = 30
"""Counted observations below which a rate needs a warning."""
MOST_MISMATCHES = 0.2
MOST_MASKED = 0.5


@dataclass(frozen=True)
class Cell:
    """What was found for one model, task, data set and variant.

    Args:
        model: The model.
        task: The task.
        data: The data set.
        variant: Name of the variant; it begins with the explanation type.
        answers: How labels were read.
        condition: Which first answers count.
        n: Observations asked about.
        correct: Right first answers.
        counted: Observations that enter the rate.
        mismatch: Stage to observations dropped because no answer could be read there.
        errors: Observations dropped because no answer came.
        failed: Ids of these, the first 20.
        faithful: Faithful ones of the counted.
        faithfulness: Their share, with Wilson's interval; None when nothing is counted.
        control: The same with as many words masked at random; None for counterfactuals.
        delta: Faithfulness minus control over the same observations, paired bootstrap interval.
        p_value: Two-sided paired sign-flip test of `delta`.
        p_adjusted: The same, Holm-corrected over the grid.
        reference: Faithfulness of the occlusion reference, if it was asked for.
        flip: Share with another answer than the first.
        control_flip: The same for the control.
        masked_share: Mean share of masked words.
        edit_ratio: Mean edit size.
        changed: Share of counterfactuals that are not the original text.
        violations: Share of redactions that alter more than they mask.
        cut: Explanations cut off at the token limit.
        tokens: Of all chats.
        seconds: The longest wait for one observation: chats of a batch are waited for together.
        warnings: What to know before believing the rate.
    """

    model: str
    task: str
    data: str
    variant: str
    answers: str
    condition: str
    n: int
    correct: int
    counted: int
    mismatch: Mapping[str, int]
    errors: int
    failed: tuple[str, ...]
    faithful: int
    faithfulness: Interval | None
    control: Interval | None
    delta: Interval | None
    p_value: float | None
    p_adjusted: float | None
    reference: Interval | None
    flip: float | None
    control_flip: float | None
    masked_share: float | None
    edit_ratio: float | None
    changed: float | None
    violations: float | None
    cut: int
    tokens: int
    seconds: float
    warnings: tuple[str, ...]


def cells_of(rows: Iterable[Row], seed: int = 0) -> list[Cell]:
    """One cell for each model, task, data set, variant, answer mode and condition; p-values by Holm.

    Args:
        rows: Of one run or several.
        seed: Of the bootstrap.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = (row.model, row.task, row.data, row.variant.name, row.answers, row.condition)
        groups.setdefault(key, []).append(row)
    cells = [_cell(members, seed) for members in groups.values()]
    tested = [i for i, cell in enumerate(cells) if cell.p_value is not None]
    for i, adjusted in zip(tested, holm([cells[i].p_value or 0.0 for i in tested]), strict=True):
        cells[i] = replace(cells[i], p_adjusted=adjusted)
    return cells


def paired_interval(differences: Sequence[float], seed: int = 0) -> Interval | None:
    """The mean of paired differences with its 95 % bootstrap interval (10,000 resamples, seeded).

    Args:
        differences: One for each observation.
        seed: Of the resampling.
    """
    if not differences:
        return None
    values, counts = np.unique(np.asarray(differences, dtype=float), return_counts=True)
    total = len(differences)
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, RESAMPLES)  # (resamples, values)
    means = drawn @ values / total
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(np.mean(differences)), float(low), float(high))


def _cell(rows: Sequence[Row], seed: int) -> Cell:
    one = rows[0]
    kept = [row for row in rows if row.faithful is not None]
    paired = [row for row in kept if row.control_faithful is not None]
    differences = [float(bool(row.faithful)) - float(bool(row.control_faithful)) for row in paired]
    mismatch = Counter(row.mismatch for row in rows if row.mismatch)
    failed = [row.id for row in rows if row.error]
    referred = [row for row in kept if row.reference_faithful is not None]
    redactions = [row.keeps_the_rest for row in kept if row.keeps_the_rest is not None]
    cell = Cell(
        model=one.model,
        task=one.task,
        data=one.data,
        variant=one.variant.name,
        answers=one.answers,
        condition=one.condition,
        n=len(rows),
        correct=sum(bool(row.correct) for row in rows),
        counted=len(kept),
        mismatch={stage: mismatch[stage] for stage in ("predict", "explain", "explain_predict")},
        errors=len(failed),
        failed=tuple(failed[:20]),
        faithful=sum(bool(row.faithful) for row in kept),
        faithfulness=wilson_interval(sum(bool(row.faithful) for row in kept), len(kept)),
        control=wilson_interval(sum(bool(row.control_faithful) for row in paired), len(paired)),
        delta=paired_interval(differences, seed),
        p_value=sign_flip_p_value(np.array(differences)) if len(differences) > 1 else None,
        p_adjusted=None,
        reference=wilson_interval(sum(bool(row.reference_faithful) for row in referred), len(referred)),
        flip=_mean(row.flip for row in kept),
        control_flip=_mean(row.control_flip for row in paired),
        masked_share=_mean(row.masked_share for row in kept),
        edit_ratio=_mean(row.edit_ratio for row in kept),
        changed=_mean(row.changed for row in kept),
        violations=1 - float(np.mean(redactions)) if redactions else None,
        cut=sum(row.cut for row in rows),
        tokens=sum(row.tokens for row in rows),
        seconds=max(row.seconds for row in rows),
        warnings=(),
    )
    return replace(cell, warnings=_warnings(cell))


def _warnings(cell: Cell) -> tuple[str, ...]:
    found = []
    if cell.counted < FEWEST:
        found.append(f"only {cell.counted} observations are counted; below {FEWEST} a rate says little")
    asked = {"predict": cell.n, "explain": 0, "explain_predict": 0}
    asked["explain"] = cell.counted + cell.mismatch["explain"] + cell.mismatch["explain_predict"]
    asked["explain_predict"] = cell.counted + cell.mismatch["explain_predict"]
    for stage, count in cell.mismatch.items():
        if asked[stage] and count / asked[stage] > MOST_MISMATCHES:
            found.append(f"{count} of {asked[stage]} answers cannot be read at the stage {stage}")
    if cell.errors:
        found.append(f"{cell.errors} without an answer: {', '.join(cell.failed[:5])}")
    if cell.cut:
        found.append(f"{cell.cut} explanations were cut off at the token limit")
    if cell.masked_share is not None and cell.masked_share > MOST_MASKED:
        found.append(
            f"{cell.masked_share:.0%} of the words are masked: masking everything is trivially faithful"
        )
    return tuple(found)


def _mean(values: Iterable[float | bool | None]) -> float | None:
    found = [float(value) for value in values if value is not None]
    return float(np.mean(found)) if found else None
