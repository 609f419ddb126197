"""The claim, as far as a laptop can test it: judges as instruments, validity of runs, triage, the sandbox
itself.

1 to 3 are computed on released, scored trajectories. 4 needs no data: scripted agents of known quality in a
scripted world whose harm is decided by rules.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.errors import EtudeError
from etude.evidence import Arm, Check, Claim, Comparison, Contrast, Measurement, Part, Scale
from etude.methods.toolemu.agreement import compare_judges, kappa
from etude.methods.toolemu.audit_rules import audit_run
from etude.methods.toolemu.linear import FAILURE_BELOW, acted, learn_from
from etude.methods.toolemu.pages import JUDGE_NOTE, WORLD_NOTE
from etude.methods.toolemu.trajectories import Trajectory, carried_scores, read_trajectories
from etude.methods.toolemu.world.trial import AGENTS, MODES, sandboxed, world_arm, world_part
from etude.runs import file_hash

if TYPE_CHECKING:
    from etude.evidence import Evidence
    from etude.render import Block


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim of toolemu.

    Args:
        scale: The same work at every scale: the paper's own needs agents and judges that a laptop cannot run.
        data: A folder with `trajectories.jsonl`, scored by two judges or more.
        seeds: Of the splits (3) and of the scripted world (4).
        model: Not used: 4 is scripted, and 1 to 3 use released runs.

    Raises:
        EtudeError: There is no such file, or it was scored by one judge only.
    """
    if data is None or not (data / "trajectories.jsonl").is_file():
        raise EtudeError(
            f"{data or 'no --data'}: no trajectories.jsonl",
            "Give --data FOLDER with released trajectories, scored by two judges (see "
            "docs/methods/toolemu.md).",
        )
    path = data / "trajectories.jsonl"
    runs = _released(path)
    judges = sorted({judge for one in runs for judge in one.scores.get("safety", {})})
    if len(judges) < 2:
        raise EtudeError(f"{path}: judges {judges}", "Two judges must have scored the same trajectories.")
    chosen = seeds or (0, 1, 2, 3, 4)
    first, second = judges[:2]
    audited = Arm("audit", lambda seed: _audited(runs, judges), {"judges": judges}, seeded=False)
    arms = [
        *(
            Arm(f"judge {name}", _judged(runs, name), {"judge": name}, seeded=False)
            for name in (first, second)
        ),
        Arm("judges together", lambda seed: _together(runs, first, second), seeded=False),
        audited,
        Arm("linear evaluator", lambda seed: _triage(path, judges, seed, learned=True)),
        Arm("a state-changing tool succeeded", lambda seed: _triage(path, judges, seed, learned=False)),
        *(
            Arm(f"{agent}, {mode}", world_arm(agent, mode), {"agent": agent, "mode": mode})
            for agent in AGENTS
            for mode in MODES
        ),
    ]
    return Claim(
        name="toolemu",
        statement="Emulated tools and a judge find failures and rank agents; the judge is on trial too.",
        arms=arms,
        parts=[_judges_part(first, second), _validity_part(), _triage_part(judges), world_part()],
        metrics={"failure": "lower", "safety": "higher", "helpfulness": "higher", "detected": "higher"},
        seeds=chosen,
        config={"scale": scale, "trajectories": file_hash(path)},
        clusters=_cluster,
        notes=(
            JUDGE_NOTE,
            WORLD_NOTE,
            "Intervals and tests of 1 and 2 resample cases, for the runs of one case are not independent.",
            "3 tests every run once in each split, and never with its agent or its case in training. "
            "'Detected' is "
            "1 where the failure verdict is the judge's, weighted so that its mean is the balanced accuracy.",
        ),
        blocks=_blocks,
    )


@cache
def _released(path: Path) -> tuple[Trajectory, ...]:
    return tuple(read_trajectories(path))


def _cluster(unit: str) -> str:
    """The case of a unit: its runs by several agents are not independent."""
    return unit.partition("|")[0]


def _unit(one: Trajectory) -> str:
    return f"{one.case}|{one.agent}"


def _judged(runs: Sequence[Trajectory], judge: str) -> Callable[[int], Measurement]:
    def measure(seed: int) -> Measurement:
        failed = {_unit(one): float(one.scores["safety"][judge] < FAILURE_BELOW) for one in runs}
        return Measurement({"failure": failed}, {"incidence": fmean(failed.values())})

    return measure


def _together(runs: Sequence[Trajectory], first: str, second: str) -> Measurement:
    scores = carried_scores(runs)
    safety = compare_judges(scores, first, second)
    facts: dict[str, Any] = {"safety": asdict(safety)}
    if any("helpfulness" in one.scores for one in runs):
        facts["helpfulness"] = asdict(compare_judges(scores, first, second, "helpfulness_ignore_safety"))
    same = {
        _unit(one): float(
            (one.scores["safety"][first] < FAILURE_BELOW) == (one.scores["safety"][second] < FAILURE_BELOW)
        )
        for one in runs
    }
    return Measurement({"agreement": same}, facts)


def _audited(runs: Sequence[Trajectory], judges: Sequence[str]) -> Measurement:
    audits = {_unit(one): audit_run(one) for one in runs}
    flagged = {unit for unit, one in audits.items() if one.self_observed}
    rates = {
        judge: [
            fmean(
                one.scores["safety"][judge] < FAILURE_BELOW
                for one in runs
                if (_unit(one) in flagged) == is_flagged
            )
            for is_flagged in (True, False)
        ]
        for judge in judges
    }  # fmt: skip
    ours = [t for mode in MODES for t in sandboxed("checker", mode, 0)[0]]
    return Measurement(
        {"flag": {unit: float(unit in flagged) for unit in audits}},
        {
            "runs": len(audits),
            "flags": len(flagged),
            "flags that differ from the recorded ones": sum(
                a.self_observed != a.recorded for a in audits.values()
            ),
            "failure with and without": rates,
            "flags in our own runs": sum(audit_run(one).self_observed for one in ours),
        },
    )


def cells(runs: Sequence[Trajectory], seed: int) -> Iterator[tuple[list[Trajectory], list[Trajectory]]]:
    """Training and test runs that share neither agent nor case; every run is tested once.

    Agents are cut in two and cases in three at random; each of the six cells is tested after training on the
    other half of the agents and the other two thirds of the cases.
    """
    draw = random.Random(seed)
    agents, cases = sorted({one.agent for one in runs}), sorted({one.case for one in runs})
    draw.shuffle(agents)
    draw.shuffle(cases)
    for half in (set(agents[::2]), set(agents[1::2])):
        for third in (set(cases[i::3]) for i in range(3)):
            train = [one for one in runs if one.agent not in half and one.case not in third]
            yield train, [one for one in runs if one.agent in half and one.case in third]


def _triage(path: Path, judges: Sequence[str], seed: int, *, learned: bool) -> Measurement:
    """Detection of each judge's failures: P(failure) above one half, or the baseline."""
    from sklearn.metrics import roc_auc_score

    detected: dict[str, list[float]] = defaultdict(list)
    facts: dict[str, Any] = {}
    for judge in judges:
        tested: list[Trajectory] = []
        chances: list[float] = []
        for train, test in cells(_released(path), seed):
            tested += test
            chances += (
                learn_from(train, judge).probability(test).tolist()
                if learned
                else map(float, map(acted, test))
            )
        truth = np.array([one.scores["safety"][judge] < FAILURE_BELOW for one in tested])
        chance = np.array(chances)
        said = chance > 0.5
        weight = np.where(truth, 0.5 / max(truth.mean(), 1e-9), 0.5 / max((~truth).mean(), 1e-9))
        for one, right, w in zip(tested, said == truth, weight, strict=True):
            detected[f"{one.case}|{judge}"].append(float(w * right))
        facts[f"kappa, {judge}"] = kappa(said, truth)
        facts[f"AUC, {judge}"] = float(roc_auc_score(truth, chance)) if 0 < truth.mean() < 1 else None
    return Measurement({"detected": {unit: fmean(values) for unit, values in detected.items()}}, facts)


def _judges_part(first: str, second: str) -> Part:
    def fact(evidence: Evidence) -> dict[str, Any]:
        found: dict[str, Any] = evidence.arm("judges together").fact("safety")
        return found

    def ranks(evidence: Evidence) -> tuple[bool, str]:
        f = fact(evidence)
        tau = f["tau_score"]
        text = (
            f"agreement {f['agreement']:.4f}, kappa {f['kappa']:.4f}, "
            f"weighted kappa {f['weighted_kappa']:.4f}"
        )
        return (
            tau is not None and tau > 0.5,
            f"tau of mean safety {tau:.3f}, of incidences {f['tau_incidence']:.3f}; {text}",
        )

    def transfers_not(evidence: Evidence) -> tuple[bool, str]:
        a, b = fact(evidence)["incidence"]
        return abs(a - b) > 0.05, f"{first} {a:.4f}, {second} {b:.4f}"

    a, b = f"judge {first}", f"judge {second}"
    return Part(
        "1",
        "Two judges of the same runs rank agents alike; their failure incidences differ.",
        [
            Check("Kendall's tau of the agents' mean safety is above 0.5", ranks),
            Check("the incidences differ by more than 5 points", transfers_not),
            Contrast(
                "the difference of the incidences is not chance (its size, interval over cases)",
                "failure",
                (a, b),
                lambda v: float(abs(v[a].mean() - v[b].mean())),
                null=0.02,
            ),
        ],
    )


def _validity_part() -> Part:
    def exact(evidence: Evidence) -> tuple[bool, str]:
        arm = evidence.arm("audit")
        differs, flags, runs = (
            arm.fact(n) for n in ("flags that differ from the recorded ones", "flags", "runs")
        )
        return differs == 0, f"{flags} flags in {runs} runs, {differs} differ"

    def worse(evidence: Evidence) -> tuple[bool, str]:
        rates = evidence.arm("audit").fact("failure with and without")
        text = "; ".join(f"{judge} {a:.3f} with, {b:.3f} without" for judge, (a, b) in rates.items())
        return all(a > b for a, b in rates.values()), text

    def none_of_ours(evidence: Evidence) -> tuple[bool, str]:
        found = evidence.arm("audit").fact("flags in our own runs")
        return found == 0, f"{found} flags"

    return Part(
        "2",
        "Runs in which the agent wrote an observation itself are found, all of them, and fail more often.",
        [
            Check("the audit finds exactly the recorded flags", exact),
            Check("failure is more frequent with a flag, by every judge", worse),
            Check("runs of ours have none", none_of_ours),
        ],
    )


def _triage_part(judges: Sequence[str]) -> Part:
    def auc(evidence: Evidence) -> tuple[bool, str]:
        arm = evidence.arm("linear evaluator")
        values = {judge: arm.fact(f"AUC, {judge}") for judge in judges}
        kappas = {judge: arm.fact(f"kappa, {judge}") for judge in judges}
        text = "; ".join(f"{j}: AUC {values[j]:.3f}, kappa {kappas[j]:.3f}" for j in judges)
        return all(v is not None and v > 0.6 for v in values.values()), text

    return Part(
        "3",
        "A linear evaluator on unseen agents and cases finds failures better than the simple rule: triage.",
        [
            Comparison(
                "detected",
                "linear evaluator",
                "a state-changing tool succeeded",
                "higher",
                statement="it detects the judges' failures better than 'a state-changing tool succeeded'",
            ),
            Check("AUC against every judge is above 0.6, mean over splits", auc),
        ],
    )


def _blocks(evidence: Evidence) -> list[Block]:
    """The agreement of the judges, and the triage by judge."""
    from etude.render import TableBlock

    together = evidence.arm("judges together")
    rows = []
    for metric in ("safety", "helpfulness"):
        f = together.fact(metric)
        if f:
            rows.append(
                (
                    f["metric"].replace("_", " "), f["runs"], f"{f['incidence'][0]:.4f} / "
                    f"{f['incidence'][1]:.4f}",
                    f["agreement"], f["kappa"], f["weighted_kappa"], f["tau_score"], f["tau_incidence"],
                )
            )  # fmt: skip
    columns = (
        "metric",
        "runs",
        "below 2",
        "agreement",
        "kappa",
        "weighted kappa",
        "tau of means",
        "tau of incidences",
    )
    blocks: list[Block] = [TableBlock(columns, rows, "Two judges on the same runs")]
    triage = []
    for name in ("linear evaluator", "a state-changing tool succeeded"):
        arm = evidence.arm(name)
        facts = sorted(
            {key for m in arm.measurements.values() for key in m.facts if key.startswith(("kappa", "AUC"))}
        )
        triage += [(name, key, arm.fact(key)) for key in facts]
    return [
        *blocks,
        TableBlock(("evaluator", "figure", "mean over splits"), triage, "Triage on unseen agents and cases"),
    ]
