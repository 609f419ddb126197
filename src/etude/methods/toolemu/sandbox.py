"""One run: the agent acts, the emulator answers, until the agent has finished. Nothing is ever executed.

What can go wrong is counted, not hidden: a message without an act is sent back three times, an input that is
no JSON object and a tool that is not there become error observations, and a step that the emulator cannot
answer excludes the run from scoring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from etude.errors import EtudeError
from etude.methods.toolemu.agents import Agent, History
from etude.methods.toolemu.answers import load_json
from etude.methods.toolemu.cases import Case, Suite
from etude.methods.toolemu.emulators import Emulator, Request
from etude.methods.toolemu.prompts import prompt_hashes
from etude.methods.toolemu.react import Final, FormatError, ToolCall, holds_observation
from etude.methods.toolemu.toolkits import CallableTool, Toolkit, arguments_problem, callable_tools, compact
from etude.methods.toolemu.trajectories import Step, StopReason, Trajectory

FORMAT_RETRIES = 3
X = TypeVar("X")
Y = TypeVar("Y")


def run_case(
    case: Case,
    toolkits: Sequence[Toolkit],
    agent: Agent,
    emulator: Emulator,
    *,
    max_steps: int = 15,
    seed: int = 0,
) -> Trajectory:
    """Run one agent on one case.

    Args:
        case: The case.
        toolkits: Its toolkits.
        agent: Who acts.
        emulator: Who answers.
        max_steps: The most tool calls.
        seed: For sampling models and the scripted world.

    Raises:
        EtudeError: A model cannot be reached.
    """
    tools = callable_tools(toolkits)
    steps: list[Step] = []
    complaints: list[tuple[str, str]] = []
    defects: Counter[str] = Counter()
    kept: list[str] = []
    agent_calls = emulator_calls = tokens = 0

    def ended(reason: StopReason, final: str = "", excluded: str = "") -> Trajectory:
        return Trajectory(
            case=case.name, agent=agent.name, emulator=emulator.name, mode=emulator.mode, seed=seed,
            steps=steps,
            final=final, final_log=kept[-1] if kept else "", stop_reason=reason,
            self_observed=any(holds_observation(text) for text in kept), excluded=excluded,
            defects=dict(defects), agent_calls=agent_calls, emulator_calls=emulator_calls, tokens=tokens,
            prompts=prompt_hashes(),
        )  # fmt: skip

    while True:
        act = agent.act(History(case, tuple(steps), tuple(complaints), seed), toolkits)
        agent_calls += 1
        tokens += act.tokens
        defects.update(act.defects)
        kept.append(act.raw)
        if isinstance(act, Final):
            return ended("final", act.text)
        if isinstance(act, FormatError):
            if act.stop_reason in ("refused", "error"):
                failed = act.stop_reason == "error"
                return ended(
                    "error" if failed else "refused", act.raw, f"agent: {act.problem}" if failed else ""
                )
            defects["format"] += 1
            if len(complaints) == FORMAT_RETRIES:
                return ended("format")
            complaints.append((act.raw, act.problem))
            continue
        if len(steps) >= max_steps:
            return ended("max_steps")
        complaints.clear()
        step, calls, failure = _take_step(case, toolkits, tools, emulator, steps, act, seed)
        emulator_calls += calls
        tokens += step.tokens
        steps.append(step)
        defects.update({step.error.split(":")[0]: 1} if step.error else {})
        if failure:
            return ended("refused" if failure == "refused" else "error", excluded=f"emulator {step.error}")


def _take_step(
    case: Case,
    toolkits: Sequence[Toolkit],
    tools: dict[str, CallableTool],
    emulator: Emulator,
    steps: Sequence[Step],
    act: ToolCall,
    seed: int,
) -> tuple[Step, int, str]:
    """One call: the step, how often the emulator was asked, and its failure if it failed."""
    base = Step(tool=act.tool, tool_input=act.tool_input, thought=act.thought, observation="", raw=act.raw)

    def refused(error: str, observation: str) -> tuple[Step, int, str]:
        answer = compact({"error": f"InvalidRequestException: {observation}"})
        return base.model_copy(update={"observation": answer, "error": error}), 0, ""

    if act.tool not in tools:
        return refused("unknown tool", f"there is no tool {act.tool!r}; there are {', '.join(tools)}")
    try:
        arguments = load_json(act.tool_input or "{}")
    except ValueError as error:
        return refused("invalid input", f"the input is not valid JSON ({str(error)[:120]})")
    if not isinstance(arguments, dict):
        return refused("invalid input", "the input is not one JSON object")
    problem = arguments_problem(tools[act.tool].tool, arguments)
    if problem is not None:
        return refused("invalid arguments", f"the arguments do not fit the specification: {problem}")
    request = Request(case, toolkits, tuple(steps), tools[act.tool], arguments, act.tool_input or "{}", seed)
    answer = emulator.answer(request)
    update = {
        "observation": answer.observation,
        "emulator_summary": answer.summary,
        "emulator_raw": answer.raw,
        "error": f"{answer.kind}: {answer.error}" if answer.kind != "ok" else "",
        "tokens": answer.tokens,
    }
    return base.model_copy(update=update), answer.calls, "" if answer.kind == "ok" else answer.kind


def run(
    cases: Suite,
    agent: Agent,
    emulator: Emulator,
    *,
    max_steps: int = 15,
    seed: int = 0,
    max_connections: int = 8,
) -> list[Trajectory]:
    """Run an agent on all cases, several at once; for a run that resumes, use the verb of this name.

    Raises:
        EtudeError: A model cannot be reached.
    """

    def one(case: Case) -> Trajectory:
        return run_case(case, cases.toolkits_of(case), agent, emulator, max_steps=max_steps, seed=seed)

    found = {t.case: t for _, t in in_parallel(one, cases.cases, max_connections)}
    return [found[case.name] for case in cases.cases]


def in_parallel(work: Callable[[X], Y], items: Iterable[X], connections: int) -> Iterator[tuple[X, Y]]:
    """Results as they come, `connections` items under way; after a failure nothing new is begun.

    As many again wait in the pool, so that no worker is idle while a result is being kept. Finished items are
    given even when another fails; then the first failure is raised.
    """
    if connections < 1:
        raise EtudeError(f"--max-connections {connections}: not a positive number", "Give for example 8.")
    waiting = iter(items)
    running: dict[Future[Y], X] = {}
    failure: BaseException | None = None
    pool = ThreadPoolExecutor(connections)
    try:
        while True:
            room = 0 if failure else 2 * connections - len(running)
            running.update({pool.submit(work, item): item for item in islice(waiting, room)})
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                if future.cancelled():
                    continue
                error = future.exception()
                if error is None:
                    yield item, future.result()
                elif failure is None:
                    failure = error
                    for queued in running:
                        queued.cancel()
    finally:
        pool.shutdown(cancel_futures=True)
    if failure is not None:
        raise failure
