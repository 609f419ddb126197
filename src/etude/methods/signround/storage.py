"""Writing safetensors so that a full disk leaves nothing half done and is reported as one."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from etude.runs import atomic_path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """`atomic_path` for safetensors, which wraps the operating system's errors in a type of its own.

    Raises:
        EtudeError: The disk is full, or the place cannot be written; nothing is left behind.
    """
    with atomic_path(path) as temporary:
        try:
            yield temporary
        except SafetensorError as error:
            if "os error 28" in str(error) or "No space left" in str(error):
                raise OSError(errno.ENOSPC, "No space left on device", str(path)) from error
            raise
