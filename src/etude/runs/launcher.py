"""What torchrun or `accelerate launch` say of this process: one of several that run the same command.

All of them compute; the first one of a machine writes its files, the first one of all keeps the run's books.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etude.errors import EtudeError

_PATIENCE = 600.0  # seconds until what the first process writes is there
_own: list[Path] = []  # folders in which this process writes whatever its number


def processes() -> int:
    """How many processes run this command together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this is the first process of all (or the only one)."""
    return os.environ.get("RANK", "0") == "0"


def leads_here() -> bool:
    """Whether this is the first process on its machine (or the only one)."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def writes(path: Path) -> bool:
    """Whether this process writes a file, or another one does."""
    return leads_here() or any(folder in path.absolute().parents for folder in _own)


@contextmanager
def writing_below(folder: Path) -> Iterator[None]:
    """Within it this process writes below a folder, whatever its number: no other one is there."""
    _own.append(folder.absolute())
    try:
        yield
    finally:
        _own.remove(folder.absolute())


def await_leader(path: Path) -> None:
    """Wait until the first process of this machine has written a file or folder.

    Raises:
        EtudeError: It does not come.
    """
    deadline = time.monotonic() + _PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            raise EtudeError(
                f"{path}: the first process of this machine did not write it",
                "Look at its message above, then give the same command again.",
            )
        time.sleep(0.02)


def part() -> None:
    """Leave the other processes, if there are any, as torch wants it at the end."""
    if processes() > 1:
        import torch.distributed as together

        if together.is_initialized():
            together.destroy_process_group()
