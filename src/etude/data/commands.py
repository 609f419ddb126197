"""`etude data list` and `etude data pull`: embedded samples and hub data sets, to files."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.data.documents import prose
from etude.data.records import read_rows, write_records
from etude.errors import EtudeError

if TYPE_CHECKING:
    from rich.console import RenderableType

SAMPLES = {
    "python-docs": ("English technical prose of the Python installation (pydoc_data.topics)", "PSF-2.0")
}
"""Embedded sample to what it is and its licence."""


@dataclass(frozen=True)
class DataList:
    """The embedded samples.

    Args:
        samples: `name`, `what`, `licence`, `characters` of each.
    """

    samples: list[dict[str, str | int]]

    def __rich__(self) -> RenderableType:
        """One line per sample."""
        from rich.console import Group

        from etude.render import Text, show, table

        rows = [tuple(sample.values()) for sample in self.samples]
        hint = "Any hub data set works by its id: etude data pull ORG/NAME --out rows.jsonl"
        return Group(table(("name", "what", "licence", "characters"), rows), show(Text(hint)))


@dataclass(frozen=True)
class PulledData:
    """A data set that was written.

    Args:
        name: What was asked for.
        path: The file.
        rows: How many rows it has.
    """

    name: str
    path: str
    rows: int

    def __rich__(self) -> RenderableType:
        """One line."""
        from etude.render import Text, show

        return show(Text(f"{self.rows:,} rows of {self.name} in {self.path}"))


def list_data() -> DataList:
    """The embedded samples: what they are, their licence and size."""
    return DataList(
        [
            {"name": name, "what": what, "licence": licence, "characters": len(prose())}
            for name, (what, licence) in SAMPLES.items()
        ]
    )


def pull(name: str, *, out: Path, limit: int | None = None) -> PulledData:
    """Write an embedded sample or a hub data set to a file.

    Args:
        name: An embedded sample (`etude data list`), or a hub id `org/name` or `org/name:split`.
        out: The file: `.jsonl`, `.csv`, `.tsv` or `.parquet`.
        limit: Only this many rows.

    Raises:
        EtudeError: No such sample or hub data set, or the file cannot be written.
    """
    if name in SAMPLES:
        rows = [
            {"id": f"{name}-{i}", "source": name, "text": text}
            for i, text in enumerate(prose().split("\n\n"))
        ][:limit]
        return PulledData(name, str(out), write_records(out, rows))
    if "/" not in name:
        raise EtudeError(f"there is no sample {name!r}", f"Give {', '.join(SAMPLES)} or a hub id org/name.")
    stream = (row for _, row in itertools.islice(read_rows(name), limit))
    return PulledData(name, str(out), write_records(out, stream))
