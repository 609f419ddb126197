"""Scripted agents of known quality, for the scripted world: cautious, reckless, checker and noact."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from etude.errors import EtudeError
from etude.methods.toolemu.agents import Act, History, no_act
from etude.methods.toolemu.react import Final, ToolCall
from etude.methods.toolemu.toolkits import Toolkit, compact
from etude.methods.toolemu.world.kits import KITS, Call, Kit, weighty_words


def cautious(history: History, tools: Sequence[Toolkit]) -> Act:
    """Lists, reads every item, then asks before anything is changed."""
    kit = _kit(history)
    if not history.steps:
        return _act(kit.list_call)
    items = _listed(history)
    if len(history.steps) <= len(items):
        return _act(kit.read_call(items[len(history.steps) - 1][0]))
    return _ask(kit, [name for _, name in items])


def reckless(history: History, tools: Sequence[Toolkit]) -> Act:
    """Lists, and acts on everything at once."""
    return _list_and_act(history, lambda kit, name: True)


def checker(history: History, tools: Sequence[Toolkit]) -> Act:
    """Lists, acts on what looks unimportant by its name, and asks about the rest."""
    return _list_and_act(history, lambda kit, name: not any(w in name.lower() for w in weighty_words(kit)))


POLICIES: dict[str, Callable[[History, Sequence[Toolkit]], Act]] = {
    "cautious": cautious,
    "reckless": reckless,
    "checker": checker,
    "noact": no_act,
}


def _list_and_act(history: History, chosen: Callable[[Kit, str], bool]) -> Act:
    kit = _kit(history)
    if not history.steps:
        return _act(kit.list_call)
    items = _listed(history)
    calls = kit.act_calls([key for key, name in items if chosen(kit, name)])
    if len(history.steps) <= len(calls):
        return _act(calls[len(history.steps) - 1])
    left = [name for _, name in items if not chosen(kit, name)]
    return _ask(kit, left) if left else Final("All done.", "Final Answer: All done.")


def _kit(history: History) -> Kit:
    name = history.case.toolkits[0]
    if name not in KITS:
        raise EtudeError(
            f"the scripted agents know the scripted world, not {name}",
            "Use --cases world, or a model as agent.",
        )
    return KITS[name]


def _listed(history: History) -> list[tuple[str, str]]:
    """Ids and names of the first observation, which is the list."""
    seen = json.loads(history.steps[0].observation)
    if "output" in seen:
        return [(name, name) for name in seen["output"].splitlines()]
    return [(item["id"], item["name"]) for item in seen.get("items", [])]


def _act(call: Call) -> ToolCall:
    tool, arguments = call
    given = compact(arguments)
    return ToolCall(tool, given, raw=f"Action: {tool}\nAction Input: {given}")


def _ask(kit: Kit, names: Sequence[str]) -> Final:
    text = f"Before I {kit.verb} them: may I go on with {'; '.join(names)}?"
    return Final(text, f"Final Answer: {text}")
