"""What the claim's measurements must show: its four parts, and the tables beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.evidence import Check, Comparison, Contrast, Part
from etude.methods.relevance.system_ranking import kendall_tau

if TYPE_CHECKING:
    from etude.evidence import Evidence
    from etude.render import Block

MEASURES = ("nDCG@10", "P@10")


def part_a(judges: list[str]) -> Part:
    """Real labels agree, and wording moves them."""

    def moves(evidence: Evidence) -> tuple[bool | None, str]:
        gains = [(j, s, f["gain"]) for j in judges for s, f in _facts(evidence, j).items()]
        text = "; ".join(f"{j}, seed {s}: {_shown(g)}" for j, s, g in gains)
        return _above_zero([g for _, _, g in gains]), text

    def spread(evidence: Evidence) -> tuple[bool, str]:
        lows = {j: min(evidence.arm(j).values("kappa", [u], s)[0] for u in evidence.arm(j).units("kappa")
                       for s in evidence.arm(j).measurements) for j in judges}  # fmt: skip
        highs = {j: max(evidence.arm(j).values("kappa", [u], s)[0] for u in evidence.arm(j).units("kappa")
                        for s in evidence.arm(j).measurements) for j in judges}  # fmt: skip
        detail = "; ".join(f"{j}: {lows[j]:.4f} to {highs[j]:.4f}" for j in judges)
        return all(highs[j] - lows[j] >= 0.05 for j in judges), detail

    def median(evidence: Evidence) -> tuple[bool | None, str]:
        found = {j: next(iter(_facts(evidence, j).values())) for j in judges}
        detail = "; ".join(
            f"{j}: {f['median']['value']:.4f}, gain {_shown(f['median_gain'])}" for j, f in found.items()
        )
        return _above_zero([f["median_gain"] for f in found.values()]), detail

    return Part(
        "A",
        "Real labels agree with people beyond chance, and wording alone moves the agreement.",
        [
            *(
                Comparison("kappa", judge, "shuffled labels", "higher",
                           statement=f"{judge} agrees beyond chance, over prompts")
                for judge in judges
            ),
            Check("kappa differs by 0.05 or more between the prompts of every judge", spread),
            Check("the best and the worst prompt, chosen on half the queries, differ on the others", moves),
            Check("the median over prompts is better than the mean prompt", median),
        ],
    )  # fmt: skip


def part_b() -> Part:
    """Moderate agreement, and systems ranked alike."""

    def moderate(evidence: Evidence) -> tuple[bool | None, str]:
        found = [f["agreement"]["kappa"] for f in _facts(evidence, "MiniLM labels").values()]
        below = [k and {"low": 0.6 - k["high"], "high": 0.6 - k["low"]} for k in found]
        return _above_zero([*found, *below]), "; ".join(map(_shown, found))

    def tau(measure: str, first: str, second: str | None = None) -> Contrast:
        arms = ("people", first) if second is None else ("people", first, second)

        def statistic(values: Mapping[str, np.ndarray]) -> float:
            one = kendall_tau(values["people"], values[first])
            return one if second is None else one - kendall_tau(values["people"], values[second])

        what = f"{measure}: tau of {first} with people is above " + (
            f"that of {second}" if second else "zero"
        )
        return Contrast(what, measure, arms, statistic)

    return Part(
        "B",
        "MiniLM's labels agree only moderately with people, and still rank systems as people do.",
        [
            Check("kappa is above zero and below 0.6 on every seed (interval by query)", moderate),
            *(tau(measure, "MiniLM labels") for measure in MEASURES),
            *(tau(measure, "MiniLM labels", "random labels") for measure in MEASURES),
            *(
                Comparison(f"{measure} rank error", "MiniLM labels", "random labels", "lower")
                for measure in MEASURES
            ),
        ],
    )


def part_c() -> Part:
    """Labels favor their like."""

    def gains(evidence: Evidence) -> tuple[bool, str]:
        rows = [
            (measure, seed, shift)
            for seed, f in _facts(evidence, "MiniLM labels").items()
            for measure in MEASURES
            for shift in f["shifts"][measure]
            if shift["run"] == "minilm"
        ]
        detail = "; ".join(
            f"{m}, seed {s}: {shift['gold_rank']} -> {shift['label_rank']}" for m, s, shift in rows
        )
        return all(shift["gain"] > 0 for *_, shift in rows), detail

    def lift(evidence: Evidence) -> tuple[bool | None, str]:
        rows = [(m, s, f["lift"][m]) for s, f in _facts(evidence, "MiniLM labels").items() for m in MEASURES]
        detail = "; ".join(f"{m}, seed {s}: {_shown(one)}" for m, s, one in rows)
        return _above_zero([one for *_, one in rows]), detail

    return Part(
        "C",
        "Labels favor systems like the labeller: the MiniLM run rises under MiniLM's labels.",
        [
            Check("the MiniLM run's rank is better under MiniLM's labels than under gold, each seed", gains),
            Check("its gain over the other runs is above zero (interval by query), each seed", lift),
        ],
    )


def part_d(name: str) -> Part:
    """A small model is no judge."""

    def near(evidence: Evidence) -> tuple[bool, str]:
        found = {a: next(iter(_facts(evidence, a).values()))["auc"]
                 for a in (f"{name}, 0-2", f"{name}, yes or no", "MiniLM, the same pairs")}  # fmt: skip
        small = [found[f"{name}, 0-2"], found[f"{name}, yes or no"]]
        detail = "; ".join(f"{arm}: {_shown(auc)}" for arm, auc in found.items())
        return all(auc["low"] <= 0.5 <= auc["high"] for auc in small), detail

    return Part(
        "D",
        f"{name} is no judge: asked zero-shot, by log-probability, its AUC cannot be told from chance.",
        [Check("0.5 lies within its AUC's interval on both scales", near)],
    )


def _facts(evidence: Evidence, arm: str) -> dict[int, Mapping[str, Any]]:
    return {seed: m.facts for seed, m in evidence.arm(arm).measurements.items()}


def _above_zero(estimates: Sequence[Mapping[str, float] | None]) -> bool | None:
    """True when every interval lies above zero, False when one lies below, None when it is left open."""
    if any(one is not None and one["high"] < 0 for one in estimates):
        return False
    return True if all(one is not None and one["low"] > 0 for one in estimates) else None


def _shown(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "undefined"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def tables(evidence: Evidence) -> list[Block]:
    """Every labeller's agreement and tau on every seed, and every run's shift on the first seed."""
    from etude.render import TableBlock

    rows, shifts = [], []
    for arm in evidence.arms:
        for seed, m in arm.measurements.items():
            if "tau" not in m.facts:
                continue
            taus = [_shown(m.facts["tau"][measure]) for measure in MEASURES]
            rows.append(
                (arm.name, seed, *(m.facts[k] for k in ("kappa", "kappa graded", "AUC", "MAE")), *taus)
            )
            if arm.name == "MiniLM labels" and seed == evidence.seeds[0]:
                shifts = [
                    (s["run"], measure, s["gold_rank"], s["label_rank"], s["gain"], s["shares_model"])
                    for measure in MEASURES
                    for s in m.facts["shifts"][measure]
                ]
    columns = ("labels", "seed", "kappa", "kappa graded", "AUC", "MAE", *(f"tau {m}" for m in MEASURES))
    caption = f"MiniLM's labels, seed {evidence.seeds[0]}: rank under gold minus rank under labels"
    return [
        TableBlock(columns, rows, "Cranfield: agreement on the sampled pairs, tau over 28 systems"),
        TableBlock(
            ("run", "measure", "gold rank", "label rank", "gain", "shares the model"), shifts, caption
        ),
    ]
