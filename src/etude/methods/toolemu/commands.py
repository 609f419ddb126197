"""The verbs: run agents in the sandbox, judge the runs, report, and put judges, runs and files on trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from etude.data import read_records, write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.toolemu.agents import agent_from_name
from etude.methods.toolemu.agreement import HumanLabel, compare_judges, compare_with_people
from etude.methods.toolemu.audit_rules import audit_agents, audit_run
from etude.methods.toolemu.cases import Case, Suite, load_suite, specification_problems
from etude.methods.toolemu.emulators import emulator_from_name
from etude.methods.toolemu.evaluators import Evaluator, Helpfulness, Rules, Safety
from etude.methods.toolemu.generation import draft_case, draft_toolkit
from etude.methods.toolemu.judge_prompts import FORM, HELP, HELP_ANY, HELP_SAFE, SAFETY, Variant
from etude.methods.toolemu.linear import FAILURE_BELOW, Linear, learn_from
from etude.methods.toolemu.pages import transcript_blocks, write_report
from etude.methods.toolemu.prompts import Mode, prompt_hashes
from etude.methods.toolemu.results import (
    AgreeResult,
    AuditResult,
    CheckResult,
    EvaluateResult,
    GenerateResult,
    ReportResult,
    RunResult,
    ShowResult,
)
from etude.methods.toolemu.sandbox import in_parallel, run_case
from etude.methods.toolemu.seats import Seat
from etude.methods.toolemu.summary import agent_table, invalid_counts, stop_counts
from etude.methods.toolemu.toolkits import Toolkit, load_toolkits
from etude.methods.toolemu.trajectories import (
    Metric,
    Score,
    Trajectory,
    carried_scores,
    read_scores,
    read_trajectories,
)
from etude.render import console, save_page
from etude.runs import Run, content_hash, read_json, write_json

STORE = "responses.sqlite"


@verb
def run(
    *,
    agent: str,
    emulator: str,
    cases: str = "sample",
    toolkits: Path | None = None,
    mode: Mode = "standard",
    max_steps: int = 15,
    max_tokens: int = 1024,
    seed: int = 0,
    base_url: str | None = None,
    max_connections: int = 8,
    out: Path = Path("run"),
) -> RunResult:
    """Run an agent on cases; an emulator plays the tools, nothing is executed. A killed run goes on.

    Args:
        agent: MODEL:basic, MODEL:safety or MODEL:helpful_safety, with :native behind it for the provider's tool
            calling (MODEL as in smollm2, a folder, org/name, openai/NAME, inspect/PROVIDER/NAME); noact; or
            instrument/cautious, reckless, checker, noact for the scripted world.
        emulator: A model that plays the tools; instrument/world for --cases world; replay/FILE#AGENT for
            recorded observations.
        cases: sample (five of ours), world or world:SEED (48 of the scripted world), or a JSON file;
            #a,b or #5 behind it keeps some cases.
        toolkits: The toolkits' JSON file; found by itself beside the cases as toolkits.json.
        mode: standard, or adversarial: the emulator also knows what may go wrong and makes it possible.
        max_steps: The most tool calls in a case.
        max_tokens: The most tokens of one answer of agent or emulator.
        seed: For the scripted world and sampling models.
        base_url: Address of an OpenAI-compatible server, for openai/NAME.
        max_connections: Cases under way at once.
        out: The run's folder (trajectories.jsonl, suite.json); the same command resumes it.

    Raises:
        EtudeError: A file, agent or emulator is wrong, or a model cannot be reached.
    """
    if max_steps < 0:
        raise EtudeError(f"--max-steps {max_steps}: cannot be negative", "Give for example 15.")
    suite = load_suite(cases, toolkits)
    options: dict[str, Any] = {
        "store": out / STORE, "base_url": base_url, "max_tokens": max_tokens, "max_connections": max_connections,
    }  # fmt: skip
    acting, playing = agent_from_name(agent, **options), emulator_from_name(emulator, mode, **options)
    config = {
        "agent": agent, "emulator": emulator, "mode": mode, "seed": seed, "max_steps": max_steps,
        "max_tokens": max_tokens, "base_url": base_url, "suite": content_hash(suite.content()),
        "prompts": prompt_hashes(),
    }  # fmt: skip
    with Run(out, config, command="toolemu run") as running:
        if running.result is None:
            write_json(out / "suite.json", suite.content())
            order = sorted(suite.cases, key=lambda case: case.toolkits)  # one set of tools after the other
            missing = [case for case in order if not running.finished(case.name)]

            def play(case: Case) -> Trajectory:
                tools = suite.toolkits_of(case)
                return run_case(case, tools, acting, playing, max_steps=max_steps, seed=seed)

            try:
                for case, done in in_parallel(play, missing, max_connections):
                    running.finish(case.name, done.model_dump())
                    console().print(f"{case.name}: {done.stop_reason}, {len(done.steps)} calls")
            finally:
                finished = [case.name for case in suite.cases if running.finished(case.name)]
                write_records(
                    out / "trajectories.jsonl", [Trajectory(**running.record(name)) for name in finished]
                )
            running.complete({"cases": len(suite.cases)})
    runs = read_trajectories(out)
    return RunResult(str(out), agent, len(runs), stop_counts(runs), invalid_counts(runs))


@verb
def evaluate(
    source: Path,
    *,
    judge: tuple[str, ...],
    metrics: str = "safety,helpfulness",
    variant: Variant = "paper",
    repeats: int = 1,
    temperature: float | None = None,
    thoughts: bool = False,
    cases: str | None = None,
    toolkits: Path | None = None,
    max_tokens: int = 1024,
    base_url: str | None = None,
    max_connections: int = 8,
    out: Path | None = None,
) -> EvaluateResult:
    """Let judges score runs; what cannot be read twice stays unscored and is counted.

    Args:
        source: A folder written by run, or a trajectories file.
        judge: A chat model; instrument/rules for the scripted world; or linear/FILE#JUDGE, a regression that
            learns from the scored trajectories of FILE and writes triage.jsonl, probabilities and no scores.
        metrics: safety, helpfulness or both.
        variant: Helpfulness as in the paper (achieved safely), or ignore_safety.
        repeats: Judgments of each run.
        temperature: 0 by default, 0.7 with repeats.
        thoughts: Show judges the agent's thoughts; they then score intentions.
        cases: The cases, if source is a file: as for run.
        toolkits: Their toolkits.
        max_tokens: The most tokens of an answer.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Judgments under way at once.
        out: Where scores/ is written; by default the run's folder.

    Raises:
        EtudeError: A run, case or judge is missing, or a model cannot be reached.
    """
    runs = read_trajectories(source)
    folder = out or (source if source.is_dir() else None)
    if folder is None:
        raise EtudeError(f"{source} is a file: where should scores be written?", "Give --out FOLDER.")
    wanted = _metrics(metrics, variant)
    if repeats < 1 or not judge:
        raise EtudeError("there must be a judge and at least one repeat", "Give --judge smollm2 --repeats 1.")
    heat = temperature if temperature is not None else (0.7 if repeats > 1 else 0.0)
    written: list[Score] = []
    triage = None
    for name in judge:
        if name.startswith("linear/"):
            triage = str(_triage(name, runs, folder))
            continue
        suite = _suite_of(source, cases, toolkits)
        place = folder / "scores" / name.replace("/", "_").replace(":", "_")
        config = {
            "judge": name, "metrics": wanted, "repeats": repeats, "temperature": heat, "thoughts": thoughts,
            "runs": content_hash([one.model_dump() for one in runs]), "suite": content_hash(suite.content()),
            "prompts": content_hash([SAFETY, HELP, HELP_SAFE, HELP_ANY, FORM]), "max_tokens": max_tokens,
        }  # fmt: skip
        judges = _judges(
            name, wanted, variant, place / STORE, heat, thoughts, max_tokens, base_url, max_connections
        )
        with Run(place, config, command="toolemu evaluate") as running:
            if running.result is None:
                scores = _score_all(running, runs, suite, judges, repeats, max_connections)
                write_records(folder / "scores" / f"{place.name}.jsonl", scores)
                running.complete({"scores": len(scores)})
        written += list(read_records(folder / "scores" / f"{place.name}.jsonl", Score))
    return EvaluateResult(str(folder), agent_table(runs, written), invalid_counts([], written), triage)


@verb
def report(sources: tuple[Path, ...], *, worst: int = 20, out: Path = Path("report")) -> ReportResult:
    """Write a page: agents with intervals, safety against helpfulness, toolkits, risks, worst transcripts.

    Args:
        sources: Folders written by run and evaluate, or scored trajectories files.
        worst: How many of the worst transcripts to show.
        out: The folder for index.html and annotation.csv.

    Raises:
        EtudeError: There are no runs or no scores.
    """
    runs, scores, known = _gathered(sources)
    if not scores:
        raise EtudeError(
            "none of these runs was judged", "Judge them with: etude toolemu evaluate RUN --judge MODEL"
        )
    page = write_report(out, runs, scores, known, worst)
    return ReportResult(str(page), str(out / "annotation.csv"), agent_table(runs, scores))


@verb
def agree(sources: tuple[Path, ...], *, judges: str | None = None, human: Path | None = None) -> AgreeResult:
    """Judges against each other on the same runs, and against people.

    Args:
        sources: Folders with scores, or scored trajectories files.
        judges: Two or more names with commas between; all of them by default.
        human: CSV with agent, case, annotator, safety (0-3), realistic; the annotation sheet of report, filled in.

    Raises:
        EtudeError: A judge is missing, or the sheet is wrong.
    """
    scores = read_scores(sources)
    names = (
        [name.strip() for name in judges.split(",")]
        if judges
        else list(dict.fromkeys(s.judge for s in scores))
    )
    if not names or (len(names) < 2 and human is None):
        raise EtudeError(
            f"agreement needs two judges, there is {names or 'none'}",
            "Evaluate with another judge, or give --human.",
        )
    metrics = list(dict.fromkeys(s.metric for s in scores))
    pairs = [
        compare_judges(scores, a, b, metric)
        for metric in metrics
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    labels = list(read_records(human, HumanLabel)) if human is not None else []
    people = [compare_with_people(scores, labels, name) for name in names] if human is not None else []
    return AgreeResult(pairs, people)


@verb
def generate(
    kind: Literal["toolkits", "cases"],
    *,
    model: str,
    taxonomy: Path | None = None,
    toolkits: Path | None = None,
    risks: Path | None = None,
    count: int = 5,
    seed: int = 0,
    max_tokens: int = 2048,
    base_url: str | None = None,
    out: Path = Path("generated"),
) -> GenerateResult:
    """Write new toolkits or cases with a model; only what passes the checks is kept. Read it before use.

    Args:
        kind: toolkits or cases.
        model: The chat model that writes.
        taxonomy: JSON list of {category, description}, for toolkits.
        toolkits: Known toolkits: not to be repeated (toolkits), or to choose from (cases).
        risks: JSON object from toolkit to a list of known risks, for cases.
        count: How many to draft.
        seed: For the choices and the sampling.
        max_tokens: The most tokens of one answer.
        base_url: Address of an OpenAI-compatible server.
        out: The folder: toolkits.json or cases.json, and rejected.json; the same command resumes it.

    Raises:
        EtudeError: An input is missing or wrong, or the model cannot be reached.
    """
    import random

    if count < 1:
        raise EtudeError(f"--count {count}: nothing to draft", "Give at least 1.")
    known = list(load_toolkits(toolkits).values()) if toolkits else []
    categories = _categories(taxonomy) if kind == "toolkits" else []
    dangers = _risks(risks) if kind == "cases" else {}
    if kind == "cases" and not known:
        raise EtudeError("cases for which toolkits?", "Give --toolkits FILE.")
    seat = Seat(model, store=out / STORE, max_tokens=max_tokens, base_url=base_url)
    config = {
        "kind": kind, "model": model, "count": count, "seed": seed, "max_tokens": max_tokens,
        "inputs": content_hash([categories, [k.model_dump() for k in known], dangers]),
    }  # fmt: skip
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    with Run(out, config, command="toolemu generate") as running:
        for number in range(count):
            draw = random.Random(f"{seed}|{number}")
            step = f"draft {number}"
            if not running.finished(step):
                if kind == "toolkits":
                    fresh = [*known, *(Toolkit.model_validate(one) for one in kept)]
                    draft = draft_toolkit(seat, draw.choice(categories), fresh, seed + number)
                else:
                    kits = draw.sample(known, min(len(known), draw.choice([1, 1, 2])))
                    risk = draw.choice(dangers.get(kits[0].toolkit) or ["any that the tools make possible"])
                    before = [Case.model_validate(one) for one in kept]
                    draft = draft_case(seat, kits, risk, before, f"generated_{seed}_{number}", seed + number)
                running.finish(step, vars(draft))
            record = running.record(step)
            if record["value"] is None:
                rejected.append({"draft": number, "problem": record["problem"]})
            else:
                kept.append(record["value"])
        write_json(out / f"{kind}.json", kept)
        write_json(out / "rejected.json", rejected)
        running.complete({"kept": len(kept), "rejected": len(rejected)})
    return GenerateResult(str(out / f"{kind}.json"), len(kept), [one["problem"] for one in rejected])


@verb
def check_spec(toolkits: Path, cases: Path | None = None) -> CheckResult:
    """Check files of toolkits and cases: types, names used twice, tools without returns, unknown toolkits.

    Args:
        toolkits: JSON list of toolkits.
        cases: JSON list of cases.

    Raises:
        EtudeError: A file is missing or not JSON.
    """
    read_json(toolkits)
    problems = specification_problems(toolkits, cases)
    return CheckResult(problems, not problems)


@verb
def show(source: Path, case: str, *, agent: str | None = None, out: Path | None = None) -> ShowResult:
    """Show one run: calls, observations, answer, judgments.

    Args:
        source: A run's folder or a trajectories file.
        case: The case's name.
        agent: The agent, where there are several.
        out: Also write a page.

    Raises:
        EtudeError: There is no such run, or there are several.
    """
    found = [one for one in read_trajectories(source) if one.case == case and agent in (None, one.agent)]
    if len(found) != 1:
        names = ", ".join(one.agent for one in found)
        raise EtudeError(
            f"{source}: {len(found)} runs of case {case!r}{f' ({names})' if names else ''}"[:400],
            "Name the agent with --agent." if found else "See the names in trajectories.jsonl.",
        )
    known = _cases_of(source)
    scores = [s for s in read_scores([source]) if s.key == found[0].key]
    blocks = transcript_blocks(found[0], scores, known.get(case))
    page = save_page(out, f"{case}, {found[0].agent}", [("Transcript", blocks)]) if out is not None else None
    return ShowResult(found[0], scores, None if page is None else str(page), known.get(case))


@verb
def audit(source: Path) -> AuditResult:
    """Find runs in which the agent wrote observations itself, and broken formats.

    Args:
        source: A trajectories file or a run's folder.

    Raises:
        EtudeError: There are no trajectories.
    """
    runs = read_trajectories(source)
    audits = [audit_run(one) for one in runs]
    scores = carried_scores(runs) + (read_scores([source]) if source.is_dir() else [])
    rates: dict[str, dict[str, float | None]] = {}
    flagged = {one.key for one in audits if one.self_observed}
    for name in dict.fromkeys(s.judge for s in scores):
        mine = [s for s in scores if s.judge == name and s.metric == "safety" and s.score is not None]
        rates[name] = {
            "flagged": _rate([s for s in mine if s.key in flagged]),
            "clean": _rate([s for s in mine if s.key not in flagged]),
        }
    return AuditResult(
        len(runs), len(flagged), sum(a.self_observed != a.recorded for a in audits), audit_agents(runs, audits), rates,
        sorted(flagged),
    )  # fmt: skip


def _rate(scores: Sequence[Score]) -> float | None:
    return sum((s.score or 0) < FAILURE_BELOW for s in scores) / len(scores) if scores else None


def _metrics(metrics: str, variant: Variant) -> list[Metric]:
    names: dict[str, Metric] = {
        "safety": "safety",
        "helpfulness": "helpfulness" if variant == "paper" else "helpfulness_ignore_safety",
    }
    asked = [name.strip() for name in metrics.split(",")]
    for name in asked:
        if name not in names:
            raise EtudeError(f"there is no metric {name!r}", "Give safety, helpfulness, or both.")
    return [names[name] for name in asked]


def _judges(
    name: str, wanted: Sequence[Metric], variant: Variant, store: Path, heat: float, thoughts: bool,
    max_tokens: int, base_url: str | None, max_connections: int,
) -> list[Evaluator]:  # fmt: skip
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


def _score_all(
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


def _triage(name: str, runs: Sequence[Trajectory], folder: Path) -> Path:
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


def _suite_of(source: Path, cases: str | None, toolkits: Path | None) -> Suite:
    if cases is not None:
        return load_suite(cases, toolkits)
    if not source.is_dir():
        raise EtudeError(f"{source}: which cases are these runs of?", "Give --cases FILE --toolkits FILE.")
    held = read_json(source / "suite.json")
    return Suite(
        [Case.model_validate(one) for one in held["cases"]],
        {one["toolkit"]: Toolkit.model_validate(one) for one in held["toolkits"]},
    )


def _cases_of(source: Path) -> dict[str, Case]:
    """The cases of a run's folder, or those beside a file."""
    if source.is_dir():
        return {case.name: case for case in _suite_of(source, None, None).cases}
    beside = source.parent / "all_cases.json"
    return {case.name: case for case in Case.load(beside)} if beside.is_file() else {}


def _gathered(sources: Sequence[Path]) -> tuple[list[Trajectory], list[Score], dict[str, Case]]:
    runs: dict[str, Trajectory] = {}
    known: dict[str, Case] = {}
    for source in sources:
        for one in read_trajectories(source):
            if one.key in runs:
                raise EtudeError(
                    f"{source}: {one.key} is in another of these folders too", "Give each run once."
                )
            runs[one.key] = one
        known.update(_cases_of(source))
    return list(runs.values()), read_scores(sources), known


def _categories(taxonomy: Path | None) -> list[dict[str, str]]:
    if taxonomy is None:
        return [{"category": "any", "description": "Software that people use at home or at work."}]
    rows = read_json(taxonomy)
    if (
        not isinstance(rows, list)
        or not rows
        or not all(isinstance(r, dict) and "category" in r for r in rows)
    ):
        raise EtudeError(
            f"{taxonomy}: not a list of categories", "Write a JSON list of {category, description}."
        )
    return rows


def _risks(risks: Path | None) -> dict[str, list[str]]:
    if risks is None:
        return {}
    found = read_json(risks)
    if not isinstance(found, dict) or not all(isinstance(v, list) for v in found.values()):
        raise EtudeError(f"{risks}: not an object from toolkit to a list of risks", "Write a JSON object.")
    return found
