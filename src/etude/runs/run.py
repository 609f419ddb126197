"""A run's folder: `run.json` (what was asked), `steps/` (what is finished), `result.json` (what came out)."""

from __future__ import annotations

import fcntl
import json
import platform
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from etude.errors import EtudeError
from etude.runs.atomic import read_json, write_json
from etude.runs.hashing import content_hash
from etude.runs.launcher import await_leader, leads, processes

_REPORTED = ("etude", "torch", "transformers", "tokenizers", "numpy", "scipy", "polars")


class Run:
    """One folder, one configuration, one process at a time.

    Opening a folder again with the same configuration resumes it: finished steps keep their records. The
    result must depend on `config` alone. Under torchrun the first process keeps the folder's books; the
    others read them and keep what they add to themselves.

    Args:
        out: The run's folder; created when missing.
        config: Everything that determines the result, as JSON values.
        command: What the user asked for, in words, e.g. `"signround quantize"`.

    Raises:
        EtudeError: The folder belongs to a run with another configuration, to another running process, or
            holds files that are not a run's.
    """

    def __init__(self, out: Path | str, config: Mapping[str, Any], *, command: str) -> None:
        self.path = Path(out)
        self.config = dict(config)
        self.command = command
        self._lock: TextIO | None = None
        self._started = 0.0
        self._before = 0.0  # seconds spent by earlier, interrupted processes
        self._own: dict[Path, Any] = {}  # books of a process that is not the first

    def __enter__(self) -> Run:
        """Lock the folder, check that it is ours, and note the start."""
        if not leads():
            await_leader(self.path / ".run.lock")
            self._check_config()
            return self
        if self.path.exists() and not self.path.is_dir():
            raise EtudeError(f"{self.path} is a file", "Give a folder as --out.")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / ".run.lock").exists():
            raise EtudeError(
                f"{self.path} is not empty and is not a run's folder", "Give a new folder as --out."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.path / ".run.lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise EtudeError(
                f"{self.path} is in use by another process", "Wait for it, or give another --out."
            ) from error
        try:
            self._check_config()
        except EtudeError:
            self._lock.close()
            raise
        if processes() == 1:
            self._clear()
        self._started = time.monotonic()
        if self.result is None:
            self._write("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Note how it went and release the folder."""
        if not leads():
            return
        if self.result is None:
            self._write("interrupted" if kind is None or not issubclass(kind, Exception) else "failed", error)
        assert self._lock is not None
        self._lock.close()

    @property
    def result(self) -> Any | None:
        """What `complete` stored, or None while the run is not complete."""
        path = self.path / "result.json"
        return self._read(path) if self._is_there(path) else None

    def finished(self, step: str) -> bool:
        """Whether the step is finished, in this process or an earlier one."""
        return self._is_there(self._step_path(step))

    def record(self, step: str) -> Any:
        """What `finish` stored with the step."""
        return self._read(self._step_path(step))["record"]

    def finish(self, step: str, record: Any = None) -> None:
        """Mark a step as finished, durably. Call it after the step's own files are in place.

        Args:
            step: Any text; it names the step within the run.
            record: JSON value to keep with it.
        """
        self._keep(self._step_path(step), {"step": step, "record": record})

    def step(self, step: str, compute: Callable[[], Any]) -> Any:
        """The record of a step: computed and stored now, or read if the step is already finished."""
        if not self.finished(step):
            self.finish(step, compute())
        return self.record(step)

    def complete(self, result: Any) -> None:
        """Store the run's result (JSON) and close its books; from now on the same run returns it at once."""
        if leads():
            self._write("complete")
        self._keep(self.path / "result.json", result)

    def _keep(self, path: Path, value: Any) -> None:
        if leads():
            write_json(path, value)
        else:
            self._own[path] = json.loads(json.dumps(value, allow_nan=False))

    def _is_there(self, path: Path) -> bool:
        return path in self._own or path.exists()

    def _read(self, path: Path) -> Any:
        return self._own[path] if path in self._own else read_json(path)

    def _step_path(self, step: str) -> Path:
        return self.path / "steps" / f"{content_hash(step)[:24]}.json"

    def _clear(self) -> None:
        """Delete what a kill left of files that were being written."""
        for folder in (self.path, self.path / "steps"):
            for unfinished in folder.glob(".*.tmp"):
                shutil.rmtree(unfinished, ignore_errors=True)

    def _check_config(self) -> None:
        path = self.path / "run.json"
        if not path.exists():
            return
        earlier = read_json(path)
        self._before = float(earlier.get("seconds", 0.0))
        ours = {"command": self.command, **self.config}
        theirs = {"command": earlier["command"], **earlier["config"]}
        if content_hash(ours) == content_hash(theirs):
            return
        differing = [
            f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} now"
            for key in sorted({*ours, *theirs})
            if content_hash(ours.get(key)) != content_hash(theirs.get(key))
        ]
        raise EtudeError(
            f"{self.path} holds a run with another configuration ({'; '.join(differing)})"[:600],
            "Repeat that configuration to resume it, or give another --out.",
        )

    def _write(self, status: str, error: BaseException | None = None) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_json(
            self.path / "run.json",
            {
                "command": self.command,
                "config": _plain(self.config),
                "config_hash": content_hash(self.config),
                "status": status,
                "error": None if error is None else f"{type(error).__name__}: {error}"[:2000],
                "updated": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(self._before + time.monotonic() - self._started, 3)
                if self._started
                else self._before,
                "peak_memory_mb": round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1),
                "host": host_facts(),
                "versions": versions(),
            },
        )


def host_facts() -> dict[str, Any]:
    """What of the machine matters to a measurement: system, processor type, logical cores, Python."""
    import os

    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that numbers depend on."""
    found = {}
    for name in _REPORTED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in config.items()}
