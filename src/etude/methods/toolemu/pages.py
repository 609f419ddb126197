"""Pages and sheets: the report with the worst transcripts, one transcript, the annotation sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.data import write_records
from etude.methods.toolemu.cases import Case
from etude.methods.toolemu.figures import safety_helpfulness
from etude.methods.toolemu.summary import (
    AgentRow,
    agent_table,
    breakdown,
    invalid_counts,
    risk_types,
    stop_counts,
    worst,
)
from etude.methods.toolemu.trajectories import Score, Trajectory
from etude.render import Block, Code, Section, TableBlock, Text, save_page

WORLD_NOTE = (
    "The scripted world tests the plumbing and the adversarial mechanism; it says nothing about a language "
    "model."
)
JUDGE_NOTE = (
    "A failure incidence belongs to its judge: two good judges of the same runs can differ by sixteen "
    "points. "
    "Ranks of agents travel better than incidences do."
)


def table_block(rows: Sequence[AgentRow]) -> TableBlock:
    """The agent table; no incidence without its judge and interval."""
    columns = (
        "agent", "judge", "metric", "runs", "scored", "unscored", "excluded", "mean [95 %]",
        "failure incidence [95 %]", "if all without score were fine / failed",
    )  # fmt: skip
    cells = [
        (
            r.agent, r.judge, r.metric.replace("_", " "), r.runs, r.scored, r.unscored, r.excluded,
            _interval(r.mean, r.mean_low, r.mean_high),
            _interval(r.incidence, r.low, r.high),
            f"{r.least:.3f} / {r.most:.3f}" if r.least != r.most else "–",
        )
        for r in rows
    ]  # fmt: skip
    return TableBlock(columns, cells, "Agents by judge and metric")


def write_report(
    out: Path, runs: Sequence[Trajectory], scores: Sequence[Score], cases: Mapping[str, Case], count: int
) -> Path:
    """Write `index.html` and `annotation.csv` into a folder.

    Args:
        out: The folder.
        runs: Trajectories.
        scores: Their scores.
        cases: The cases that are known, by name.
        count: How many of the worst transcripts to show.
    """
    rows = agent_table(runs, scores)
    sections = [Section("Agents", [table_block(rows), Text(JUDGE_NOTE), *_world_note(runs)])]
    plots = [p for judge in dict.fromkeys(r.judge for r in rows) if (p := safety_helpfulness(rows, judge))]
    if plots:
        sections.append(Section("Safety against helpfulness", plots))
    for title, groups in (
        ("By toolkit", lambda name: cases[name].toolkits if name in cases else ()),
        ("By type of risk", lambda name: risk_types(cases[name]) if name in cases else ()),
    ):
        found = breakdown(runs, scores, groups)
        if found:
            columns = (title.split()[-1], "judge", "runs", "failure incidence")
            sections.append(Section(title, [TableBlock(columns, found)]))
    roles = sorted({(r.agent, r.emulator or "not recorded", r.mode) for r in runs})
    sections.append(
        Section(
            "Validity",
            [
                TableBlock(("ended by", "runs"), list(stop_counts(runs).items()), "Every run, once"),
                TableBlock(
                    ("output", "times"),
                    list(invalid_counts(runs, scores).items()),
                    "Outputs not usable as they were",
                ),
                TableBlock(
                    ("agent", "emulator", "mode"), roles, "Who played what; one family in all roles flatters"
                ),
            ],
        )
    )
    for run, given in worst(runs, scores, count):
        said = ", ".join(f"{judge}: {value:g}" for judge, value in given.items())
        blocks = transcript_blocks(run, [s for s in scores if s.key == run.key], cases.get(run.case))
        sections.append(Section(f"{run.case}, {run.agent}", blocks, tag=f"safety {said}", level=3))
    write_sheet(out / "annotation.csv", [run for run, _ in worst(runs, scores, 10**6)])
    return save_page(
        out / "index.html",
        "ToolEmu: where agents do harm",
        sections,
        lead="The worst transcripts stand at the end.",
    )


def transcript_blocks(run: Trajectory, scores: Sequence[Score], case: Case | None) -> list[Block]:
    """One run for a reader: instruction, calls, observations, answer, judgments."""
    blocks: list[Block] = []
    if case is not None:
        blocks.append(Text(f"Instruction: {case.instruction}"))
        blocks.append(Text("What may go wrong: " + " ".join(case.risky_outcomes)))
    for number, step in enumerate(run.steps, 1):
        thought = f"Thought: {step.thought}\n" if step.thought else ""
        text = f"{number}. {thought}Action: {step.tool}\nAction Input: {step.tool_input}\n"
        note = f"\n[{step.error}]" if step.error else ""
        blocks.append(Code(f"{text}Observation: {step.observation}{note}"))
    blocks.append(
        Code(f"Final Answer: {run.final}" if run.final else f"(ended by {run.stop_reason}) {run.excluded}")
    )
    if run.self_observed:
        blocks.append(
            Text("The agent wrote an observation itself: this run does not show what the tools did.")
        )
    if scores:
        columns = ("judge", "metric", "repeat", "label", "score", "status", "summary")
        cells = [
            (s.judge, s.metric, s.repeat, s.label, s.score, s.parse_status, s.summary[:300]) for s in scores
        ]
        blocks.append(TableBlock(columns, cells, "Judgments"))
    return blocks


def write_sheet(path: Path, runs: Sequence[Trajectory]) -> None:
    """The annotation sheet: one row for each run, `annotator`, `safety` (0-3) and `realistic` to be filled
    in.
    """
    rows: list[dict[str, Any]] = [
        {
            "agent": run.agent, "case": run.case, "mode": run.mode, "seed": run.seed, "annotator": "",
            "safety": "", "realistic": "",
            "transcript": "\n".join(f"{s.tool} {s.tool_input} -> {s.observation}" for s in run.steps)
            + f"\n{run.final}",
        }
        for run in runs
    ]  # fmt: skip
    if rows:
        write_records(path, rows)


def _world_note(runs: Sequence[Trajectory]) -> list[Block]:
    return [Text(WORLD_NOTE)] if any(r.emulator == "instrument/world" for r in runs) else []


def _interval(mean: float | None, low: float | None, high: float | None) -> str:
    if mean is None:
        return "–"
    return f"{mean:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")
