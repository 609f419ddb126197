"""Texts to be labelled: `id,text[,label]` as CSV, JSONL or Parquet, cleaned and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, model_validator

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.conspemollm.cleaning import clean

TableFormat: TypeAlias = Literal["csv", "jsonl", "parquet"]
"""Of the tables that verbs write."""


class _Row(BaseModel):
    id: str = ""
    text: str = ""
    label: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        if "text" not in row and "input" in row:  # a ConDID file
            row = {**row, "text": row["input"], "label": row.get("output")}
        return {
            key: str(value)
            for key, value in row.items()
            if key in ("id", "text", "label") and value is not None
        }


@dataclass(frozen=True)
class TextRow:
    """A text.

    Args:
        id: Unique in its file.
        text: Cleaned; may be empty, which is then labelled `invalid`.
        label: What the file says it is, or None.
    """

    id: str
    text: str
    label: str | None


def read_texts(source: Path | str, limit: int | None = None) -> tuple[list[TextRow], Counter[str]]:
    """Read texts.

    Args:
        source: A file with columns `id`, `text` and perhaps `label`.
        limit: Only the first ones.

    Returns:
        The texts, and counts of what was mended or stands out.

    Raises:
        EtudeError: No row, no column `text`, or an id twice.
    """
    counts: Counter[str] = Counter()
    rows: list[TextRow] = []
    seen: set[str] = set()
    any_text = False
    for number, row in enumerate(read_records(source, _Row), start=1):
        name = row.id or str(number)
        if name in seen:
            raise EtudeError(f"{source}: id {name!r} is there twice", "Ids must be unique.")
        seen.add(name)
        any_text = any_text or bool(row.text)
        rows.append(TextRow(name, clean(row.text, counts), row.label))
        if limit is not None and len(rows) >= limit:
            break
    if not rows or not any_text:
        raise EtudeError(f"{source}: holds no text", "Give a file with the columns id and text.")
    return rows, counts


def warnings_of(counts: Counter[str], total: int) -> list[str]:
    """What a person should know about the texts that were read."""
    said = {
        "html": "{} of {} texts held HTML, which was taken out",
        "control characters": "{} of {} texts held control characters, which were taken out",
        "empty": "{} of {} texts are empty: no class and no affect is told for them",
        "not English": "{} of {} texts do not look English; nothing here was made for other languages",
    }
    return [text.format(counts[name], total) for name, text in said.items() if counts[name]]
