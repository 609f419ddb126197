r"""Program of thought: a model writes a program, a process that can reach nothing runs it, its output is the
answer.

    run_program("import sympy\nprint(sympy.sqrt(50))").output        # '5*sqrt(2)'

The program runs in an interpreter of its own, under `isolation`: it opens no file but Python's libraries (its
temporary folder holds the program alone and cannot be written), has no network, starts no process, and is
ended after a time. Its environment holds none of the user's variables.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from etude.errors import EtudeError

Status = Literal["done", "failed", "timeout", "memory", "output"]

SECONDS, MEGABYTES = 10.0, 512
_MOST_OUTPUT = 64 * 1024
_FENCE = re.compile(r"```[ \t]*(?:python|py|Python|python3|sympy)?[ \t]*\r?\n(.*?)(?:```|\Z)", re.S)


@dataclass(frozen=True)
class ProgramResult:
    """What a program did.

    Args:
        status: `done`; `failed` (it raised); `timeout`; `memory`; `output` (it printed too much).
        output: What it printed on standard output.
        error: The last line of its error output.
        seconds: Wall time.
    """

    status: Status
    output: str
    error: str
    seconds: float

    @property
    def answer(self) -> str:
        """Its last non-empty line of output, if it ran to its end."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines and self.status == "done" else ""


def find_program(response: str) -> str | None:
    """The program in a response: its last fenced block, or all of it if it reads like a program."""
    blocks = [block for block in _FENCE.findall(response) if block.strip()]
    if blocks:
        return str(blocks[-1])
    bare = response.strip()
    return bare if re.match(r"(?:import|from)\s+\w+", bare) and "print(" in bare else None


def run_program(program: str, *, seconds: float = SECONDS, megabytes: int = MEGABYTES) -> ProgramResult:
    """Run an untrusted Python program where it can reach nothing.

    Args:
        program: Its source.
        seconds: The most wall time.
        megabytes: The most memory (address space).

    Raises:
        EtudeError: This machine cannot isolate a process; nothing has been run then.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="etude-program-") as folder:
        path = Path(folder) / "program.py"
        path.write_text(program, encoding="utf-8", errors="replace")
        command = [
            sys.executable, "-I", "-B", str(Path(__file__).with_name("isolation.py")), str(path),
            str(megabytes * 2**20), str(int(seconds) + 1),
        ]  # fmt: skip
        environment = {
            "HOME": folder, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }  # fmt: skip
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder,
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            output, errors, ended = _read(process, started + seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else ""
    if process.returncode == 77:
        raise EtudeError(
            f"programs of models cannot be run here: {last}",
            "Use --method cot, or a Linux machine with kernel 5.13 or newer.",
        )
    return ProgramResult(
        _status(process.returncode, ended, errors), output, last, round(time.monotonic() - started, 3)
    )


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[str, str, str]:
    """Output and error output until both end, the time is over or there is too much of them."""
    assert process.stdout is not None and process.stderr is not None
    texts = {process.stdout: b"", process.stderr: b""}
    ended = ""
    with selectors.DefaultSelector() as selector:
        for stream in texts:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and not ended:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                ended = "timeout"
            for key, _ in ready:
                stream = process.stdout if key.fileobj is process.stdout else process.stderr
                piece = os.read(stream.fileno(), 65_536)
                if not piece:
                    selector.unregister(stream)
                texts[stream] += piece
                if len(texts[stream]) > _MOST_OUTPUT:
                    ended = "output"
    if not ended:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            ended = "timeout"
    output, errors = (texts[stream][:_MOST_OUTPUT].decode("utf-8", "replace") for stream in texts)
    return output, errors, ended


def _status(code: int, ended: str, errors: str) -> Status:
    if ended == "output":
        return "output"
    if ended == "timeout" or code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "timeout"
    if "MemoryError" in errors:
        return "memory"
    return "done" if code == 0 else "failed"
