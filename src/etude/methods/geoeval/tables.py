"""One row for each problem of each arm: what was asked, said, read and right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from etude.data import read_records, write_records
from etude.errors import EtudeError
from etude.methods.geoeval.answers import parse_answer
from etude.methods.geoeval.baselines import PREFIX
from etude.methods.geoeval.complexity import levels, needs_outside_knowledge, step_band
from etude.methods.geoeval.equivalence import Check, check_answer
from etude.methods.geoeval.extraction import Extraction, extract_answer, printed_answer
from etude.methods.geoeval.items import Item
from etude.methods.geoeval.runner import Arm, Response
from etude.methods.geoeval.scorer_audit import released_equal
from etude.runs import atomic_path, read_json

ITEMS, RESULTS = "items.jsonl", "results.parquet"

Responses: TypeAlias = Mapping[tuple[Arm, str], Response]

_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "input": pl.String,
    "method": pl.String,
    "id": pl.String,
    "subset": pl.String,
    "source": pl.String,
    "parent_id": pl.String,
    "diagram": pl.Boolean,
    "steps": pl.Int64,
    "step_band": pl.String,
    "length": pl.Int64,
    "complexity": pl.String,
    "knowledge": pl.Boolean,
    "choices": pl.Int64,
    "response": pl.String,
    "pred": pl.String,
    "gold": pl.String,
    "correct": pl.Boolean,
    "released": pl.Boolean,
    "checked_by": pl.String,
    "note": pl.String,
    "status": pl.String,
    "read_by": pl.String,
    "tokens": pl.Int64,
    "seconds": pl.Float64,
}


def read_response(item: Item, arm: Arm, response: Response) -> Extraction:
    """The answer of a response: a program's output, by rules, or as a second model read it."""
    if arm.method == "pot" and not arm.model.startswith(PREFIX):
        if response.program == "done" and response.output:
            return printed_answer(response.output)
        return Extraction("", "program", "none" if response.text.strip() else "empty")
    found = extract_answer(response.text, options=item.options, stop_reason=response.stop_reason)
    if found.status == "none" and response.graded and response.graded.strip(" .").upper() != "NONE":
        return Extraction(response.graded, "model", "answered")
    return found


def check_response(item: Item, found: Extraction) -> Check:
    """Whether what was read is right."""
    if found.status != "answered":
        return Check(False, "empty", "", item.gold, found.status)
    return check_answer(found.answer, item.gold, item.kind, options=item.options)


def released_verdict(item: Item, found: Extraction) -> bool:
    """What the published script would say: letters by their text, numbers by its one-sided comparison."""
    if item.kind == "choice":
        return check_response(item, found).correct
    try:
        said = float(found.answer)
    except ValueError:
        return False
    right = parse_answer(item.gold).value
    return right is not None and released_equal(said, right)


def result_table(items: Sequence[Item], responses: Responses) -> pl.DataFrame:
    """Score every response; items without one are left out."""
    rows: list[dict[str, Any]] = []
    hardness = levels(items)
    for arm in dict.fromkeys(arm for arm, _ in responses):
        for item, level in zip(items, hardness, strict=True):
            response = responses.get((arm, item.id))
            if response is None:
                continue
            found = read_response(item, arm, response)
            check = check_response(item, found)
            rows.append(
                {
                    "model": arm.model, "input": arm.input, "method": arm.method, "id": item.id,
                    "subset": item.subset, "source": item.source, "parent_id": item.parent_id,
                    "diagram": item.has_diagram, "steps": item.steps, "step_band": step_band(item.steps),
                    "length": item.length, "complexity": level, "knowledge": needs_outside_knowledge(item),
                    "choices": len(item.options), "response": response.text, "pred": found.answer,
                    "gold": item.gold, "correct": check.correct, "released": released_verdict(item, found),
                    "checked_by": check.method, "note": check.note,
                    "status": _status(arm, response, found), "read_by": found.rule,
                    "tokens": response.output_tokens, "seconds": response.seconds,
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=_SCHEMA)


def _status(arm: Arm, response: Response, found: Extraction) -> str:
    if response.program not in (None, "done"):
        return f"program {response.program}"
    return found.status


def write_results(folder: Path, items: Sequence[Item], responses: Responses) -> pl.DataFrame:
    """Write `results.parquet` into a run's folder; returns the table."""
    frame = result_table(items, responses)
    with atomic_path(folder / RESULTS) as temporary:
        frame.write_parquet(temporary)
    return frame


def write_items(folder: Path, items: Sequence[Item]) -> None:
    """Write the items into a run's folder, so that it can be scored without the files they came from."""
    write_records(folder / ITEMS, (item.model_dump(mode="json", exclude={"problem"}) for item in items))


def responses_of(folder: Path) -> dict[tuple[Arm, str], Response]:
    """The finished responses of a run, complete or killed, by arm and item."""
    found: dict[tuple[Arm, str], Response] = {}
    for path in sorted((folder / "steps").glob("*.json")):
        record = read_json(path)["record"]
        arm = Arm(**{field.name: record[field.name] for field in fields(Arm)})
        found[arm, record["item"]] = Response(
            **{field.name: record[field.name] for field in fields(Response)}
        )
    return dict(sorted(found.items(), key=lambda entry: (*_order(entry[0][0]), entry[0][1])))


def _order(arm: Arm) -> tuple[str, str, str, str]:
    """An arm as something that sorts."""
    return arm.model, arm.input, arm.method, arm.wrapper


def read_logs(logs: Sequence[Path]) -> tuple[list[Item], dict[tuple[Arm, str], Response]]:
    """The items and responses of one or more runs, complete or killed.

    Raises:
        EtudeError: A folder holds no run, two runs put different problems under one id, or an arm answered
            the same item twice, differently.
    """
    items: dict[str, Item] = {}
    responses: dict[tuple[Arm, str], Response] = {}
    if not logs:
        raise EtudeError("no run was named", "Give one or more folders written by etude geoeval run.")
    for folder in logs:
        if not (folder / ITEMS).is_file() or not (found := responses_of(folder)):
            raise EtudeError(f"{folder}: no answers of a run", "Give the --out of etude geoeval run.")
        for item in read_records(folder / ITEMS, Item):
            if items.setdefault(item.id, item) != item:
                raise EtudeError(
                    f"{folder}: {item.id} is not the same problem as in another of these runs",
                    "Report runs of different problems apart.",
                )
        for key, response in found.items():
            if responses.setdefault(key, response).text != response.text:
                raise EtudeError(
                    f"{folder}: {key[0].model} answered {key[1]} differently in another of these runs",
                    "Report them apart.",
                )
    return list(items.values()), responses
