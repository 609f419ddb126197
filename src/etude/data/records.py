"""Tables and line files as checked records: JSONL, CSV, TSV, Parquet, saved `datasets` directories, hub ids.

A method declares its record as a pydantic model; every bad row is named by file, line and field.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel, ValidationError

from etude.errors import EtudeError
from etude.runs import atomic_path

Record = TypeVar("Record", bound=BaseModel)

_SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
_MOST_ERRORS = 20


def read_records(source: Path | str, record: type[Record]) -> Iterator[Record]:
    """Stream the rows of a file, saved dataset or hub dataset as checked records.

    Args:
        source: A `.jsonl`, `.csv`, `.tsv` (also `.gz`) or `.parquet` file, a directory written by
            `datasets.save_to_disk`, or a hub id `org/name` (its `train` split; `org/name:split` for another;
            `org/name@config` for one of its configurations).
        record: The pydantic model of one row. Columns it does not know are ignored.

    Yields:
        One record per row, up to the first bad row.

    Raises:
        EtudeError: The source cannot be read, or rows are bad: up to 20 of them are listed as
            `file:line: field: what was expected`.
    """
    bad: list[str] = []
    for line, row in read_rows(source):
        try:
            checked = record.model_validate(row)
        except ValidationError as error:
            bad += [f"{source}:{line}: {_where(e['loc'])}: {e['msg']}" for e in error.errors()]
            if len(bad) >= _MOST_ERRORS:
                break
            continue
        except RecursionError:  # of a field that is read as JSON
            bad.append(f"{source}:{line}: nested too deeply")
            continue
        if not bad:
            yield checked
    if bad:
        fields = ", ".join(
            f"{name}{'' if field.is_required() else '?'}" for name, field in record.model_fields.items()
        )
        raise EtudeError("\n".join(bad[:_MOST_ERRORS]), f"Mend these rows; each needs the fields {fields}.")


def read_rows(source: Path | str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream the rows of a source as plain dictionaries, with their line (JSONL, CSV) or row number, from 1.

    Raises:
        EtudeError: The source is missing, of an unknown kind, or malformed; the message names the line.
    """
    path = Path(source)
    suffix = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    if path.is_file():
        if suffix == ".jsonl":
            yield from _read_jsonl(path)
        elif suffix in (".csv", ".tsv"):
            yield from _read_separated(path, "\t" if suffix == ".tsv" else ",")
        elif suffix == ".parquet":
            yield from _read_parquet(path)
        else:
            raise EtudeError(f"{path}: unknown kind of file", f"Give one of {', '.join(_SUFFIXES)}.")
    elif path.is_dir():
        yield from _read_saved_dataset(path)
    elif _is_hub_id(str(source)):
        yield from _read_hub_dataset(str(source))
    else:
        raise EtudeError(
            f"{path}: no such file", f"Give a file ({', '.join(_SUFFIXES)}), a folder or a hub id org/name."
        )


def write_records(path: Path | str, rows: Iterable[BaseModel | Mapping[str, Any]]) -> int:
    """Write rows to a `.jsonl`, `.csv`, `.tsv` or `.parquet` file, in one step.

    Returns:
        The number of rows.

    Raises:
        EtudeError: The suffix is unknown or the disk is full.
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise EtudeError(
            f"{path}: cannot write this kind of file", f"Name it with one of {', '.join(_SUFFIXES)}."
        )
    plain = (row.model_dump(mode="json") if isinstance(row, BaseModel) else dict(row) for row in rows)
    with atomic_path(path) as temporary:
        if path.suffix == ".jsonl":
            return _write_jsonl(temporary, plain)
        import polars as pl

        frame = pl.DataFrame(list(plain), infer_schema_length=None)
        if path.suffix == ".parquet":
            frame.write_parquet(temporary)
        else:
            frame.write_csv(temporary, separator="\t" if path.suffix == ".tsv" else ",")
        return frame.height


def read_lines(path: Path) -> Iterator[str]:
    """Stream the lines of a UTF-8 text file (also `.gz`), line ends included.

    Raises:
        EtudeError: The file cannot be read, or a line, which is named, is not UTF-8.
    """
    try:
        with _open_text(path) as handle:
            yield from handle
    except UnicodeDecodeError as error:
        raise EtudeError(
            f"{path}{_undecodable(path)}: not UTF-8 ({error.reason})", "Convert it to UTF-8."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise EtudeError(f"{path}: cannot be read ({error})", "Check the file.") from error


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _undecodable(path: Path) -> str:
    """`:line` of the first line that is not UTF-8 (the decoder reads ahead and does not know it)."""
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as handle:
        try:
            for number, line in enumerate(handle, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    return f":{number}"
        except (OSError, EOFError, zlib.error):
            pass  # the archive is damaged behind what was decoded
    return ""


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EtudeError(
                f"{path}:{number}: not valid JSON ({error})", "Each line must be one JSON object."
            ) from error
        if not isinstance(row, dict):
            raise EtudeError(
                f"{path}:{number}: a JSON {type(row).__name__}", "Each line must be one JSON object."
            )
        if "\\ud" in line.lower():
            for field, value in row.items():
                if _half_characters([field, value]):
                    raise EtudeError(
                        f"{path}:{number}: {field}: half of a surrogate pair (\\ud800 to \\udfff)",
                        "Write text as UTF-8, or both halves.",
                    )
        yield number, row


def _half_characters(row: Any) -> bool:
    """Whether texts of the row cannot be written: JSON's escapes can name half of a UTF-16 pair."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _read_separated(path: Path, separator: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(read_lines(path), delimiter=separator)
    rows = _whole_rows(path, reader)
    header = [name.strip() for name in next(rows, [])]
    if not header:
        raise EtudeError(f"{path}: empty file", "The first line must name the columns.")
    if len(set(header)) < len(header):
        twice = sorted(name for name, times in Counter(header).items() if times > 1)[:_MOST_ERRORS]
        raise EtudeError(
            f"{path}:1: column {', '.join(map(repr, twice))} is named twice", "Rename the columns."
        )
    for cells in rows:
        if not cells:
            continue
        if len(cells) != len(header):
            raise EtudeError(
                f"{path}:{reader.line_num}: {len(cells)} cells where the header has {len(header)}",
                "Check the separator and quoting of this line.",
            )
        yield reader.line_num, {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}


def _whole_rows(path: Path, reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise EtudeError(
            f"{path}:{reader.line_num}: not a row ({error})", "Check the separator and quoting of this line."
        ) from error


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (OSError, ValueError, pa.ArrowException) as error:
        raise EtudeError(f"{path}: not a readable Parquet file ({error})", "Write the file again.") from error


def _read_saved_dataset(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    from datasets import Dataset, DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(path))
    except (FileNotFoundError, ValueError) as error:
        raise EtudeError(
            f"{path}: not a saved dataset", "Give a folder written by datasets.save_to_disk."
        ) from error
    if isinstance(loaded, DatasetDict):
        if "train" not in loaded:
            raise EtudeError(
                f"{path}: has the splits {', '.join(loaded)}", f"Name one: {path}/{next(iter(loaded))}."
            )
        loaded = loaded["train"]
    assert isinstance(loaded, Dataset)
    for number, row in enumerate(loaded, start=1):
        yield number, dict(row)


def _read_hub_dataset(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    from datasets import load_dataset

    repository, _, split = name.partition(":")
    repository, _, config = repository.partition("@")
    try:
        loaded = load_dataset(repository, config or None, split=split or "train", streaming=True)
        for number, row in enumerate(loaded, start=1):
            yield number, dict(row)
    except (OSError, ValueError, RuntimeError) as error:
        first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise EtudeError(
            f"{name}: no such file, and the hub dataset could not be loaded ({first_line})",
            "Check the path or the hub id, and that you are online.",
        ) from error


def _is_hub_id(name: str) -> bool:
    repository = name.partition(":")[0].partition("@")[0]
    return (
        repository.count("/") == 1
        and not repository.startswith((".", "/", "~"))
        and not Path(repository).suffix
    )


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "row"


def _write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    count = 0
    with open(path, "w", encoding="utf-8") as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
    return count
