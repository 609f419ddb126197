"""Whole tables as polars frames, where a method works on columns rather than on records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from etude.data.records import read_lines
from etude.errors import EtudeError

if TYPE_CHECKING:
    import polars as pl


def read_frame(path: Path) -> pl.DataFrame:
    """Read a table.

    Args:
        path: `.parquet`; or text with a header, separated by commas (`.csv`) or else tabs.

    Returns:
        Columns of a Parquet file in their types; cells of a text as texts, so that a bad one can be quoted.

    Raises:
        EtudeError: There is no such file, it is no table, or it has two columns of one name.
    """
    import polars as pl
    import pyarrow as pa

    if not path.is_file():
        raise EtudeError(f"{path}: no such file", "Check the path.")
    try:
        return _parquet(path) if path.suffix.lower() == ".parquet" else _text(path)
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise EtudeError(
            f"{path}: not a readable table ({reason})"[:400],
            "Mend it or write it again: every row needs the header's columns.",
        ) from error


def _parquet(path: Path) -> pl.DataFrame:
    """By Arrow, which refuses damaged pages; polars' own reader panics on some."""
    import polars as pl
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    table.validate(full=True)
    _unique(path, table.column_names)
    columns = zip(table.column_names, table.columns, strict=True)  # alone: a damaged schema's notes stay out
    return pl.DataFrame([pl.Series(name, pl.from_arrow(column)) for name, column in columns])


def _text(path: Path) -> pl.DataFrame:
    import polars as pl

    separator = "," if path.suffix.lower() == ".csv" else "\t"
    _unique(path, [name.strip() for name in next(read_lines(path), "").rstrip("\r\n").split(separator)])
    return pl.read_csv(path, separator=separator, infer_schema=False)


def _unique(path: Path, names: list[str]) -> None:
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise EtudeError(
            f"{path}:1: column {', '.join(twice[:10])} appears twice", "Give each column a name of its own."
        )
