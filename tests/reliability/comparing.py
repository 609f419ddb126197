"""Whether two runs of a command came to the same: all files and what was printed, apart from times.

Left out are: fields that are times, dates, speeds, energy or memory (they are measured, not computed),
or say how this process went about it (`resumed_from`, `written_now`, whether something was `made`);
lock files; SQLite's journals (their content is in the database when it is read); identifiers and times in
Inspect's logs, of which samples, answers and scores are compared.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

MEASURED = re.compile(
    r"(^|_)(seconds?|milliseconds|minutes|hours|ms|time|times|date|created|updated|started|ended|finished_at|duration|"
    r"wall|runtime|flos|peak|memory|mb|rss|speed|per_second|throughput|latency|written_now|linked_now|resumed_from|per_s|mfu|consumption|power|energy|kwh|kg|kgco2|watts|emissions?|timestamp|run_id|stamps|stamp)($|_)"
)
_CLOCK = re.compile(
    rb"\d+(\.\d+)?(e-\d+)? ?(milliseconds|ms|seconds|sec|s|min|minutes|hours|h|MB|MiB|GB|kWh)\b|"
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(\+\d\d:\d\d|Z)?|\d{4}-\d\d-\d\d"
)
_SECONDS = re.compile(r"(^|_)s$")  # heads that are units: `s`, `tokens/s`
_PICTURE = re.compile(r"<svg.*?</svg>|data:image/[a-z+]+;base64,[^\"']*", re.DOTALL)
_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
_ROW = re.compile(r"<tr.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<t[hd]\b.*?</t[hd]>", re.DOTALL)
_LINES = re.compile(r"(?m)(^\|.*\|\n)+")
_BAR = re.compile(r"(?<=\|)([^|]*)(?=\|)")
_EVAL = re.compile(r"[^/]*_(?P<task>[^_/]+)_[^_/]+\.eval$")


def plain(value: Any) -> Any:
    """A JSON value without what is measured."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if not _passes(key, one)}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value


def _passes(key: str, value: Any) -> bool:
    return bool(MEASURED.search(key)) or (key == "made" and isinstance(value, bool))


def printed(text: str) -> Any:
    """What a command printed as JSON, without what is measured."""
    try:
        return plain(json.loads(text))
    except ValueError:
        return text


def state(place: Path) -> dict[str, str]:
    """Every file of working directory and cache with the hash of what counts in it."""
    found: dict[str, str] = {}
    for part in ("work", "cache"):
        for file in sorted((place / part).rglob("*")):
            name = str(file.relative_to(place))
            if file.is_symlink() or not file.is_file() or _passing(name):
                continue
            content = hashlib.sha256(essence(file)).hexdigest()[:16]
            if file.suffix == ".eval":
                name = f"{Path(name).parent}/{content}.eval"
            found[name] = content
    return found


def _passing(name: str) -> bool:
    passing = (".lock", "-wal", "-shm", "-journal", ".linker.json")  # the last: a hash over measured facts
    return name.endswith(passing) or "/revisions/" in name or "/matplotlib/" in name or ".tmp/" in name


def essence(file: Path) -> bytes:
    """What counts in a file, as bytes."""
    try:
        if file.suffix == ".json":
            return _dumped(plain(json.loads(file.read_bytes())))
        if file.suffix in (".jsonl", ".journal"):
            lines = [line for line in file.read_bytes().splitlines() if line]
            return b"\n".join(_dumped(plain(json.loads(line))) for line in lines)
        if file.suffix in (".csv", ".tsv"):
            return _dumped(_unmeasured_rows(file))
        if file.suffix in (".sqlite", ".db"):
            return _dumped(_tables(file))
        if file.suffix == ".eval":
            return _dumped(_samples(file))
        if file.suffix == ".parquet":
            return _dumped(_columns(file))
        if file.suffix in (".html", ".md"):
            text = file.read_text(encoding="utf-8", errors="surrogateescape")
            return _CLOCK.sub(b"", unmeasured_tables(text).encode("utf-8", "surrogateescape"))
        if file.suffix in (".svg", ".txt"):
            return _CLOCK.sub(b"", file.read_bytes())
    except (ValueError, sqlite3.Error, zipfile.BadZipFile):
        pass
    return file.read_bytes()


def unmeasured_tables(text: str) -> str:
    """A page, HTML or Markdown, without columns and rows of tables whose heads name what is measured, and
    without pictures, which are drawn from such tables."""
    text = _PICTURE.sub("", text)
    text = _TABLE.sub(lambda table: _without_columns(_ROW.findall(table[0]), _CELL), text)
    return _LINES.sub(lambda table: _without_columns(table[0].splitlines(), _BAR), text)


def _without_columns(rows: list[str], cell: re.Pattern[str]) -> str:
    split = [cell.findall(row) for row in rows]
    dropped = {at for at, head in enumerate(split[0] if split else []) if _is_measured(head)}
    kept = [row for row in split if not (row and _is_measured(row[0]))]
    return "\n".join(str([one for at, one in enumerate(row) if at not in dropped]) for row in kept)


def _is_measured(head: str) -> bool:
    word = re.sub(r"<[^>]*>|[^a-z0-9]+", "_", head.lower()).strip("_")
    return bool(MEASURED.search(word) or _SECONDS.search(word))


def _unmeasured_rows(file: Path) -> list[list[str]]:
    """A table of text without the columns of what is measured; quotes and line ends count."""
    rows = [
        line.split("," if file.suffix == ".csv" else "\t")
        for line in file.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    ]
    dropped = {at for at, head in enumerate(rows[0]) if _is_measured(head)}
    return [[cell for at, cell in enumerate(row) if at not in dropped] for row in rows]


def _columns(file: Path) -> dict[str, list[Any]]:
    """A table without the columns of what is measured."""
    import pyarrow.parquet as pq

    return {str(key): value for key, value in plain(pq.read_table(file).to_pydict()).items()}


def _dumped(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _tables(file: Path) -> dict[str, list[str]]:
    """Rows of all tables, in no order."""
    connection = sqlite3.connect(file)
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        found = {}
        for name in names:
            cursor = connection.execute(f'SELECT * FROM "{name}"')
            columns = [one[0] for one in cursor.description]
            rows = [dict(zip(columns, map(_cell, row), strict=True)) for row in cursor]
            found[name] = sorted(json.dumps(plain(row), sort_keys=True, default=str) for row in rows)
        return found
    finally:
        connection.close()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _samples(file: Path) -> list[Any]:
    with zipfile.ZipFile(file) as log:
        rows = []
        for name in sorted(log.namelist()):
            if name.startswith("samples/"):
                sample = json.loads(log.read(name))
                scores = {k: v.get("value") for k, v in (sample.get("scores") or {}).items()}
                rows.append([sample["id"], sample["epoch"], sample["output"].get("completion"), scores])
    return rows


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Names of files that are in one only or not the same."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
