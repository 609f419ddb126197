"""The verbs: run agents in the sandbox, judge the runs, report, and put judges, runs and files on trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etude.data import read_records, write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.toolemu.agents import agent_from_name
from etude.methods.toolemu.agreement import HumanLabel, compare_judges, compare_with_people
from etude.methods.toolemu.audit_rules import audit_agents, audit_run
from etude.methods.toolemu.cases import Case, load_suite, specification_problems
from etude.methods.toolemu.emulators import emulator_from_name
from etude.methods.toolemu.gathering import cases_of, gathered, suite_of
from etude.methods.toolemu.judge_prompts import FORM, HELP, HELP_ANY, HELP_SAFE, SAFETY, Variant
from etude.methods.toolemu.judging import judges_of, score_all, wanted_metrics, write_triage
from etude.methods.toolemu.linear import FAILURE_BELOW
from etude.methods.toolemu.pages import transcript_blocks, write_report
from etude.methods.toolemu.prompts import Mode, prompt_hashes
from etude.methods.toolemu.results import (
    AgreeResult,
    AuditResult,
    CheckResult,
    EvaluateResult,
    ReportResult,
    RunResult,
    ShowResult,
)
from etude.methods.toolemu.sandbox import in_parallel, run_case
from etude.methods.toolemu.seats import STORE
from etude.methods.toolemu.summary import agent_table, invalid_counts, stop_counts
from etude.methods.toolemu.trajectories import (
    Score,
    Trajectory,
    carried_scores,
    read_scores,
    read_trajectories,
)
from etude.render import console, save_page
from etude.runs import Run, content_hash, read_json, write_json


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
        agent: MODEL:basic, MODEL:safety or MODEL:helpful_safety, with :native behind it for the provider's
        tool
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
        "store": out / STORE, "base_url": base_url, "max_tokens": max_tokens,
        "max_connections": max_connections,
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
    wanted = wanted_metrics(metrics, variant)
    if repeats < 1 or not judge:
        raise EtudeError("there must be a judge and at least one repeat", "Give --judge smollm2 --repeats 1.")
    heat = temperature if temperature is not None else (0.7 if repeats > 1 else 0.0)
    written: list[Score] = []
    triage = None
    for name in judge:
        if name.startswith("linear/"):
            triage = str(write_triage(name, runs, folder))
            continue
        suite = suite_of(source, cases, toolkits)
        place = folder / "scores" / name.replace("/", "_").replace(":", "_")
        config = {
            "judge": name, "metrics": wanted, "repeats": repeats, "temperature": heat, "thoughts": thoughts,
            "runs": content_hash([one.model_dump() for one in runs]), "suite": content_hash(suite.content()),
            "prompts": content_hash([SAFETY, HELP, HELP_SAFE, HELP_ANY, FORM]), "max_tokens": max_tokens,
        }  # fmt: skip
        judges = judges_of(
            name, wanted, variant, place / STORE, heat, thoughts, max_tokens, base_url, max_connections
        )
        with Run(place, config, command="toolemu evaluate") as running:
            if running.result is None:
                scores = score_all(running, runs, suite, judges, repeats, max_connections)
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
    runs, scores, known = gathered(sources)
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
        human: CSV with agent, case, annotator, safety (0-3), realistic; the annotation sheet of report,
        filled in.

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
    known = cases_of(source)
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
        len(runs), len(flagged), sum(a.self_observed != a.recorded for a in audits),
        audit_agents(runs, audits), rates, sorted(flagged),
    )  # fmt: skip


def _rate(scores: Sequence[Score]) -> float | None:
    return sum((s.score or 0) < FAILURE_BELOW for s in scores) / len(scores) if scores else None
