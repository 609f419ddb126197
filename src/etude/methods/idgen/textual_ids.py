"""Textual ids and their files.

Reads `ids.tsv` (item_id, textual_id) and IDGenRec's `item_generative_indexing_phase_k.txt` ("item words").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, field_validator

from etude.data import read_lines, read_records, write_records
from etude.errors import EtudeError
from etude.methods.idgen.items import checked_id
from etude.runs import content_hash


class IdRow(BaseModel):
    """One item and its textual id; `method` says how the id was found."""

    item_id: str
    textual_id: str
    method: str = ""

    @field_validator("item_id")
    @classmethod
    def _has_no_blank(cls, value: str) -> str:
        return checked_id(value)

    @field_validator("textual_id")
    @classmethod
    def _has_words(cls, value: str) -> str:
        if not value.split():
            raise ValueError("a textual id needs at least one word")
        return " ".join(value.split())


def id_key(textual_id: str) -> str:
    """What two ids must not share: the words without regard to case and blanks."""
    return " ".join(textual_id.casefold().split())


def clean_id(text: str) -> str:
    """A candidate as an id: word characters only, joined by blanks."""
    return " ".join(re.findall(r"\w+", text))


def ids_hash(ids: Mapping[str, str]) -> str:
    """What names a set of ids: a recommender keeps the hash of those that it was trained on."""
    return content_hash(dict(sorted(ids.items())))


def read_ids(source: Path | str) -> dict[str, str]:
    """Read item id to textual id, sorted by item id.

    Args:
        source: A `.tsv`, `.csv`, `.jsonl` or `.parquet` file with item_id and textual_id, or IDGenRec's
            `.txt` ("item words of the id").

    Raises:
        EtudeError: Rows are bad, or two items have the same id.
    """
    path = Path(source)
    if path.suffix == ".txt":
        rows = []
        for number, line in enumerate(read_lines(path), start=1):
            item_id, _, words = line.strip().partition(" ")
            if item_id and not words.split():
                raise EtudeError(
                    f"{path}:{number}: item {item_id} has no id", "A line is: item words of its id"
                )
            rows += [IdRow(item_id=item_id, textual_id=words)] if item_id else []
    else:
        rows = list(read_records(source, IdRow))
    ids: dict[str, str] = {}
    owner: dict[str, str] = {}
    for row in rows:
        key = row.textual_id  # ids that differ in case alone are not ours, but others write them
        if row.item_id in ids:
            raise EtudeError(f"{source}: item {row.item_id} comes twice", "Keep one of its rows.")
        if key in owner:
            raise EtudeError(
                f"{source}: items {owner[key]} and {row.item_id} have the same id {row.textual_id!r}",
                "Ids must be unique; write them with: etude idgen ids",
            )
        ids[row.item_id] = row.textual_id
        owner[key] = row.item_id
    return dict(sorted(ids.items()))


def write_ids(path: Path, ids: Mapping[str, str], methods: Mapping[str, str] | None = None) -> None:
    """Write ids in the order given, with how each was found where that is known."""
    rows = (
        {"item_id": item_id, "textual_id": textual_id}
        | ({} if methods is None else {"method": methods[item_id]})
        for item_id, textual_id in ids.items()
    )
    write_records(path, rows)
