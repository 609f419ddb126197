"""Files that are either whole or not there: write beside, sync, rename."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.runs.file_trouble import REFUSED, cannot_write
from etude.runs.launcher import await_leader, writes, writing_below


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there becomes `path` on success, else vanishes.

    The body may create a file or a directory. An existing file is replaced in one step; an existing directory
    is moved away first and deleted after. Of several processes of one command the machine's first one writes;
    the others discard what they wrote and wait until it is there.

    Args:
        path: Where the finished file or directory shall be. Its parent is created.

    Yields:
        A path in the same directory (with the same suffixes) that does not exist yet.

    Raises:
        EtudeError: The disk is full, or the place cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{path.name[:60]}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        temporary = holder / path.name
        with writing_below(holder):
            yield temporary
        if not writes(path):
            await_leader(path)
            return
        _sync(temporary)
        if path.is_dir() and not path.is_symlink():
            os.rename(path, holder / "replaced")
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        if error.errno in REFUSED:
            raise cannot_write(path, error) from error
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` (UTF-8) to `path` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON to `path` in one step; NaN and infinity, not being JSON, are refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        EtudeError: The file is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EtudeError(f"{path}: no such file", "Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise EtudeError(f"{path}: not valid JSON ({error})", "Mend or delete the file.") from error


def _sync(path: Path) -> None:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
