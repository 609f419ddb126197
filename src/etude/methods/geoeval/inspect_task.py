"""The same benchmark as an Inspect task, with the pictures as images and our checker as its scorer.

    inspect eval etude/geoeval --model openai/gpt-4o -T problems=problems.jsonl -T input=all
    inspect eval etude/geoeval --model anthropic/... -T problems=test.csv -T method=pot

With `method=pot` the model has a Python tool; its programs run in our sandbox. `inspect view` shows prompts,
pictures and scores; `inspect eval-retry` resumes; `inspect score --scorer etude/answer_scorer` scores again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, Content, ContentImage, ContentText, GenerateConfig
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, grouped, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver, use_tools
from inspect_ai.tool import Tool, tool

from etude.methods.geoeval.complexity import levels
from etude.methods.geoeval.extraction import Extraction, extract_answer, printed_answer
from etude.methods.geoeval.items import Item
from etude.methods.geoeval.prompts import Input, Method, conversation
from etude.methods.geoeval.readers import Format, read_items
from etude.methods.geoeval.sandbox import find_program, run_program
from etude.methods.geoeval.tables import check_response

_STOPS = {"max_tokens": "length", "model_length": "length", "content_filter": "refused"}
_TOOL_HINT = "You may run Python with the tool; finish with one line that reads: The answer is <your answer>."


@inspect_task
def geoeval(
    problems: str,
    subset: str | list[str] | None = None,
    input: Input = "text+facts",
    method: Method = "cot",
    format: Format = "auto",
    limit: int | None = None,
    max_tokens: int = 1024,
) -> InspectTask:
    """GeoEval: geometry problems, with or without their diagrams.

    Args:
        problems: A file or folder, as for `etude geoeval run`.
        subset: Only these, by commas.
        input: What is shown: `text`, `text+facts`, `text+diagram` or `all`.
        method: `cot`, `pot` (the model has a sandboxed Python tool) or `choice-letter`.
        format: What the file is, where that cannot be seen.
        limit: Only the first so many problems.
        max_tokens: Output limit.
    """
    wanted = subset.split(",") if isinstance(subset, str) else subset or []
    items = read_items(Path(problems), format=format, subsets=[str(name).strip() for name in wanted])[:limit]
    return items_task(items, input, method, max_tokens)


def items_task(
    items: Sequence[Item], given: Input = "text+facts", method: Method = "cot", max_tokens: int = 1024
) -> InspectTask:
    """The task of given items.

    Args:
        items: What to ask.
        given: What is shown.
        method: How it shall be answered.
        max_tokens: Output limit.
    """
    solvers: list[Solver] = (
        [generate()] if method != "pot" else [use_tools(run_python()), generate(), run_last_program()]
    )
    samples = [sample(item, level, given, method) for item, level in zip(items, levels(items), strict=True)]
    return InspectTask(
        dataset=MemoryDataset(samples, name="geoeval"),
        solver=solvers,
        scorer=answer_scorer(),
        config=GenerateConfig(temperature=0.0, max_tokens=max_tokens),
        name="geoeval",
    )


def sample(item: Item, level: str, given: Input, method: Method) -> Sample:
    """An item as a sample; the picture travels with it."""
    content = conversation(item, given, method)[0]["content"]
    message: str | list[Content]
    if isinstance(content, str):
        message = content
    else:
        message = [
            ContentText(text=part["text"])
            if part["type"] == "text"
            else ContentImage(image=part["image_url"]["url"])
            for part in content
        ]
    if method == "pot":
        message = (
            f"{message}\n{_TOOL_HINT}"
            if isinstance(message, str)
            else [*message, ContentText(text=_TOOL_HINT)]
        )
    return Sample(
        id=item.id,
        input=[ChatMessageUser(content=message)],
        target=item.gold,
        metadata={
            "subset": item.subset,
            "source": item.source or "unknown",
            "complexity": level,
            "parent_id": item.parent_id,
            "item": item.model_dump(mode="json", exclude={"problem"}),
        },
    )


@tool
def run_python() -> Tool:
    """A Python interpreter that can reach nothing."""

    async def execute(program: str) -> str:
        """Run a program and see what it prints. sympy, numpy and math are there, files and network not.

        Args:
            program: The program; it must print its results.
        """
        result = await asyncio.to_thread(run_program, program)
        return (
            result.output if result.status == "done" else f"{result.status}: {result.error}\n{result.output}"
        )

    return execute


@solver
def run_last_program() -> Solver:
    """Where a model wrote a program as text instead of calling the tool, run it and take what it prints."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        text = state.output.completion
        found = extract_answer(text)
        program = find_program(text)
        if program is not None and found.rule not in ("boxed", "announced"):
            result = await asyncio.to_thread(run_program, program)
            state.metadata["program_status"] = result.status
            state.metadata["program_answer"] = result.answer
        return state

    return solve


@scorer(
    metrics=[
        accuracy(),
        stderr(),
        grouped(accuracy(), "subset", all=False, name_template="subset {group_name}"),
        grouped(accuracy(), "source", all=False, name_template="source {group_name}"),
        grouped(accuracy(), "complexity", all=False, name_template="complexity {group_name}"),
    ]
)
def answer_scorer() -> Scorer:
    """Right or wrong by the answer checker."""

    async def score(state: TaskState, target: Target) -> Score:
        item = Item.model_validate(state.metadata["item"])
        if "program_answer" in state.metadata:
            found = printed_answer(str(state.metadata["program_answer"]))
        else:
            stopped = _STOPS.get(str(state.output.stop_reason), "stop")
            found = extract_answer(state.output.completion, options=item.options, stop_reason=stopped)
        return await asyncio.to_thread(answer_score, item, found)

    return score


def answer_score(item: Item, found: Extraction) -> Score:
    """What was read from a response, as Inspect's score."""
    check = check_response(item, found)
    metadata: dict[str, Any] = {
        "method": check.method,
        "status": found.status,
        "read_by": found.rule,
        "gold": check.gold,
    }
    return Score(
        value=CORRECT if check.correct else INCORRECT,
        answer=found.answer,
        explanation=f"compared by {check.method}{': ' + check.note if check.note else ''}",
        metadata=metadata,
    )
