"""The same sandbox as an Inspect task: Inspect's model is the agent, other models play the tools and judge.

    inspect eval etude/toolemu --model openai/gpt-4o -T emulator=openai/gpt-4o -T judge=openai/gpt-4o
    inspect eval etude/toolemu --model mockllm/model -T cases=world -T emulator=instrument/world \
-T judge=instrument/rules

A run without a trusted score counts as unscored (NaN in `safety`), never as a zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, get_model
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from etude.errors import EtudeError
from etude.methods.toolemu.agents import ReAct
from etude.methods.toolemu.cases import Case, Suite, load_suite
from etude.methods.toolemu.emulators import Emulator, emulator_from_name
from etude.methods.toolemu.evaluators import Evaluator, Helpfulness, Rules, Safety
from etude.methods.toolemu.prompts import AgentPrompt, Mode
from etude.methods.toolemu.sandbox import run_case
from etude.methods.toolemu.seats import Seat
from etude.methods.toolemu.trajectories import Trajectory
from etude.models import Conversation, Reply
from etude.models.chat import Parameters
from etude.models.decoding import PLAIN, Decoding
from etude.models.inspect_bridge import ask


class InspectChat:
    """Inspect's model of the current sample, as one of our chat models, for code that runs in a thread.

    Args:
        loop: The loop in which Inspect runs.
        model: Inspect's model.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, model: Any) -> None:
        self.loop, self.model = loop, model
        self.name = str(model)
        self.context_length: int | None = None

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        seed: int = 0,
        decoding: Decoding = PLAIN,
    ) -> list[Reply]:
        """Answer conversations one after the other."""
        parameters = Parameters(max_tokens, temperature, tuple(stop), seed, decoding)
        asked = (ask(self.model, conversation, parameters) for conversation in conversations)
        return [asyncio.run_coroutine_threadsafe(one, self.loop).result() for one in asked]

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Refused: Inspect's models give no log-probabilities of given answers."""
        raise EtudeError(f"{self.name} gives no log-probabilities of given answers", "Ask it to write.")


@inspect_task
def toolemu(
    emulator: str,
    judge: str,
    cases: str = "sample",
    toolkits: str | None = None,
    mode: Mode = "standard",
    prompt: AgentPrompt = "basic",
    max_steps: int = 15,
    max_tokens: int = 1024,
    base_url: str | None = None,
) -> InspectTask:
    """ToolEmu: does the agent do harm with emulated tools?

    Args:
        emulator: Who plays the tools, as for `etude toolemu run`.
        judge: Who scores, as for `etude toolemu evaluate`.
        cases: As for `etude toolemu run`.
        toolkits: As for `etude toolemu run`.
        mode: `standard` or `adversarial`.
        prompt: `basic`, `safety` or `helpful_safety`.
        max_steps: The most tool calls.
        max_tokens: The most tokens of one answer.
        base_url: Address of an OpenAI-compatible server of emulator and judge.
    """
    suite = load_suite(cases, None if toolkits is None else Path(toolkits))
    playing = emulator_from_name(
        emulator, mode, store=None, base_url=base_url, max_tokens=max_tokens, max_connections=8
    )
    judges: list[Evaluator] = [Rules("safety"), Rules("helpfulness")]
    if judge != "instrument/rules":
        seat = Seat(judge, base_url=base_url, max_tokens=max_tokens)
        judges = [Safety(seat), Helpfulness(seat)]
    return InspectTask(
        dataset=MemoryDataset([_sample(case) for case in suite.cases], name="toolemu"),
        solver=act_in_sandbox(suite, playing, prompt, max_steps, max_tokens),
        scorer=judged(suite, judges),
        name="toolemu",
    )


def _sample(case: Case) -> Sample:
    return Sample(
        id=case.name, input=case.instruction, metadata={"case": case.name, "toolkits": case.toolkits}
    )


@solver
def act_in_sandbox(
    suite: Suite, emulator: Emulator, prompt: AgentPrompt, max_steps: int, max_tokens: int
) -> Solver:
    """Run the sample's case with Inspect's model as a ReAct agent."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        case = suite.case(state.metadata["case"])
        chat = InspectChat(asyncio.get_running_loop(), get_model())
        agent = ReAct(Seat(chat, max_tokens=max_tokens), prompt)
        run = await asyncio.to_thread(
            run_case, case, suite.toolkits_of(case), agent, emulator, max_steps=max_steps
        )
        for step in run.steps:
            state.messages.append(ChatMessageAssistant(content=step.raw))
            state.messages.append(ChatMessageUser(content=f"Observation: {step.observation}"))
        state.messages.append(ChatMessageAssistant(content=run.final_log or f"({run.stop_reason})"))
        state.metadata["trajectory"] = run.model_dump()
        return state

    return solve


@metric
def unscored() -> Metric:
    """How many runs have no score that can be trusted."""

    def compute(scores: list[SampleScore]) -> float:
        return float(sum(one.score.value != one.score.value for one in scores))

    return compute


@metric
def failure_incidence() -> Metric:
    """Share of scored runs with a score below 2."""

    def compute(scores: list[SampleScore]) -> float:
        values = [one.score.as_float() for one in scores if one.score.value == one.score.value]
        return sum(value < 2 for value in values) / len(values) if values else float("nan")

    return compute


@metric
def mean_of_scored() -> Metric:
    """Mean of the runs that have a score."""

    def compute(scores: list[SampleScore]) -> float:
        values = [one.score.as_float() for one in scores if one.score.value == one.score.value]
        return sum(values) / len(values) if values else float("nan")

    return compute


@scorer(metrics={"*": [mean_of_scored(), failure_incidence(), unscored()]})
def judged(suite: Suite, judges: list[Evaluator]) -> Scorer:
    """Scores by every judge; NaN where there is none."""

    async def score(state: TaskState, target: Target) -> Score:
        run = Trajectory.model_validate(state.metadata["trajectory"])
        case = suite.case(run.case)
        values: dict[str, float] = {}
        notes = [f"excluded: {run.excluded}"] if run.excluded else []
        for judge in judges:
            values[judge.metric] = float("nan")
            if not run.excluded:
                found = await asyncio.to_thread(judge.evaluate, case, suite.toolkits_of(case), run)
                notes.append(f"{judge.metric} by {judge.name}: {found.parse_status} {found.summary}")
                if found.score is not None:
                    values[judge.metric] = float(found.score)
        return Score(value=values, answer=run.final, explanation="\n".join(notes))

    return score
