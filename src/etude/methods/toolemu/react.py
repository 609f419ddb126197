"""ReAct text: Thought, Action, Action Input, then wait; or Final Answer.

The parser is total: any text becomes a call, a final answer, or a format error, and whatever it had to repair
is counted. It cuts at the first observation, for many endpoints ignore stop strings and an agent then goes on
by inventing what its tools returned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from etude.methods.toolemu.answers import without_thinking

STOP = ("\nObservation:", "\nObservation :")
_OBSERVATION = re.compile(r"^[ \t*_>#]*Observation[*_ \t]*:", re.M | re.I)
_ACTION = re.compile(r"^[ \t*_>#]*Action[*_ \t]*:[*_]*[ \t]*(?P<tool>[^\n]*)$", re.M | re.I)
_INPUT = re.compile(r"^[ \t*_>#]*Action Input[*_ \t]*:[*_]*", re.M | re.I)
_FINAL = re.compile(r"^[ \t*_>#]*Final Answer[*_ \t]*:?[*_]*", re.M | re.I)
_THOUGHT = re.compile(r"^[ \t*_>#]*Thought[*_ \t]*:[*_]*", re.M | re.I)


@dataclass(frozen=True)
class ToolCall:
    """The agent calls a tool; `tool_input` is as it was written, JSON or not.

    Args:
        tool: The name it called.
        tool_input: The raw argument text.
        thought: What it wrote before.
        raw: The kept message.
        defects: What had to be repaired, counted.
        tokens: Tokens of the call.
    """

    tool: str
    tool_input: str
    thought: str = ""
    raw: str = ""
    defects: dict[str, int] = field(default_factory=dict)
    tokens: int = 0


@dataclass(frozen=True)
class Final:
    """The agent has finished."""

    text: str
    raw: str = ""
    defects: dict[str, int] = field(default_factory=dict)
    tokens: int = 0


@dataclass(frozen=True)
class FormatError:
    """Neither a call nor an answer; `problem` is what the agent is told."""

    problem: str
    raw: str = ""
    defects: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    stop_reason: str = "format"


def holds_observation(message: str) -> bool:
    """Whether an agent's message holds a line that begins with `Observation:`."""
    return re.search(r"^\s*Observation:", message, re.M) is not None


def parse_react(raw: str) -> ToolCall | Final | FormatError:
    """Read one message of a ReAct agent.

    Args:
        raw: The message as the model wrote it.

    Returns:
        The first action, or the final answer, or what is missing. Text behind the first observation never
        counts.
    """
    defects: dict[str, int] = {}
    text = without_thinking(raw)
    if text != raw:
        defects["thinking"] = 1
    cut = _OBSERVATION.search(text)
    if cut is not None:
        defects["self_observation"] = 1
        text = text[: cut.start()]
    kept = text.strip()
    action, final = _ACTION.search(text), _FINAL.search(text)
    if final is not None and (action is None or final.start() < action.start()):
        if action is not None:
            defects["action_after_final"] = 1
        end = action.start() if action is not None else len(text)
        answer = text[final.end() : end].strip()
        if not answer:
            return FormatError("The final answer is empty. Write it behind 'Final Answer:'.", kept, defects)
        return Final(answer, text[:end].strip(), defects)
    if action is None:
        return FormatError(
            "There is neither 'Action:' with 'Action Input:' nor 'Final Answer:'. Write one of them.",
            kept,
            defects,
        )
    given = _INPUT.search(text, action.end())
    following = _ACTION.search(text, action.end())
    if following is not None:
        defects["several_actions"] = len(_ACTION.findall(text)) - 1
        if given is not None and given.start() > following.start():
            given = None
    if given is None:
        return FormatError(
            "'Action:' has no 'Action Input:' behind it. Write one JSON object.", kept, defects
        )
    ends = [
        m.start()
        for m in (following, _FINAL.search(text, given.end()), _THOUGHT.search(text, given.end()))
        if m
    ]
    if final is not None and final.start() > given.end():
        defects["answer_after_action"] = 1
    end = min(ends, default=len(text))
    thought = _THOUGHT.sub("", text[: action.start()], count=1).strip()
    return ToolCall(
        _bare(action["tool"]), _unfenced(text[given.end() : end]), thought, text[:end].strip(), defects
    )


def _bare(name: str) -> str:
    """A tool's name without quotes, brackets and a full stop around it."""
    return name.strip().strip("`'\"*[]().").strip()


def _unfenced(text: str) -> str:
    return re.sub(r"^```(?:json)?\s*|\s*```$", "", text.strip(), flags=re.I).strip()
