"""What the claim's measurements must show: its parts, and the table of slices with wins and losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.evidence import Comparison, Part
from etude.evidence.statistics import mcnemar_p_value, mean_interval

if TYPE_CHECKING:
    from etude.evidence import Evidence
    from etude.evidence.evidence import ArmResult
    from etude.render import Block

METRIC = "Acc@1"
MAIN = "listwise, clues, masking"
BASELINE = "retriever top-1"

SLICE_UNITS: Mapping[str, Callable[[str], bool]] = {
    "all": lambda unit: True,
    "unseen mention": lambda unit: unit[0] == "m",
    "unseen id": lambda unit: unit[1] == "i",
    "rare id": lambda unit: unit[2] == "r",
}


def parts(generator: str | None) -> list[Part]:
    """Overall and unseen mentions; the long tail; what the clues, masking and joint comparison each do."""

    def beats(arm: str, name: str, baseline: str = BASELINE) -> Comparison:
        return Comparison(
            METRIC, arm, baseline, "higher", statement=f"{arm} against {baseline}: {name}",
            units=SLICE_UNITS[name],
        )  # fmt: skip

    found = [
        Part("overall", "Joint comparison with clues beats the retriever's first choice.",
             [beats(MAIN, "all")]),
        Part("unseen mentions", "So it does on mentions that training did not have.",
             [beats(MAIN, "unseen mention")]),
        Part("long tail", "So it does on ids that training did not have, and on rare ones.",
             [beats(MAIN, "unseen id"), beats(MAIN, "rare id")]),
        Part("clues", "Solved cases are part of the gain.", [beats(MAIN, "all", "listwise, no clues")]),
        Part("masking", "Hiding gold ids in training protects ids without cases.",
             [beats(MAIN, "unseen id", "listwise, clues, no masking")]),
        Part("joint", "Comparing options with each other beats scoring each alone.",
             [beats(MAIN, "all", "pointwise, clues, masking")]),
        Part("copying", "It does more than copying the nearest case's id.",
             [beats(MAIN, "all", "kNN label copy")]),
    ]  # fmt: skip
    if generator:
        found.append(
            Part("language model", f"{generator}, trained on a small part, beats the retriever.",
                 [beats(generator, name) for name in ("all", "unseen id")])
        )  # fmt: skip
    return found


def tables(evidence: Evidence, generator: str | None) -> list[Block]:
    """Accuracy by slice of every arm; wins and losses against the retriever, seed by seed."""
    from etude.render import TableBlock

    arms = [arm for arm in evidence.arms if arm.measurements]
    by_slice = []
    for arm in arms:
        row: list[Any] = [arm.name]
        for keep in SLICE_UNITS.values():
            units = [unit for unit in arm.units(METRIC) if keep(unit)]
            means = [arm.values(METRIC, units, seed).mean() for seed in arm.measurements] if units else []
            row.append(_range(means))
        by_slice.append(row)
    sizes = [f"{name} ({sum(map(keep, arms[0].units(METRIC))):,})" for name, keep in SLICE_UNITS.items()]
    blocks: list[Block] = [
        TableBlock(("arm", *sizes), by_slice, "Acc@1 by slice: mean over seeds (lowest to highest)")
    ]
    if not any(arm.name == BASELINE for arm in arms):
        return blocks
    baseline = evidence.arm(BASELINE)
    rows = []
    for arm in arms:
        if arm.seeded:
            for name, keep in SLICE_UNITS.items():
                if any(map(keep, arm.units(METRIC))):
                    rows += [_against(arm, baseline, seed, name, keep) for seed in arm.measurements]
    columns = ("arm", "slice", "seed", "difference", "95 %", "wins", "losses", "McNemar p")
    blocks.append(
        TableBlock(columns, rows, "Against the retriever, seed by seed: paired bootstrap, exact McNemar")
    )
    return blocks


def _against(
    arm: ArmResult, baseline: ArmResult, seed: int, name: str, keep: Callable[[str], bool]
) -> tuple[Any, ...]:
    units = [unit for unit in arm.units(METRIC) if keep(unit)]
    ours, theirs = arm.values(METRIC, units, seed), baseline.values(METRIC, units, seed)
    wins, losses = int((ours > theirs).sum()), int((theirs > ours).sum())
    low, high = mean_interval((ours - theirs)[None])
    return (
        arm.name, name, str(seed), float(np.mean(ours - theirs)), f"{low:+.4f} to {high:+.4f}", wins, losses,
        mcnemar_p_value(wins, losses),
    )  # fmt: skip


def _range(means: list[float]) -> str:
    if not means:
        return ""
    if len(means) == 1:
        return f"{means[0]:.4f}"
    return f"{np.mean(means):.4f} ({min(means):.4f} to {max(means):.4f})"
