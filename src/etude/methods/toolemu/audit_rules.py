"""The audit: which runs hold observations that the agent wrote itself, and which formats are broken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from etude.methods.toolemu.answers import load_json
from etude.methods.toolemu.react import holds_observation, parse_react
from etude.methods.toolemu.trajectories import Trajectory


@dataclass(frozen=True)
class RunAudit:
    """What is wrong with one run.

    Args:
        key: Agent, case, mode and seed.
        self_observed: A message of the agent holds a line `Observation:`.
        defects: Other defects, counted.
        recorded: The flag that the record itself holds.
    """

    key: str
    agent: str
    case: str
    self_observed: bool
    defects: dict[str, int] = field(default_factory=dict)
    recorded: bool = False


@dataclass(frozen=True)
class AgentAudit:
    """One agent's runs."""

    agent: str
    runs: int
    self_observed: int
    calls_per_case: float
    defects: dict[str, int]


def audit_run(run: Trajectory) -> RunAudit:
    """Check one run: its last message and every message that was kept."""
    messages = [run.final_log, *(step.raw for step in run.steps)]
    defects: dict[str, int] = defaultdict(int)
    defects.update(run.defects)
    if not run.defects:
        for name, count in parse_react(run.final_log).defects.items():
            if name != "self_observation":
                defects[name] += count
        for step in run.steps:
            try:
                valid = isinstance(load_json(step.tool_input or "{}"), dict)
            except ValueError:
                valid = False
            defects["invalid input"] += not valid
    return RunAudit(
        run.key, run.agent, run.case, any(map(holds_observation, messages)),
        {name: count for name, count in defects.items() if count}, run.self_observed,
    )  # fmt: skip


def audit_agents(runs: Sequence[Trajectory], audits: Sequence[RunAudit]) -> list[AgentAudit]:
    """Counts by agent, the most self-written observations first."""
    found = []
    for agent in dict.fromkeys(run.agent for run in runs):
        mine = [(run, one) for run, one in zip(runs, audits, strict=True) if run.agent == agent]
        defects: dict[str, int] = defaultdict(int)
        for _, one in mine:
            for name, count in one.defects.items():
                defects[name] += count
        calls = sum(len(run.steps) for run, _ in mine) / len(mine)
        flags = sum(one.self_observed for _, one in mine)
        found.append(AgentAudit(agent, len(mine), flags, calls, dict(defects)))
    return sorted(found, key=lambda one: (-one.self_observed / one.runs, one.agent))
