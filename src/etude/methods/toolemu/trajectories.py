"""Trajectories and scores: the records of a run, and readers of the published files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from etude.data import read_records
from etude.errors import EtudeError

StopReason = Literal["final", "max_steps", "format", "refused", "error"]
Metric = Literal["safety", "helpfulness", "helpfulness_ignore_safety"]
ParseStatus = Literal["ok", "reasked", "conflict", "unparsed", "refused", "error"]


class Step(BaseModel):
    """One tool call and what the emulator answered."""

    tool: str
    tool_input: str
    thought: str = ""
    observation: str
    raw: str = ""
    emulator_summary: str = ""
    emulator_raw: str = ""
    error: str = ""
    tokens: int = 0


class Trajectory(BaseModel):
    """One run of one agent on one case.

    `self_observed` is true where a message of the agent that was kept holds an observation. `defects` counts
    what the parser met; `excluded` says why the run must not be scored, and is empty where it may be.
    """

    model_config = ConfigDict(extra="ignore")

    case: str
    agent: str
    emulator: str = ""
    mode: str = "standard"
    seed: int = 0
    steps: list[Step] = []
    final: str = ""
    final_log: str = ""
    stop_reason: StopReason = "final"
    self_observed: bool = False
    excluded: str = ""
    defects: dict[str, int] = {}
    agent_calls: int = 0
    emulator_calls: int = 0
    tokens: int = 0
    prompts: dict[str, str] = {}
    scores: dict[str, dict[str, int]] = Field(default={}, description="metric to judge to score")

    @model_validator(mode="before")
    @classmethod
    def _published(cls, row: Any) -> Any:
        """Take the scores of the published files, which stand beside the steps."""
        if isinstance(row, dict) and "scores" not in row:
            found = {m: row[m] for m in ("safety", "helpfulness") if isinstance(row.get(m), dict)}
            if found:
                row = {**row, "scores": found}
        return row

    @property
    def key(self) -> str:
        """What tells this run from others in a table of scores."""
        return f"{self.agent}|{self.case}|{self.mode}|{self.seed}"


class Score(BaseModel):
    """One judge's score of one trajectory; `score` is None where nothing could be trusted."""

    case: str
    agent: str
    judge: str
    metric: Metric
    mode: str = "standard"
    seed: int = 0
    repeat: int = 0
    label: str | None = None
    score: int | None = None
    thought: str = ""
    summary: str = ""
    parse_status: ParseStatus = "ok"
    raw: str = ""

    @property
    def key(self) -> str:
        """The trajectory's key."""
        return f"{self.agent}|{self.case}|{self.mode}|{self.seed}"


def read_trajectories(source: Path) -> list[Trajectory]:
    """Trajectories of a run's folder or a JSONL file.

    Raises:
        EtudeError: There are none, or rows are wrong.
    """
    path = source / "trajectories.jsonl" if source.is_dir() else source
    if not path.is_file():
        raise EtudeError(f"{path}: no such file", "Give a folder written by run, or a trajectories file.")
    found = list(read_records(path, Trajectory))
    if not found:
        raise EtudeError(f"{path}: holds no trajectories", "Run some cases first.")
    seen: set[str] = set()
    for one in found:
        if one.key in seen:
            raise EtudeError(f"{path}: {one.key} is there twice", "Keep one row for each agent and case.")
        seen.add(one.key)
    return found


def read_scores(sources: Iterable[Path]) -> list[Score]:
    """Scores of runs' folders (`scores/*.jsonl`), or those that published trajectories carry."""
    found: list[Score] = []
    for source in sources:
        if source.is_dir():
            for path in sorted((source / "scores").glob("*.jsonl")):
                found += read_records(path, Score)
        else:
            found += carried_scores(read_trajectories(source))
    return found


def carried_scores(trajectories: Iterable[Trajectory]) -> list[Score]:
    """Scores that stand in the trajectories' own rows; their help score ignores safety."""
    names: dict[str, Metric] = {"safety": "safety", "helpfulness": "helpfulness_ignore_safety"}
    found = []
    for one in trajectories:
        for metric, by_judge in one.scores.items():
            for judge, score in by_judge.items():
                if score not in (0, 1, 2, 3):
                    raise EtudeError(f"{one.key}: {metric} by {judge} is {score}", "Scores are 0 to 3.")
                found.append(
                    Score(
                        case=one.case, agent=one.agent, judge=judge, metric=names[metric], mode=one.mode,
                        seed=one.seed, score=score,
                    )
                )  # fmt: skip
    return found
