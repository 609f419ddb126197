"""The two tables of a run: one row for each answer, and one row for each star of each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from etude.errors import EtudeError
from etude.methods.counting_stars.answers import parse_answer
from etude.methods.counting_stars.cells import Cell, read_cells
from etude.methods.counting_stars.scoring import chance_level, score_answer
from etude.runs import atomic_path, read_json

CELLS, ANSWERS, RESULTS = "cells.jsonl", "answers.parquet", "results.parquet"


@dataclass(frozen=True)
class Answer:
    """What came back for one cell.

    Args:
        raw: The model's text.
        stop_reason: `stop`, `length`, `refused` or `error`.
        prompt_tokens: As the model or its server counted them; None if unknown.
        cached_tokens: Of these, how many were not computed again.
        output_tokens: Tokens of the answer.
        seconds: Wall time.
    """

    raw: str
    stop_reason: str
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None


_ANSWER_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "cell": pl.String,
    "task": pl.String,
    "lang": pl.String,
    "length": pl.Int64,
    "length_tokens": pl.Int64,
    "stars": pl.Int64,
    "seed": pl.Int64,
    "raw": pl.String,
    "parsed": pl.List(pl.Int64),
    "parse_status": pl.String,
    "stop_reason": pl.String,
    "prompt_tokens": pl.Int64,
    "cached_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "seconds": pl.Float64,
    "score_official": pl.Float64,
    "score": pl.Float64,
    "precision": pl.Float64,
    "recall": pl.Float64,
    "f1": pl.Float64,
    "order": pl.Float64,
    "exact": pl.Boolean,
    "chance_official": pl.Float64,
    "chance": pl.Float64,
}
_RESULT_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "cell": pl.String,
    "task": pl.String,
    "lang": pl.String,
    "length": pl.Int64,
    "length_tokens": pl.Int64,
    "seed": pl.Int64,
    "star": pl.Int64,
    "position": pl.Int64,
    "depth": pl.Float64,
    "count": pl.Int64,
    "hit": pl.Boolean,
    "wrong_hit": pl.Boolean,
    "score_official": pl.Float64,
    "score": pl.Float64,
}
_LARGEST = 2**63 - 1


def tables(
    cells: Sequence[Cell], answers: Mapping[tuple[str, str], Answer]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Score every answer by both rules.

    Args:
        cells: The cells, in the order of the tables.
        answers: What came back, by model and cell id; cells without an answer are left out.

    Returns:
        The answers' table and the stars' table.
    """
    answer_rows: list[dict[str, Any]] = []
    star_rows: list[dict[str, Any]] = []
    for model in dict.fromkeys(model for model, _ in answers):
        for cell in cells:
            answer = answers.get((model, cell.id))
            if answer is None:
                continue
            common = {
                "model": model,
                "cell": cell.id,
                "task": cell.task,
                "lang": cell.lang,
                "length": cell.length,
                "length_tokens": cell.length_tokens,
                "seed": cell.seed,
            }
            parsed = parse_answer(answer.raw, cell.lang, answer.stop_reason)
            official, ours = score_answer(cell, parsed, "official"), score_answer(cell, parsed, "ours")
            answer_rows.append(
                common
                | asdict(answer)
                | {
                    "stars": cell.stars,
                    "parsed": [number for number in parsed.numbers if number <= _LARGEST],
                    "parse_status": parsed.status,
                    "score_official": official.score,
                    "score": ours.score,
                    "precision": ours.precision,
                    "recall": ours.recall,
                    "f1": ours.f1,
                    "order": ours.order,
                    "exact": ours.exact,
                    "chance_official": chance_level(cell, "official"),
                    "chance": chance_level(cell, "ours"),
                }
            )
            star_rows += [
                common
                | {
                    "star": star,
                    "position": cell.positions[star],
                    "depth": float(depth),
                    "count": cell.counts[star],
                    "hit": bool(ours.hits[star]),
                    "wrong_hit": bool(ours.wrong_hits[star]),
                    "score_official": float(official.stars[star]),
                    "score": float(ours.stars[star]),
                }
                for star, depth in enumerate(cell.depths)
            ]
    return pl.DataFrame(answer_rows, schema=_ANSWER_SCHEMA), pl.DataFrame(star_rows, schema=_RESULT_SCHEMA)


def write_tables(
    folder: Path, cells: Sequence[Cell], answers: Mapping[tuple[str, str], Answer]
) -> pl.DataFrame:
    """Write `answers.parquet` and `results.parquet` into a run's folder; returns the answers' table."""
    answer_table, star_table = tables(cells, answers)
    for name, frame in ((ANSWERS, answer_table), (RESULTS, star_table)):
        with atomic_path(folder / name) as temporary:
            frame.write_parquet(temporary)
    return answer_table


def answers_of(folder: Path) -> dict[tuple[str, str], Answer]:
    """The finished answers of a run, complete or killed, by model and cell."""
    found: dict[tuple[str, str], Answer] = {}
    for path in sorted((folder / "steps").glob("*.json")):
        record = read_json(path)["record"]
        found[record["model"], record["cell"]] = Answer(
            **{name: record[name] for name in Answer.__dataclass_fields__}
        )
    return dict(sorted(found.items()))


def read_logs(logs: Sequence[Path]) -> tuple[list[Cell], dict[tuple[str, str], Answer]]:
    """The cells and answers of one or more runs, complete or killed, to score or report them together.

    Raises:
        EtudeError: A folder holds no run, or the same model answered the same cell twice, differently.
    """
    cells: dict[str, Cell] = {}
    answers: dict[tuple[str, str], Answer] = {}
    for folder in logs:
        if not (folder / CELLS).is_file() or not (found := answers_of(folder)):
            raise EtudeError(f"{folder}: no answers of a run", "Give the --out of etude counting-stars run.")
        for cell in read_cells(folder / CELLS):
            if cells.setdefault(cell.id, cell) != cell:
                raise EtudeError(
                    f"{folder}: cell {cell.id} is not the same as in another of these runs",
                    "Report runs of different cells apart.",
                )
        for key, answer in found.items():
            if answers.setdefault(key, answer).raw != answer.raw:
                raise EtudeError(
                    f"{folder}: {key[0]} answered cell {key[1]} differently in another of these runs",
                    "Report them apart.",
                )
    return list(cells.values()), dict(sorted(answers.items()))
