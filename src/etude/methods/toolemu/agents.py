"""Agents: what is tested. Each sees the instruction, its tools and observations, and chooses the next act."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from etude.errors import EtudeError
from etude.methods.toolemu.answers import is_refusal, without_thinking
from etude.methods.toolemu.cases import Case
from etude.methods.toolemu.native_tools import native_chat
from etude.methods.toolemu.prompts import AgentPrompt, agent_system
from etude.methods.toolemu.react import STOP, Final, FormatError, ToolCall, parse_react
from etude.methods.toolemu.seats import Seat
from etude.methods.toolemu.toolkits import Toolkit, callable_tools
from etude.methods.toolemu.trajectories import Step
from etude.models import ChatModel, Conversation

Act: TypeAlias = ToolCall | Final | FormatError


@dataclass(frozen=True)
class History:
    """What has happened in a run so far.

    Args:
        case: The case; an agent may read `case.instruction` and `case.toolkits` alone.
        steps: Calls and observations.
        complaints: Format errors since the last step: the message and what was wrong with it.
        seed: The run's seed.
    """

    case: Case
    steps: Sequence[Step]
    complaints: Sequence[tuple[str, str]] = field(default_factory=tuple)
    seed: int = 0


class Agent(Protocol):
    """Anything that acts."""

    @property
    def name(self) -> str:
        """Shown in tables."""

    def act(self, history: History, tools: Sequence[Toolkit]) -> Act:
        """The next call, the final answer, or a message that is neither."""


class ReAct:
    """A chat model that writes Thought, Action, Action Input.

    Args:
        model: Any chat model or its name.
        prompt: `basic`, `safety` or `helpful_safety`.
        options: See `Seat`.
    """

    def __init__(self, model: str | ChatModel | Seat, prompt: AgentPrompt = "basic", **options: Any) -> None:
        self.seat = model if isinstance(model, Seat) else Seat(model, **options)
        self.prompt = prompt
        self.name = f"{self.seat.name}:{prompt}"

    def act(self, history: History, tools: Sequence[Toolkit]) -> Act:
        """Ask the model, with a stop string and again by cutting, and read the answer."""
        messages: Conversation = [
            {"role": "system", "content": agent_system(tools, self.prompt)},
            {"role": "user", "content": history.case.instruction},
        ]
        for step in history.steps:
            messages.append({"role": "assistant", "content": step.raw or step.tool})
            messages.append({"role": "user", "content": f"Observation: {step.observation}"})
        for raw, problem in history.complaints:
            messages.append({"role": "assistant", "content": raw or "(empty)"})
            messages.append({"role": "user", "content": f"Format error: {problem}"})
        reply = self.seat.ask(messages, stop=STOP, seed=history.seed)
        tokens = reply.prompt_tokens + reply.output_tokens
        if reply.stop_reason in ("refused", "error"):
            return FormatError(reply.error or reply.text, reply.text, {}, tokens, reply.stop_reason)
        act = parse_react(reply.text)
        if isinstance(act, FormatError) and is_refusal(without_thinking(reply.text)):
            return FormatError("The model declined.", act.raw, act.defects, tokens, "refused")
        return type(act)(**{**vars(act), "tokens": tokens})


class NativeTools:
    """A served model that calls tools by its provider's own means; it cannot write an observation.

    Args:
        model: `openai/MODEL`.
        prompt: As for `ReAct`.
        base_url: The server's address.
        store: See `Seat`.
        max_tokens: See `Seat`.
    """

    def __init__(
        self,
        model: str,
        prompt: AgentPrompt = "basic",
        *,
        base_url: str | None = None,
        store: Path | None = None,
        max_tokens: int = 1024,
    ) -> None:
        self.model, self.prompt, self.base_url = model, prompt, base_url
        self.store, self.max_tokens = store, max_tokens
        self.name = f"{model}:{prompt}:native"
        self._seats: dict[str, Seat] = {}

    def act(self, history: History, tools: Sequence[Toolkit]) -> Act:
        """One answer of the provider; of several calls the first is taken."""
        messages: Conversation = [
            {"role": "system", "content": agent_system(tools, self.prompt, native=True)},
            {"role": "user", "content": json.dumps({"user": history.case.instruction})},
        ]
        for step in history.steps:
            called = json.loads(step.raw)
            messages.append({"role": "assistant", "content": step.raw})
            answer = {"tool_call_id": called["tool_calls"][0]["id"], "content": step.observation}
            messages.append({"role": "user", "content": json.dumps(answer)})
        for _, problem in history.complaints:
            messages.append({"role": "user", "content": json.dumps({"user": problem})})
        reply = self._seat(history.case, tools).ask(messages, seed=history.seed)
        tokens = reply.prompt_tokens + reply.output_tokens
        if reply.stop_reason in ("refused", "error"):
            return FormatError(reply.error or reply.text, reply.text, {}, tokens, reply.stop_reason)
        held = json.loads(reply.text)
        if not held["tool_calls"]:
            text = without_thinking(held["content"]).strip()
            if not text:
                return FormatError("Your message is empty: call a tool or answer the user.", "", {}, tokens)
            return Final(text, text, {}, tokens)
        first = held["tool_calls"][0]
        defects = {"several_actions": len(held["tool_calls"]) - 1} if len(held["tool_calls"]) > 1 else {}
        raw = json.dumps({"content": held["content"], "tool_calls": [first]})
        return ToolCall(first["name"], first["arguments"], held["content"], raw, defects, tokens)

    def _seat(self, case: Case, tools: Sequence[Toolkit]) -> Seat:
        key = "|".join(case.toolkits)
        if key not in self._seats:
            specs = [
                {
                    "type": "function",
                    "function": {
                        "name": name,
                        "description": item.tool.summary,
                        "parameters": item.tool.arguments_schema(),
                    },
                }
                for name, item in callable_tools(tools).items()
            ]
            chat = native_chat(self.model, specs, self.base_url)
            self._seats[key] = Seat(chat, store=self.store, max_tokens=self.max_tokens)
        return self._seats[key]


class Scripted:
    """A Python function as an agent.

    Args:
        function: From history and toolkits to an act.
        name: Shown in tables.
    """

    def __init__(self, function: Callable[[History, Sequence[Toolkit]], Act], name: str = "scripted") -> None:
        self.function, self.name = function, name

    def act(self, history: History, tools: Sequence[Toolkit]) -> Act:
        """What the function says."""
        return self.function(history, tools)


def no_act(history: History, tools: Sequence[Toolkit]) -> Act:
    """The sanity baseline: it never calls a tool."""
    return Final(
        "Sorry, I cannot help you with this task.", "Final Answer: Sorry, I cannot help you with this task."
    )


def agent_from_name(
    name: str, *, store: Path | None, base_url: str | None, max_tokens: int, max_connections: int
) -> Agent:
    """`MODEL[:PROMPT[:native]]`, `noact`, or `instrument/cautious|reckless|checker|noact`.

    Raises:
        EtudeError: There is no such agent or prompt.
    """
    if name == "noact":
        return Scripted(no_act, "noact")
    if name.startswith("instrument/"):
        from etude.methods.toolemu.world.policies import POLICIES

        kind = name.removeprefix("instrument/")
        if kind not in POLICIES:
            raise EtudeError(f"there is no {name}", f"There are: {', '.join(POLICIES)}.")
        return Scripted(POLICIES[kind], name)
    native = name.endswith(":native")
    model, colon, prompt = name.removesuffix(":native").rpartition(":")
    if not colon or "/" in prompt:
        model, prompt = name.removesuffix(":native"), "basic"
    if prompt not in ("basic", "safety", "helpful_safety"):
        raise EtudeError(
            f"{name}: there is no prompt {prompt!r}",
            "Write MODEL:basic, MODEL:safety or MODEL:helpful_safety.",
        )
    variant: AgentPrompt = prompt  # type: ignore[assignment]
    if native:
        return NativeTools(model, variant, base_url=base_url, store=store, max_tokens=max_tokens)
    return ReAct(
        model, variant, store=store, base_url=base_url, max_tokens=max_tokens, max_connections=max_connections
    )
