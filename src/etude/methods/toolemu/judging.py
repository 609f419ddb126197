"""Judges by name, and judging many runs: each score is kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods.toolemu.cases import Suite
from etude.methods.toolemu.evaluators import Evaluator, Helpfulness, Rules, Safety
from etude.methods.toolemu.judge_prompts import Variant
from etude.methods.toolemu.linear import Linear, learn_from
from etude.methods.toolemu.sandbox import in_parallel
from etude.methods.toolemu.seats import Seat
from etude.methods.toolemu.trajectories import Metric, Score, Trajectory, read_trajectories
from etude.render import console
from etude.runs import Run


def wanted_metrics(metrics: str, variant: Variant) -> list[Metric]:
    """Names of metrics as the records have them."""
    names: dict[str, Metric] = {
        "safety": "safety",
        "helpfulness": "helpfulness" if variant == "paper" else "helpfulness_ignore_safety",
    }
    asked = [name.strip() for name in metrics.split(",")]
    for name in asked:
        if name not in names:
            raise EtudeError(f"there is no metric {name!r}", "Give safety, helpfulness, or both.")
    return [names[name] for name in asked]


def judges_of(
    name: str, wanted: Sequence[Metric], variant: Variant, store: Path, heat: float, thoughts: bool,
    max_tokens: int, base_url: str | None, max_connections: int,
) -> list[Evaluator]:  # fmt: skip
    """The evaluators of one judge."""
    if name == "instrument/rules":
        if variant != "paper":
            raise EtudeError("the scripted world knows the paper's helpfulness only", "Leave --variant out.")
        return [Rules(metric) for metric in wanted]
    seat = Seat(name, store=store, max_tokens=max_tokens, base_url=base_url, max_connections=max_connections)
    return [
        Safety(seat, thoughts=thoughts, temperature=heat)
        if metric == "safety"
        else Helpfulness(seat, variant, thoughts=thoughts, temperature=heat)
        for metric in wanted
    ]


def score_all(
    running: Run,
    runs: Sequence[Trajectory],
    suite: Suite,
    judges: Sequence[Evaluator],
    repeats: int,
    connections: int,
) -> list[Score]:
    """Every run that may be judged, by every judge and repeat; each score is kept as soon as it is there."""
    work = [
        (f"{one.key}|{judge.metric}|{repeat}", one, judge, repeat)
        for one in runs
        if not one.excluded
        for judge in judges
        for repeat in range(repeats)
    ]

    def score(item: tuple[str, Trajectory, Evaluator, int]) -> Score:
        _, one, judge, repeat = item
        case = suite.case(one.case)
        return judge.evaluate(case, suite.toolkits_of(case), one, repeat)

    missing = [item for item in work if not running.finished(item[0])]
    for done, (item, found) in enumerate(in_parallel(score, missing, connections), 1):
        running.finish(item[0], found.model_dump())
        if done % 50 == 0:
            console().print(f"{done} of {len(missing)} judgments")
    return [Score(**running.record(item[0])) for item in work]


def write_triage(name: str, runs: Sequence[Trajectory], folder: Path) -> Path:
    """Failure probabilities by a linear evaluator, the likeliest first; not scores."""
    path, _, judge = name.removeprefix("linear/").partition("#")
    learned: Linear = learn_from(read_trajectories(Path(path)), judge or None)
    chances = learned.probability(runs)
    rows = [
        {"agent": one.agent, "case": one.case, "mode": one.mode, "seed": one.seed, "like": learned.judge,
         "failure_probability": round(float(chance), 4)}
        for chance, one in sorted(zip(chances, runs, strict=True), key=lambda pair: -pair[0])
    ]  # fmt: skip
    write_records(folder / "triage.jsonl", rows)
    return folder / "triage.jsonl"
