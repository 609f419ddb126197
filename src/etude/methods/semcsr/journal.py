"""One JSONL file that grows row by row: a killed run leaves whole rows, and the same command goes on."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from etude.data import write_records
from etude.errors import EtudeError


class Journal:
    """Rows by their `id`; one process at a time.

    Args:
        path: The file; created when missing. A half-written last line is dropped.
        wanted: The ids that this run writes, in the order of the finished file.

    Raises:
        EtudeError: The file is in use, is not such a file, or holds rows of other sentences or settings.
    """

    def __init__(self, path: Path, wanted: Sequence[str]) -> None:
        if path.suffix != ".jsonl":
            raise EtudeError(f"{path}: rows are written as JSONL", "Name the file with .jsonl.")
        self.path = path
        self.wanted = list(dict.fromkeys(wanted))
        self.rows: dict[str, dict[str, Any]] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> Journal:
        """Lock the file and read what it holds."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b")
        except OSError as error:
            raise EtudeError(
                f"{self.path}: cannot be written ({error.strerror})", "Choose another --out."
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise EtudeError(
                f"{self.path} is in use by another process", "Wait for it, or give another --out."
            ) from error
        try:
            self._read()
        except EtudeError:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the file."""
        assert self._file is not None
        self._file.close()

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows durably, in one write."""
        assert self._file is not None
        new = list(rows)
        self._file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in new))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows |= {row["id"]: row for row in new}

    def finish(self) -> list[dict[str, Any]]:
        """The rows in their final order; the file is written anew where it has another one."""
        rows = [self.rows[one] for one in self.wanted if one in self.rows]
        with open(self.path, encoding="utf-8") as handle:
            held = [json.loads(line)["id"] for line in handle]
        if held != [row["id"] for row in rows]:
            write_records(self.path, rows)
        return rows

    def _read(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            self._file.truncate(whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                row = json.loads(line)
                self.rows[row["id"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise EtudeError(
                    f"{self.path}:{number}: not a row of an earlier run", "Give another --out."
                ) from error
        foreign = len(self.rows.keys() - set(self.wanted))
        if foreign:
            raise EtudeError(
                f"{self.path}: holds {foreign} rows of other sentences or settings",
                "Repeat the command that wrote it, or give another --out.",
            )
