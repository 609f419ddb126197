"""Emulators: what answers a tool call. A language model, a scripted world, or a recorded trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from etude.errors import EtudeError
from etude.methods.toolemu.answers import fields, is_refusal, one_object, without_thinking
from etude.methods.toolemu.cases import Case
from etude.methods.toolemu.prompts import Mode, emulator_request, emulator_system
from etude.methods.toolemu.seats import Seat
from etude.methods.toolemu.toolkits import CallableTool, Toolkit, compact, output_problem
from etude.methods.toolemu.trajectories import Step, Trajectory, read_trajectories
from etude.models import ChatModel, Conversation

RETRIES = 2
_FIELDS = ("Simulator Thought", "Simulator Log Summary", "Observation")


@dataclass(frozen=True)
class Request:
    """One call to be answered.

    Args:
        case: The case.
        toolkits: Its toolkits.
        steps: The steps before.
        tool: The tool that is called.
        arguments: Its arguments, valid JSON.
        given: The arguments as they were written.
        seed: The run's seed.
    """

    case: Case
    toolkits: Sequence[Toolkit]
    steps: Sequence[Step]
    tool: CallableTool
    arguments: dict[str, Any]
    given: str
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What an emulator gave.

    Args:
        observation: For the agent; empty where there is none.
        summary: For the emulator itself.
        raw: All that the model wrote.
        error: Why the answer is invalid; empty when it is valid.
        kind: `ok`, `invalid`, `refused` or `error` (the provider's).
        tokens: Tokens of all attempts.
        calls: How many attempts.
    """

    observation: str
    summary: str = ""
    raw: str = ""
    error: str = ""
    kind: str = "ok"
    tokens: int = 0
    calls: int = 0


class Emulator(Protocol):
    """Anything that answers tool calls."""

    @property
    def name(self) -> str:
        """Shown in tables."""

    @property
    def mode(self) -> Mode:
        """Standard or adversarial."""

    def answer(self, request: Request) -> Answer:
        """Answer one call."""


class LM:
    """A language model plays the tools.

    Args:
        model: Any chat model or its name.
        mode: `standard`, or `adversarial`: it also sees what may go wrong, and makes that possible.
        options: See `Seat`.
    """

    def __init__(self, model: str | ChatModel | Seat, mode: Mode = "standard", **options: Any) -> None:
        self.seat = model if isinstance(model, Seat) else Seat(model, **options)
        self.mode: Mode = mode
        self.name = self.seat.name

    def answer(self, request: Request) -> Answer:
        """Ask; an answer that cannot be used is sent back with the reason, twice at most."""
        asked = emulator_request(request.case, self.mode, request.steps, request.tool, request.given)
        messages: Conversation = [
            {"role": "system", "content": emulator_system(request.toolkits, self.mode)},
            {"role": "user", "content": asked},
        ]
        tokens, problem, kind, raw = 0, "", "invalid", ""
        for attempt in range(1 + RETRIES):
            reply = self.seat.ask(messages, seed=request.seed)
            tokens += reply.prompt_tokens + reply.output_tokens
            raw = reply.text
            if reply.stop_reason == "error":
                return Answer(
                    "", raw=raw, error=reply.error or "", kind="error", tokens=tokens, calls=attempt + 1
                )
            found, problem, refused = read_emulation(raw, request.tool)
            if found is not None and reply.stop_reason != "refused":
                return Answer(*found, raw=raw, tokens=tokens, calls=attempt + 1)
            kind = "refused" if refused or reply.stop_reason == "refused" else "invalid"
            messages += [
                {"role": "assistant", "content": raw or "(empty)"},
                {"role": "user", "content": f"This cannot be used: {problem}. Write all three fields again."},
            ]
        return Answer("", raw=raw, error=problem, kind=kind, tokens=tokens, calls=1 + RETRIES)


def read_emulation(raw: str, tool: CallableTool) -> tuple[tuple[str, str] | None, str, bool]:
    """Read an emulator's answer.

    Args:
        raw: What the model wrote.
        tool: The tool it played.

    Returns:
        Observation and summary, or None; what is wrong; whether the model declined.
    """
    text = without_thinking(raw)
    parts = fields(text, _FIELDS)
    if "Observation" not in parts:
        return None, "there is no line 'Observation: {...}'", is_refusal(text.strip())
    if len(parts["Observation"]) > 1:
        return None, "there are several lines 'Observation:'", False
    [observation] = parts["Observation"]
    output, problem = one_object(observation)
    if output is None:
        return None, problem, is_refusal(observation)
    wrong = output_problem(tool.tool, output)
    if wrong is not None:
        return None, f"the observation does not fit the specification of {tool.name}: {wrong}", False
    return (compact(output), " ".join(parts.get("Simulator Log Summary", []))), "", False


class Scripted:
    """A scripted world answers; the same calls have the same answers.

    Args:
        world: From case, mode, seed and all calls so far (the last one to be answered) to an output.
        mode: Which world.
        name: Shown in tables.
    """

    def __init__(
        self,
        world: Callable[[Case, Mode, int, Sequence[tuple[str, dict[str, Any]]]], dict[str, Any]],
        mode: Mode = "standard",
        name: str = "scripted",
    ) -> None:
        self.world, self.mode, self.name = world, mode, name

    def answer(self, request: Request) -> Answer:
        """Play the calls so far in a fresh world and give the last output."""
        calls = [*played_calls(request.steps), (request.tool.name, request.arguments)]
        return Answer(compact(self.world(request.case, self.mode, request.seed, calls)))


def played_calls(steps: Sequence[Step]) -> list[tuple[str, dict[str, Any]]]:
    """The calls of steps whose input was a JSON object and that reached the emulator."""
    calls = []
    for step in steps:
        arguments, _ = one_object(step.tool_input)
        if arguments is not None and not step.error:
            calls.append((step.tool, arguments))
    return calls


class Replay:
    """Recorded observations: an agent that makes the recorded calls gets the recorded answers.

    Args:
        trajectories: Recorded runs.
        agent: Whose runs, when there are several agents.

    Raises:
        EtudeError: A case was recorded for several agents and none is named.
    """

    def __init__(self, trajectories: Sequence[Trajectory], agent: str | None = None) -> None:
        chosen = [t for t in trajectories if agent in (None, t.agent)]
        self.runs = {t.case: t for t in chosen}
        if len(self.runs) < len(chosen):
            names = ", ".join(sorted({t.agent for t in chosen}))
            raise EtudeError(
                f"the recording holds several agents ({names})"[:400], "Write replay/FILE#AGENT."
            )
        if not chosen:
            raise EtudeError(f"the recording holds no agent {agent!r}", "Check the name behind #.")
        self.mode: Mode = "adversarial" if chosen[0].mode == "adversarial" else "standard"
        self.name = f"replay of {chosen[0].agent}"

    def answer(self, request: Request) -> Answer:
        """The recorded answer to the same call after the same calls; anything else is an invalid step."""
        run = self.runs.get(request.case.name)
        number = len(request.steps)
        if run is None or number >= len(run.steps):
            return Answer("", error="this call was not recorded", kind="invalid", calls=1)
        recorded = run.steps[number]
        arguments, _ = one_object(recorded.tool_input)
        if recorded.tool != request.tool.name or (arguments or {}) != request.arguments:
            return Answer(
                "", error=f"recorded was {recorded.tool} {recorded.tool_input}"[:300], kind="invalid", calls=1
            )
        return Answer(recorded.observation, recorded.emulator_summary, calls=1)

    def agent(self, history: Any, tools: Any) -> Any:
        """The recorded agent, call by call: with it, a whole recording plays again."""
        from etude.methods.toolemu.react import Final, ToolCall

        run = self.runs.get(history.case.name)
        number = len(history.steps)
        if run is None or number >= len(run.steps):
            return Final(run.final if run else "", run.final if run else "")
        step = run.steps[number]
        return ToolCall(step.tool, step.tool_input, step.thought, step.raw)


def emulator_from_name(
    name: str, mode: Mode, *, store: Path | None, base_url: str | None, max_tokens: int, max_connections: int
) -> Emulator:
    """A chat model's name, `instrument/world`, or `replay/FILE[#AGENT]` of trajectories."""
    if name == "instrument/world":
        from etude.methods.toolemu.world.scenarios import answer_call

        return Scripted(answer_call, mode, name)
    if name.startswith("replay/"):
        path, _, agent = name.removeprefix("replay/").partition("#")
        return Replay(read_trajectories(Path(path)), agent or None)
    return LM(
        name, mode, store=store, base_url=base_url, max_tokens=max_tokens, max_connections=max_connections
    )
