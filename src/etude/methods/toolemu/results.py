"""What the verbs give back, and how a terminal shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etude.methods.toolemu.agreement import HumanAgreement, JudgePair
from etude.methods.toolemu.audit_rules import AgentAudit
from etude.methods.toolemu.cases import Case
from etude.methods.toolemu.pages import JUDGE_NOTE, table_block, transcript_blocks
from etude.methods.toolemu.summary import AgentRow
from etude.methods.toolemu.trajectories import Score, Trajectory
from etude.render import TableBlock, Text, show

if TYPE_CHECKING:
    from rich.console import RenderableType


def _group(*blocks: Any) -> RenderableType:
    from rich.console import Group

    return Group(*(show(block) for block in blocks))


@dataclass(frozen=True)
class RunResult:
    """What a run gave: its folder, every case by how it ended, every unusable output by kind."""

    out: str
    agent: str
    cases: int
    ended: dict[str, int]
    invalid: dict[str, int]

    def __rich__(self) -> RenderableType:
        """How the cases ended."""
        blocks: list[Any] = [TableBlock(("ended by", "cases"), list(self.ended.items()))]
        if self.invalid:
            blocks.append(TableBlock(("output not usable as it was", "times"), list(self.invalid.items())))
        return _group(*blocks, Text(f"{self.cases} cases: {self.out}/trajectories.jsonl"))


@dataclass(frozen=True)
class EvaluateResult:
    """Scores by agent, judge and metric; judgments that could not be read at once; the triage file."""

    out: str
    agents: list[AgentRow]
    invalid: dict[str, int]
    triage: str | None

    def __rich__(self) -> RenderableType:
        """The agent table."""
        blocks: list[Any] = [table_block(self.agents)] if self.agents else []
        if self.invalid:
            blocks.append(TableBlock(("judgment not usable at once", "times"), list(self.invalid.items())))
        if self.triage:
            blocks.append(Text(f"which runs to judge first (no verdict): {self.triage}"))
        return _group(*blocks)


@dataclass(frozen=True)
class ReportResult:
    """The page, the annotation sheet, and the agent table."""

    page: str
    sheet: str
    agents: list[AgentRow]

    def __rich__(self) -> RenderableType:
        """The agent table and where the page is."""
        return _group(
            table_block(self.agents), Text(JUDGE_NOTE), Text(f"page: {self.page}; sheet: {self.sheet}")
        )


@dataclass(frozen=True)
class AgreeResult:
    """Pairs of judges, and judges against people."""

    judges: list[JudgePair]
    people: list[HumanAgreement]

    def __rich__(self) -> RenderableType:
        """The tables."""
        blocks = []
        if self.judges:
            columns = (
                "judges", "metric", "runs", "unscored", "incidence", "agreement", "kappa", "weighted kappa",
                "tau of means", "tau of incidences",
            )  # fmt: skip
            rows = [
                (
                    " / ".join(p.judges), p.metric.replace("_", " "), p.runs, p.unscored,
                    f"{p.incidence[0]:.4f} / {p.incidence[1]:.4f}", p.agreement, p.kappa, p.weighted_kappa,
                    p.tau_score, p.tau_incidence,
                )
                for p in self.judges
            ]  # fmt: skip
            blocks.append(TableBlock(columns, rows, "Judges on the same runs"))
        if self.people:
            columns = (
                "judge", "runs", "unscored", "realistic", "flagged", "identified-failure "
                "precision", "precision",
                "recall", "kappa", "kappa of annotators",
            )  # fmt: skip
            blocks.append(
                TableBlock(
                    columns,
                    [tuple(vars(p).values()) for p in self.people],
                    "Judges against people's majority",
                )
            )
        return _group(*blocks)


@dataclass(frozen=True)
class GenerateResult:
    """What was kept, and why the rest was not."""

    out: str
    kept: int
    rejected: list[str]

    def __rich__(self) -> RenderableType:
        """Counts and problems."""
        lines = [Text(f"rejected: {problem}"[:300]) for problem in self.rejected]
        return _group(*lines, Text(f"{self.kept} kept, {len(self.rejected)} rejected: {self.out}"))


@dataclass(frozen=True)
class CheckResult:
    """Every problem, in words."""

    problems: list[str]
    passed: bool

    def __rich__(self) -> RenderableType:
        """The problems, or that there are none."""
        return _group(*(Text(p) for p in self.problems or ["no problem found"]))


@dataclass(frozen=True)
class ShowResult:
    """One run and its judgments."""

    run: Trajectory
    scores: list[Score]
    page: str | None
    case: Case | None

    def __rich__(self) -> RenderableType:
        """The transcript."""
        end = [Text(f"page: {self.page}")] if self.page else []
        return _group(*transcript_blocks(self.run, self.scores, self.case), *end)


@dataclass(frozen=True)
class AuditResult:
    """Self-written observations and format defects.

    Args:
        runs: How many runs.
        flagged: Runs in which the agent wrote an observation itself.
        differs: Runs whose recorded flag is another than ours.
        agents: Counts by agent.
        failure: Judge to failure incidence of flagged and of clean runs.
        keys: The flagged runs.
    """

    runs: int
    flagged: int
    differs: int
    agents: list[AgentAudit]
    failure: dict[str, dict[str, float | None]]
    keys: list[str]

    def __rich__(self) -> RenderableType:
        """By agent, and what it means for the failure incidence."""
        rows = [
            (a.agent, a.runs, a.self_observed, a.self_observed / a.runs, a.calls_per_case,
             ", ".join(f"{k} {v}" for k, v in a.defects.items()))
            for a in self.agents
        ]  # fmt: skip
        columns = ("agent", "runs", "self-observed", "share", "emulator calls per case", "other defects")
        blocks: list[Any] = [TableBlock(columns, rows)]
        if self.failure:
            rates = [(judge, r["flagged"], r["clean"]) for judge, r in self.failure.items()]
            blocks.append(TableBlock(("judge", "failures in flagged runs", "in clean runs"), rates))
        text = f"{self.flagged} of {self.runs} runs hold an observation that the agent wrote; "
        return _group(*blocks, Text(text + f"{self.differs} differ from the recorded flag"))
