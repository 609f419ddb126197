"""A line on stderr now and then while a large corpus is read or written."""

from __future__ import annotations

import time

from etude.render import console

_SECONDS = 10.0


class Notice:
    """Counts, and says every ten seconds how far it is.

    Args:
        what: What is counted, e.g. `documents screened`.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.count = 0
        self._last = time.monotonic()

    def add(self, count: int = 1) -> None:
        """Count on."""
        self.count += count
        if time.monotonic() - self._last > _SECONDS:
            self._last = time.monotonic()
            console().print(f"{self.count:,} {self.what}")
