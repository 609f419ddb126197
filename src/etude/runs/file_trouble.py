"""What the operating system or a file's reader refused, said to a person: which file, and what to do.

Files are read and written in many places, many of them inside libraries, each with errors of its own. The
command line asks here, once, whether what was raised is such an error.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from etude.errors import EtudeError

_AGAIN = "then repeat the command; finished work is kept"
_HINTS = {
    errno.ENOSPC: f"Free some space or choose another --out, {_AGAIN}.",
    errno.EDQUOT: f"Free some of your quota or choose another --out, {_AGAIN}.",
    errno.EFBIG: f"Raise the limit on the size of files (ulimit -f), {_AGAIN}.",
    errno.EROFS: "It lies on a read-only disk; choose another --out (for the cache: ETUDE_CACHE).",
    errno.EACCES: "Change its permissions, or choose another --out (for the cache: ETUDE_CACHE).",
    errno.EPERM: "Change its permissions, or choose another --out (for the cache: ETUDE_CACHE).",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path: part of it is a file.",
    errno.EISDIR: "Check the path: a file is wanted.",
    errno.ENAMETOOLONG: "Use shorter names.",
    errno.EMFILE: f"Raise the limit on open files (ulimit -n), {_AGAIN}.",
    errno.EIO: f"The disk has an error; check it, {_AGAIN}.",
}
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_SAID = {  # how libraries say the same in words, without a number
    "no space left": errno.ENOSPC,
    "disk is full": errno.ENOSPC,
    "quota exceeded": errno.EDQUOT,
    "file too large": errno.EFBIG,
    "read-only": errno.EROFS,
    "readonly database": errno.EROFS,
    "permission denied": errno.EACCES,
    "unable to open database file": errno.EACCES,
    "unexpected pos": errno.ENOSPC,  # torch's writer, when a write was cut short
}
_READERS = (
    "safetensors",
    "polars",
    "duckdb",
    "pyarrow",
    "PIL",
    "soundfile",
    "zipfile",
    "json",
    "zlib",
    "lzma",
)
_INSIDE = (*_READERS, "numpy", "tokenizers", "transformers", "gzip", "datasets", "gguf")
_SCRATCH = re.compile(r"/\.[^/]+\.tmp(/|$)")  # what `atomic_path` writes beside the file


def file_trouble(error: BaseException) -> EtudeError | None:
    """An exception as a user's trouble with a file, or None when it is something else.

    Args:
        error: What was raised, with its traceback.

    Returns:
        Which file, what was wrong with it, and what to do.
    """
    number = _number(error)
    if number in _HINTS:
        path = _named(error) or next(_paths(error), None)
        if number == errno.ENOENT and path is None:
            return None
        reason = os.strerror(number)
        return EtudeError(f"{path or 'a file'}: {reason[0].lower()}{reason[1:]}", _HINTS[number])
    if _from_a_reader(error):
        path = _named(error) or next(_paths(error), None)
        if path is not None:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            return EtudeError(
                f"{path}: cannot be read; it is damaged or not what its name says ({first})",
                "Restore it, or delete what is damaged and repeat the command that made it.",
            )
    return None


def cannot_write(path: Path, error: OSError) -> EtudeError:
    """The place where a result should go refuses it."""
    hint = _HINTS.get(error.errno or 0, _HINTS[errno.ENOSPC])
    return EtudeError(f"{path}: cannot be written ({error.strerror or error})", hint)


def _number(error: BaseException) -> int | None:
    """The system's number of what went wrong, as the exception or its text has it."""
    if isinstance(error, OSError) and error.errno in _HINTS:
        return error.errno
    if isinstance(error, OSError | sqlite3.Error | RuntimeError) or _module(error) in _READERS:
        text = str(error).lower()
        coded = re.search(r"os error (\d+)|errno (\d+)", text)
        if coded:
            return int(coded[1] or coded[2])
        return next((number for said, number in _SAID.items() if said in text), None)
    return None


def _module(error: BaseException) -> str:
    return type(error).__module__.split(".")[0].lstrip("_")


def _from_a_reader(error: BaseException) -> bool:
    """Whether it is about the content of a file that was read."""
    if isinstance(error, sqlite3.DatabaseError | UnicodeDecodeError | EOFError):
        return True
    if _module(error) in _READERS or type(error) is Exception:  # tokenizers raises that
        return True
    if isinstance(error, OSError | ValueError | RuntimeError):
        inside = [frame.f_globals.get("__name__", "") for frame in _library_frames(error)]
        return any(name.split(".")[0] in _INSIDE for name in inside)
    return False


def _named(error: BaseException) -> str | None:
    """The file that the exception itself names."""
    name = getattr(error, "filename", None)
    if name is None:
        quoted = re.search(r"['\"]?((?:\.{0,2}/)?[\w.+-]+(?:/[\w.+-]+)+)", str(error))
        name = quoted[1] if quoted and os.path.exists(quoted[1]) else None
    return None if name is None or isinstance(name, int) else _final(os.fsdecode(name))


def _paths(error: BaseException) -> Iterator[str]:
    """Files that the functions were at work on when it was raised, innermost first."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]
    for frame in frames:
        if frame.f_code.co_filename == __file__:
            continue
        for name in ("path", "file", "filename", "folder", *frame.f_locals):
            value = frame.f_locals.get(name)
            if isinstance(value, Path) or (
                isinstance(value, str)
                and name in ("path", "file", "filename", "folder")
                and "\0" not in value
            ):
                yield _final(str(value))
        if _is_ours(frame):
            own = getattr(frame.f_locals.get("self"), "path", None)
            if isinstance(own, Path):
                yield _final(str(own))


def _library_frames(error: BaseException) -> list[FrameType]:
    """The calls below the last of our own functions."""
    found: list[FrameType] = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = [] if _is_ours(frame) else [*found, frame]
    return found


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == "etude"


def _final(path: str) -> str:
    """A path where the user sees it: what is written beside a file in `.NAME.xyz.tmp/` is the file's."""
    match = _SCRATCH.search(path)
    if match is None:
        return path
    rest = path[match.end() :]
    return f"{path[: match.start()]}/{rest}" if rest else path[: match.start()]
