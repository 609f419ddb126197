"""A triple: a sentence, one that must be true given it, one that contradicts it; and the files they lie in.

JSONL holds all fields; CSV has the columns of SimCSE, SynCSE and MultiCSR: `sent0,sent1,hard_neg` and, where
there are scores, `positive_score,negative_score`. Files without `hard_neg` hold pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field, field_validator

from etude.data import read_records, read_rows, write_records
from etude.errors import EtudeError

Status: TypeAlias = Literal["ok", "empty", "unfinished", "failed"]
_COLUMNS = ("sent0", "sent1", "hard_neg", "positive_score", "negative_score")


class Triple(BaseModel):
    """One triple.

    Args:
        id: What identifies it: a hash over sentence, prompt, model, ω and seed when written by `generate`.
        sent0: The sentence (anchor).
        sent1: One that must be true given it (positive).
        hard_neg: One that contradicts it; empty in a pair.
        positive_score: Similarity of `sent0` and `sent1`, 0 to 5.
        negative_score: Similarity of `sent0` and `hard_neg`, 0 to 5.
        model: What wrote it.
        prompt_id: The prompts' name, hash and place in the pool.
        omega: Weight of the opposite instruction.
        seed: Of the choice from the pool.
        status: `ok`; `empty` (nothing was written); `unfinished` (it did not end); `failed` (the provider
            did).
    """

    id: str = ""
    sent0: str = Field(min_length=1)
    sent1: str = ""
    hard_neg: str = ""
    positive_score: float | None = Field(default=None, ge=0, le=5)
    negative_score: float | None = Field(default=None, ge=0, le=5)
    model: str = ""
    prompt_id: str = ""
    omega: float | None = None
    seed: int | None = None
    status: Status = "ok"

    @field_validator("id", mode="before")
    @classmethod
    def _text_id(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @field_validator("sent1", "hard_neg", mode="before")
    @classmethod
    def _no_none(cls, value: Any) -> Any:
        return "" if value is None else value


def read_triples(source: Path | str) -> list[Triple]:
    """Read triples or pairs.

    Args:
        source: `.jsonl`, `.csv`, `.tsv`, `.parquet`, a saved dataset or a hub id. Where an id comes more than
            once, as after a retry, its last row counts.

    Returns:
        The rows in order; those without an id are numbered.

    Raises:
        EtudeError: The columns are other ones, or rows are bad.
    """
    first = next(islice(read_rows(source), 1), None)
    if first is None:
        raise EtudeError(f"{source}: holds no rows", "Give a file with the columns sent0,sent1[,hard_neg].")
    missing = [name for name in ("sent0", "sent1") if name not in first[1]]
    if missing:
        raise EtudeError(
            f"{source}: found the columns {', '.join(first[1])}; wanted sent0, sent1 and perhaps hard_neg",
            f"Rename the columns ({', '.join(missing)} is missing); a file of sentences goes to generate.",
        )
    rows: dict[str, Triple] = {}
    for number, row in enumerate(read_records(source, Triple)):
        rows[row.id or f"row-{number}"] = row if row.id else row.model_copy(update={"id": f"row-{number}"})
    return list(rows.values())


def write_triples(path: Path, rows: Iterable[Triple]) -> int:
    """Write triples in one step: JSONL with all fields, CSV in the layout of SimCSE without empty columns.

    Returns:
        The number of rows.
    """
    kept = list(rows)
    if path.suffix == ".jsonl":
        return write_records(path, kept)
    columns = [
        name
        for name in _COLUMNS
        if name in _COLUMNS[:2] or any(getattr(row, name) not in ("", None) for row in kept)
    ]
    return write_records(path, [{name: getattr(row, name) for name in columns} for row in kept])


def has_negatives(rows: Sequence[Triple], source: Path | str) -> bool:
    """Whether the rows are triples (True) or pairs (False).

    Raises:
        EtudeError: Some have a hard negative and some have none.
    """
    count = sum(bool(row.hard_neg) for row in rows)
    if 0 < count < len(rows):
        raise EtudeError(
            f"{source}: {len(rows) - count} of {len(rows)} rows have no hard_neg",
            "Give each row one, or none; curate drops incomplete rows, --objective positives ignores them.",
        )
    return count > 0
