"""The shapes in which graphs come, each as one SQL query that gives `source, rel, head, tail`.

Parquet, CSV and TSV with named columns; N-Triples; ConceptNet's assertions; Wikidata's statements, whose ids
become labels. Nothing is read here: DuckDB reads when the query runs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from etude.data import read_lines
from etude.errors import EtudeError
from etude.methods.analogykb.ntriples import labels_query, ntriples_query, sitelinks_query

ALIASES = {
    "rel": ("rel", "relation", "predicate", "property", "p", "r"),
    "head": ("head", "subject", "start", "h", "s"),
    "tail": ("tail", "object", "end", "t", "o"),
}
"""Column of a triple to the names it may have."""

_WIKIDATA_ID = re.compile(r"^(?:https?://www\.wikidata\.org/entity/)?Q[0-9]+$")
_TEXT = (".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class GraphShape:
    """A graph's file as SQL.

    Args:
        kind: What it was taken for, in words.
        query: Gives `source, rel, head, tail`.
        popular: Gives `term` of entities that are well known by their sitelinks, or None.
        costly: Whether the query parses text, so that it should run once only.
        path: The file or folder.
        separator: Of a text file's columns.
        width: How many columns a text file has.
    """

    kind: str
    query: str
    popular: str | None
    costly: bool
    path: Path
    separator: str = ""
    width: int = 0


def sql(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """A column's name, quoted for SQL."""
    return '"' + text.replace('"', '""') + '"'


def graph_shape(
    path: Path,
    *,
    columns: Sequence[str] = (),
    labels: Path | None = None,
    language: str = "en",
    min_sitelinks: int = 5,
    min_weight: float = 0.0,
) -> GraphShape:
    """Find out what a file is.

    Args:
        path: Triples: `.parquet`, `.csv`, `.tsv` (also `.gz`), `.nt` (also `.gz`), or a folder of Parquet.
        columns: Names of a text file's columns when it has no header, e.g. head, rel, tail.
        labels: Table of ids and labels (columns `id`, `label`, maybe `sitelinks`), for Wikidata's ids.
        language: Of ConceptNet's terms and of labels.
        min_sitelinks: From how many sitelinks an entity is well known (Wikidata).
        min_weight: Least weight of ConceptNet's assertions.

    Raises:
        EtudeError: No such file, an unknown kind, missing columns, or ids without labels.
    """
    if not path.exists():
        raise EtudeError(f"{path}: no such file", "Give triples as .parquet, .csv, .tsv or .nt (also .gz).")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if suffix == ".nt":
        return _ntriples(path, labels, language, min_sitelinks)
    if path.is_dir() or suffix == ".parquet":
        shape = _parquet(path)
    elif suffix in _TEXT:
        first = _first_line(path)
        if first.startswith("/a/[") and first.count("\t") == 4:
            return _conceptnet(path, language, min_weight)
        shape = _separated(path, first, columns, "," if suffix == ".csv" else "\t")
    else:
        raise EtudeError(f"{path}: unknown kind of file", "Give .parquet, .csv, .tsv or .nt (also .gz).")
    return _labelled(shape, labels, language, min_sitelinks)


def explain(shape: GraphShape, error: duckdb.Error) -> EtudeError:
    """What DuckDB could not read, as file, line and reason."""
    path, where = shape.path, str(error).splitlines()[0][:300]
    if shape.separator:
        try:
            for number, line in enumerate(read_lines(path), start=1):
                if "\0" in line:
                    return EtudeError(f"{path}:{number}: holds a null byte", "Remove it.")
                cells = line.rstrip("\r\n").split(shape.separator)
                if shape.separator == ",":
                    cells = next(csv.reader([line]), [])
                if len(cells) != shape.width and line.strip():
                    return EtudeError(
                        f"{path}:{number}: {len(cells)} columns where {shape.width} are expected: "
                        f"{line.strip()[:80]!r}",
                        "Check the separator: .tsv is split at tabs, .csv at commas.",
                    )
        except EtudeError as bad:
            return bad
    return EtudeError(
        f"{path}: cannot be read as {shape.kind} ({where})", "Check the file, or write it again."
    )


def _named(found: Sequence[str], path: Path) -> dict[str, str]:
    """Which of the file's columns are rel, head and tail."""
    lower = {column.strip().lower(): column for column in found}
    named = {
        wanted: next((lower[alias] for alias in aliases if alias in lower), "")
        for wanted, aliases in ALIASES.items()
    }
    missing = [wanted for wanted, column in named.items() if not column]
    if missing:
        raise EtudeError(
            f"{path}: no column {', '.join(missing)} among {', '.join(found)[:200]}",
            "Name the columns rel, head and tail, or give --columns head rel tail for a file without header.",
        )
    return named


def _parquet(path: Path) -> GraphShape:
    scan = f"read_parquet({sql(str(path / '**/*.parquet') if path.is_dir() else str(path))})"
    try:
        with duckdb.connect() as connection:
            found = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()]
    except duckdb.Error as error:
        raise EtudeError(
            f"{path}: not readable Parquet ({str(error).splitlines()[0][:200]})", "Write the file again."
        ) from error
    named = _named(found, path)
    source = '"source"::VARCHAR' if "source" in found else sql(path.stem)
    return GraphShape("Parquet", _select(named, source, scan), None, False, path)


def _separated(path: Path, first: str, columns: Sequence[str], separator: str) -> GraphShape:
    header = not columns
    cells = next(csv.reader([first], delimiter=separator), [])
    found = list(columns) or [cell.strip() for cell in cells]
    if len(set(found)) < len(found):
        raise EtudeError(f"{path}: two columns share a name: {', '.join(found)[:200]}", "Rename the columns.")
    named = _named(found, path)
    types = ", ".join(f"{sql(column)}: 'VARCHAR'" for column in found)
    quote = "'\"'" if separator == "," else "''"
    scan = (
        f"read_csv({sql(str(path))}, delim={sql(separator)}, header={str(header).lower()}, quote={quote}, "
        f"escape={quote}, auto_detect=false, columns={{{types}}}, null_padding=false)"
    )
    source = '"source"' if "source" in found else sql(path.name.partition(".")[0])
    kind = "comma-separated text" if separator == "," else "tab-separated text"
    return GraphShape(kind, _select(named, source, scan), None, True, path, separator, len(found))


def _select(named: dict[str, str], source: str, scan: str) -> str:
    cast = ", ".join(f"{name(column)}::VARCHAR AS {wanted}" for wanted, column in named.items())
    return f"SELECT {source} AS source, {cast} FROM {scan}"


def _conceptnet(path: Path, language: str, min_weight: float) -> GraphShape:
    """Five tab-separated columns: assertion, relation, start, end, JSON (ConceptNet 5.7's assertions)."""
    scan = (
        f"read_csv({sql(str(path))}, delim='\t', header=false, quote='', escape='', auto_detect=false, "
        "columns={'uri': 'VARCHAR', 'r': 'VARCHAR', 's': 'VARCHAR', 'e': 'VARCHAR', 'info': 'VARCHAR'})"
    )
    # /c/en/wing/n/wn/animal: language, term; sense and part of speech are left out
    mine = sql(f"/c/{language}/")
    weight = "coalesce(TRY_CAST(json_extract_string(info, '$.weight') AS DOUBLE), 1)"
    query = (
        "SELECT 'conceptnet' AS source, regexp_replace(r, '^/r/', '') AS rel, "
        "replace(split_part(s, '/', 4), '_', ' ') AS head, replace(split_part(e, '/', 4), '_', ' ') AS tail "
        f"FROM {scan} WHERE starts_with(s, {mine}) AND starts_with(e, {mine})"
    )
    if min_weight > 0:
        query += f" AND {weight} >= {float(min_weight)}"
    return GraphShape("ConceptNet assertions", query, None, True, path, "\t", 5)


def _ntriples(path: Path, labels: Path | None, language: str, min_sitelinks: int) -> GraphShape:
    lines = (
        f"read_csv({sql(str(path))}, delim='\x01', header=false, quote='', escape='', auto_detect=false, "
        "columns={'line': 'VARCHAR'})"
    )
    table = None if labels is None else _label_table(labels)[0]
    names = labels_query(lines, table, language)
    kind = "N-Triples"
    return GraphShape(
        kind,
        ntriples_query(lines, names, path.name.partition(".")[0]),
        sitelinks_query(lines, names, min_sitelinks),
        True,
        path,
    )


def _labelled(shape: GraphShape, labels: Path | None, language: str, min_sitelinks: int) -> GraphShape:
    """Wikidata's ids in a table: replaced by labels, which must be given."""
    if labels is None:
        try:
            with duckdb.connect() as connection:
                first = connection.execute(f"SELECT head FROM ({shape.query}) LIMIT 20").fetchall()
        except duckdb.Error as error:
            raise explain(shape, error) from error
        ids = [row[0] for row in first if row[0] is not None and _WIKIDATA_ID.match(row[0])]
        if first and len(ids) == len(first):
            raise EtudeError(
                f"{shape.path}: the terms are Wikidata ids ({ids[0]}) without labels",
                "Give --labels TABLE with the columns id and label (and sitelinks, if you have them).",
            )
        return shape
    table, links = _label_table(labels)
    bare = "regexp_replace({0}, '^https?://www[.]wikidata[.]org/(entity|prop/direct)/', '')"
    joined = (
        f"SELECT g.source, coalesce(r.label, g.rel) AS rel, h.label AS head, t.label AS tail "
        f"FROM ({shape.query}) g JOIN ({table}) h ON h.id = {bare.format('g.head')} "
        f"JOIN ({table}) t ON t.id = {bare.format('g.tail')} "
        f"LEFT JOIN ({table}) r ON r.id = {bare.format('g.rel')}"
    )
    popular = (
        f"SELECT label AS term FROM ({links}) WHERE sitelinks >= {int(min_sitelinks)}" if links else None
    )
    return GraphShape(
        f"{shape.kind} with labels", joined, popular, True, shape.path, shape.separator, shape.width
    )


def _label_table(path: Path) -> tuple[str, str | None]:
    """Queries for `id, label` and, where the table has them, `label, sitelinks`."""
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if not path.is_file() or suffix not in (".parquet", ".csv", ".tsv"):
        raise EtudeError(
            f"{path}: no table of labels", "Give a .parquet, .csv or .tsv with the columns id, label."
        )
    if suffix == ".parquet":
        scan = f"read_parquet({sql(str(path))})"
    else:
        delimiter = "," if suffix == ".csv" else "\t"
        quote = "'\"'" if suffix == ".csv" else "''"
        options = f"delim={sql(delimiter)}, header=true, all_varchar=true, quote={quote}"
        scan = f"read_csv({sql(str(path))}, {options})"
    try:
        with duckdb.connect() as connection:
            found = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()}
    except duckdb.Error as error:
        raise EtudeError(
            f"{path}: cannot be read ({str(error).splitlines()[0][:200]})", "Check it."
        ) from error
    if not {"id", "label"} <= found:
        raise EtudeError(f"{path}: no columns id and label", "Name the columns id, label (and sitelinks).")
    table = f"SELECT id::VARCHAR AS id, min(label::VARCHAR) AS label FROM {scan} GROUP BY id"
    links = f"SELECT label::VARCHAR AS label, sitelinks::INTEGER AS sitelinks FROM {scan}"
    return table, links if "sitelinks" in found else None


def _first_line(path: Path) -> str:
    line = next(iter(read_lines(path)), "").rstrip("\r\n")
    if not line.strip():
        raise EtudeError(f"{path}: is empty", "Give a file with at least one triple.")
    return line
