"""LOCO: web articles (`LOCO.json`) and their annotation table, by the user's own copy.

Miani, Hills & Bangerter 2022. `LOCO.json` is a list of records with `doc_id`, `txt`, `subcorpus`; it is
large, so DuckDB streams it and keeps only annotated documents. The subcorpus says what the *site* is; it is
never used as the document's label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from zipfile import BadZipFile

from etude.data import read_rows
from etude.errors import EtudeError

Missing: TypeAlias = Literal["drop", "error"]
_COLUMNS = ("doc id", "seeds", "annotator", "conspiracy", "relatedness")
_TOPICS = {"corona": "coronavirus", "covid": "coronavirus", "sandy": "sandy hook"}
_MOST_BYTES = 1 << 27  # of one record


@dataclass(frozen=True)
class Annotation:
    """One row of the annotation table, as it is.

    Args:
        document: LOCO's document id.
        topic: `coronavirus`, `sandy hook`, or the seed as it is written.
        annotator: Who; `Majority` where several were merged.
        judgment: Cell of the conspiracy column.
        relatedness: Cell of the relatedness column.
    """

    document: str
    topic: str
    annotator: str
    judgment: str
    relatedness: str


def read_annotations(path: Path) -> list[Annotation]:
    """Read the annotation table, `.csv`, `.tsv`, `.parquet`, `.jsonl` or `.xlsx`.

    Where a document was judged by several annotators, its `Majority` row counts, else the first.

    Raises:
        EtudeError: A column is missing, or the file cannot be read.
    """
    found: dict[tuple[str, str], Annotation] = {}
    for line, row in _rows(path):
        cells = {_normal(name): value for name, value in row.items() if name is not None}
        lacking = [name for name in ("doc id", "seeds") if cells.get(name) in (None, "")]
        if line == _first_line(path) and (
            absent := [c for c in ("conspiracy", "relatedness") if c not in _headers(path, row)]
        ):
            raise EtudeError(
                f"{path}: no column {', '.join(absent)}", f"The annotation table needs {', '.join(_COLUMNS)}."
            )
        if lacking:
            raise EtudeError(
                f"{path}:{line}: {', '.join(lacking)} is missing",
                f"The annotation table needs {', '.join(_COLUMNS)}.",
            )
        one = Annotation(
            str(cells["doc id"]).strip(),
            topic_of(str(cells["seeds"])),
            str(cells.get("annotator") or "").strip(),
            str(cells.get("conspiracy") or "").strip(),
            str(cells.get("relatedness") or "").strip(),
        )
        key = (one.document, one.topic)
        if key not in found or (
            one.annotator.casefold() == "majority" and found[key].annotator.casefold() != "majority"
        ):
            found[key] = one
    if not found:
        raise EtudeError(f"{path}: holds no annotation", f"The annotation table needs {', '.join(_COLUMNS)}.")
    return list(found.values())


def topic_of(seed: str) -> str:
    """The topic of a seed as LOCO writes it (`coronavirus`, `sandy.hook`, ...)."""
    plain = seed.casefold().strip()
    return next((topic for mark, topic in _TOPICS.items() if mark in plain), plain)


def read_documents(path: Path, wanted: set[str]) -> dict[str, str]:
    """Texts of the wanted documents of `LOCO.json` (a list of records, or one record a line), by id.

    Raises:
        EtudeError: The file cannot be read, its records have no `doc_id` and `txt`, or an id stands twice.
    """
    import duckdb

    if not path.is_file():
        raise EtudeError(f"{path}: no such file", "Give your copy of LOCO.json (https://osf.io/snpcg).")
    connection = duckdb.connect(":memory:")
    try:
        connection.execute("CREATE TABLE wanted (id VARCHAR)")
        connection.executemany("INSERT INTO wanted VALUES (?)", [[one] for one in sorted(wanted)] or [[""]])
        rows = connection.execute(
            "SELECT doc_id, txt FROM read_json(?, columns={doc_id: 'VARCHAR', txt: 'VARCHAR'}, "
            "maximum_object_size=?) WHERE doc_id IN (SELECT id FROM wanted)",
            [str(path), _MOST_BYTES],
        ).fetchall()
        any_id = connection.execute(
            "SELECT count(doc_id) FROM (SELECT doc_id FROM read_json(?, "
            "columns={doc_id: 'VARCHAR', txt: 'VARCHAR'}, "
            "maximum_object_size=?) LIMIT 5)",
            [str(path), _MOST_BYTES],
        ).fetchone()
    except duckdb.Error as error:
        raise EtudeError(
            f"{path}: not a readable LOCO.json ({str(error).splitlines()[0]})"[:400],
            "It is a JSON list of records with doc_id and txt.",
        ) from error
    finally:
        connection.close()
    if not any_id or not any_id[0]:
        raise EtudeError(
            f"{path}: its records have no doc_id", "It is a JSON list of records with doc_id and txt."
        )
    twice = [name for name, count in Counter(row[0] for row in rows).items() if count > 1]
    if twice:
        raise EtudeError(
            f"{path}: document {twice[0]!r} is there more than once", "Document ids must be unique."
        )
    return {str(name): text or "" for name, text in rows}


def _normal(name: Any) -> str:
    return " ".join(str(name).casefold().replace("_", " ").replace(".", " ").split())


def _headers(path: Path, row: Mapping[str, Any]) -> set[str]:
    """The columns of the table: a CSV row leaves empty cells out, so its header line is asked."""
    if path.suffix in (".csv", ".tsv"):
        import csv

        with open(path, encoding="utf-8-sig", newline="") as handle:
            return {
                _normal(name)
                for name in next(csv.reader(handle, delimiter="\t" if path.suffix == ".tsv" else ","))
            }
    return {_normal(name) for name in row}


def _first_line(path: Path) -> int:
    return 2 if path.suffix in (".csv", ".tsv", ".xlsx") else 1


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix != ".xlsx":
        yield from read_rows(path)
        return
    try:
        import openpyxl
    except ImportError as error:
        raise EtudeError(
            f"{path}: reading .xlsx needs the package openpyxl", 'pip install "etude[excel]"'
        ) from error
    try:
        sheet = openpyxl.load_workbook(path, read_only=True, data_only=True).active
        lines = sheet.iter_rows(values_only=True)
        header = [str(cell) if cell is not None else "" for cell in next(lines, ())]
    except (OSError, ValueError, KeyError, BadZipFile, RuntimeError) as error:
        raise EtudeError(f"{path}: not a readable .xlsx ({error})", "Export it as CSV.") from error
    for number, cells in enumerate(lines, start=2):
        if any(cell is not None for cell in cells):
            yield number, dict(zip(header, cells, strict=False))
