"""Toolkits: named collections of tools, each specified by arguments, returns and exceptions.

Nothing here is executable: a tool is its specification, and a language model or a scripted world plays it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from etude.errors import EtudeError
from etude.runs import read_json

M = TypeVar("M", bound=BaseModel)
JsonType = Literal["string", "integer", "number", "boolean", "array", "object"]


class Returned(BaseModel):
    """One returned field."""

    name: str = Field(min_length=1)
    type: JsonType
    description: str = ""


class Parameter(Returned):
    """One argument."""

    required: bool = False


class ToolException(BaseModel):
    """An exception that a tool may raise."""

    name: str = Field(min_length=1)
    description: str = ""


class Tool(BaseModel):
    """One tool; `returns` must not be empty, or no output could be checked."""

    name: str = Field(min_length=1)
    summary: str
    parameters: list[Parameter] = []
    returns: list[Returned] = Field(min_length=1)
    exceptions: list[ToolException] = []

    def arguments_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return {
            "type": "object",
            "properties": {p.name: {"type": p.type, "description": p.description} for p in self.parameters},
            "required": [p.name for p in self.parameters if p.required],
            "additionalProperties": False,
        }

    def returns_schema(self) -> dict[str, Any]:
        """JSON Schema of the output; a tool may leave out nothing that it declares."""
        return {
            "type": "object",
            "properties": {r.name: {"type": [r.type, "null"]} for r in self.returns},
            "required": [r.name for r in self.returns],
        }


class Toolkit(BaseModel):
    """A named collection of tools."""

    toolkit: str = Field(min_length=1)
    name_for_model: str = ""
    name_for_human: str = ""
    category: str = ""
    description_for_model: str = ""
    description_for_human: str = ""
    tools: list[Tool] = Field(min_length=1)

    @classmethod
    def load(cls, path: Path | str) -> list[Toolkit]:
        """Read a file of toolkits; see `load_toolkits`."""
        return list(load_toolkits(path).values())


class CallableTool(BaseModel):
    """A tool under the name by which an agent calls it: toolkit and tool written together."""

    name: str
    toolkit: str
    tool: Tool


def load_toolkits(path: Path | str) -> dict[str, Toolkit]:
    """Toolkits of a JSON file (a list), by name.

    Raises:
        EtudeError: The file is not a list of toolkits; every bad field is named.
    """
    found = parse_list(path, Toolkit)
    problems = toolkit_problems(found)
    if problems:
        raise EtudeError(f"{path}: {problems[0]}", "See all problems with: etude toolemu check-spec")
    return {kit.toolkit: kit for kit in found}


def parse_list(path: Path | str, model: type[M]) -> list[M]:
    """Items of a JSON list as checked records, up to twenty problems at once."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise EtudeError(f"{path}: holds a {type(rows).__name__}, not a list", "Write a JSON list.")
    items, bad = [], []
    for number, row in enumerate(rows):
        try:
            items.append(model.model_validate(row))
        except ValidationError as error:
            name = (row.get("toolkit") or row.get("name") or "") if isinstance(row, dict) else ""
            bad += [
                f"{path}: item {number} {name}: {'.'.join(map(str, e['loc']))}: {e['msg']}"
                for e in error.errors()
            ]
    if bad:
        raise EtudeError("\n".join(bad[:20]), "Mend these items; docs/methods/toolemu.md shows the format.")
    return items


def toolkit_problems(toolkits: Sequence[Toolkit]) -> list[str]:
    """What is wrong across toolkits: names used twice, or two tools that an agent would call by one name."""
    problems = _twice("toolkit", (kit.toolkit for kit in toolkits))
    called: dict[str, str] = {}
    for kit in toolkits:
        problems += [f"toolkit {kit.toolkit}: {p}" for p in _twice("tool", (t.name for t in kit.tools))]
        for tool in kit.tools:
            for what, names in (("parameter", tool.parameters), ("return", tool.returns)):
                twice = _twice(what, (item.name for item in names))
                problems += [f"toolkit {kit.toolkit}, tool {tool.name}: {p}" for p in twice]
            name = (kit.name_for_model or kit.toolkit) + tool.name
            if called.get(name, kit.toolkit) != kit.toolkit:
                problems.append(f"toolkits {called[name]} and {kit.toolkit} both have a tool called {name}")
            called[name] = kit.toolkit
    return problems


def callable_tools(toolkits: Iterable[Toolkit]) -> dict[str, CallableTool]:
    """The tools of a case by the name that an agent uses."""
    return {
        (name := (kit.name_for_model or kit.toolkit) + tool.name): CallableTool(
            name=name, toolkit=kit.toolkit, tool=tool
        )
        for kit in toolkits
        for tool in kit.tools
    }


def describe_tool(item: CallableTool, *, full: bool = True) -> str:
    """A tool's specification as text for a prompt; without the returns and exceptions if not `full`."""
    tool = item.tool
    lines = [f"* {item.name}: {tool.summary}", "  Arguments:" if tool.parameters else "  Arguments: none"]
    for p in tool.parameters:
        need = "required" if p.required else "optional"
        lines.append(f"    - {p.name} ({p.type}, {need}): {p.description}")
    lines.append("  Returns:")
    lines += [f"    - {r.name} ({r.type}): {r.description}" for r in tool.returns]
    if full and tool.exceptions:
        lines.append("  Exceptions:")
        lines += [f"    - {e.name}: {e.description}" for e in tool.exceptions]
    return "\n".join(lines)


def describe_toolkits(toolkits: Iterable[Toolkit], *, full: bool) -> str:
    """All tools of a case as text, toolkit by toolkit."""
    parts = []
    for kit in toolkits:
        head = f"## {kit.name_for_model or kit.toolkit}: {kit.description_for_model}"
        parts.append(
            "\n".join([head, *(describe_tool(t, full=full) for t in callable_tools([kit]).values())])
        )
    return "\n\n".join(parts)


def arguments_problem(tool: Tool, arguments: Any) -> str | None:
    """Why arguments do not fit a tool's specification, or None."""
    return _schema_problem(tool.arguments_schema(), arguments)


def output_problem(tool: Tool, output: Any) -> str | None:
    """Why an output is not the tool's: not an object, or a declared field is missing or of another type.

    `{"error": ...}` is what a raised exception looks like, and always fits.
    """
    if isinstance(output, dict) and isinstance(output.get("error"), str) and len(output) == 1:
        return None
    return _schema_problem(tool.returns_schema(), output)


def _schema_problem(schema: dict[str, Any], value: Any) -> str | None:
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path)))
    if not errors:
        return None
    where = "/".join(map(str, errors[0].path))
    return f"{where + ': ' if where else ''}{errors[0].message}"[:300]


def _twice(kind: str, names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return [f"{kind} {name!r} is there twice" for name in twice]


def compact(value: Any) -> str:
    """JSON in one line."""
    return json.dumps(value, ensure_ascii=False)
