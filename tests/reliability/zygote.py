"""A process that has imported everything once and forks a child for every command.

A command of etude takes some ten seconds to import torch and transformers and one to run. Here the imports
are paid once: the zygote stays on a single thread (a fork copies one only), reads jobs as lines of JSON, and
gives each a child of its own with its folder, environment and limits.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WARM = (
    "numpy scipy.stats pydantic rich.console cyclopts torch torch.nn.functional safetensors.torch "
    "transformers transformers.models.llama.modeling_llama transformers.models.auto.modeling_auto "
    "transformers.trainer transformers.models.bert.modeling_bert "
    "transformers.models.whisper.modeling_whisper peft datasets "
    "matplotlib.pyplot jinja2 PIL.Image sklearn.linear_model duckdb sympy httpx openai inspect_ai etude.cli"
)  # what the verbs import, but polars, which starts its threads at once; what is not installed is left out
FORKABLE = "jemalloc_bg_thd"  # the memory allocator's own thread stops for a fork and starts in the child


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Args:
        status: Exit status; negative: the signal that ended it.
        out: What it printed.
        err: What it said besides.
        seconds: How long it ran.
    """

    status: int
    out: str
    err: str
    seconds: float

    @property
    def traceback(self) -> bool:
        """Whether an exception reached the top."""
        return "Traceback (most recent call last)" in self.err

    @property
    def told(self) -> bool:
        """Whether it ended as a user's mistake: status 2, the problem, and what to do in the last line."""
        return self.status == 2 and "error: " in self.err and not self.traceback


class Zygote:
    """The process with all imports, started on first use.

    Args:
        environment: Beside that of this process.
    """

    def __init__(self, **environment: str) -> None:
        quiet = {
            "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "COLUMNS": "120", "OPENAI_API_KEY": "none",
            "PYTHONDONTWRITEBYTECODE": "1", "POLARS_MAX_THREADS": "1", "PYTHONPATH": f"{ROOT}/src:{ROOT}",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.reliability.zygote"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, **quiet, **environment},
        )  # fmt: skip
        if self._answer() != {"ready": 1}:
            raise RuntimeError("the zygote has threads before its first fork")

    def run(
        self,
        tokens: list[str],
        folder: Path,
        *,
        environment: dict[str, str],
        kill_after: float | None = None,
        timeout: float = 300.0,
        before: str = "",
        file_size: int | None = None,
    ) -> Outcome:
        """Run one command in a child.

        Args:
            tokens: Its arguments.
            folder: Working directory.
            environment: Variables of this run.
            kill_after: Seconds until SIGKILL.
            timeout: Seconds until it counts as hung (killed too).
            before: `module:function` to be called in the child first.
            file_size: The most bytes of a file (RLIMIT_FSIZE).
        """
        job: dict[str, Any] = {"tokens": tokens, "folder": str(folder), "environment": environment}
        job |= {"before": before, "file_size": file_size}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        child = self._answer()["child"]
        started = time.monotonic()
        timer = threading.Timer(timeout if kill_after is None else kill_after, _kill, (child,))
        timer.start()
        ended = self._answer()
        timer.cancel()
        return Outcome(ended["status"], ended["out"], ended["err"], time.monotonic() - started)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the zygote ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _child(job: dict[str, Any], out: int, err: int) -> None:
    """Become the command; never returns."""
    import importlib
    import resource
    import traceback

    status = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(job["folder"])
        os.environ.update(job["environment"])
        sys.stdin, sys.stdout, sys.stderr = (open(at, "rw"[at > 0]) for at in range(3))  # noqa: SIM115
        if job["file_size"] is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
        if job["before"]:
            module, _, function = job["before"].partition(":")
            getattr(importlib.import_module(module), function)()
        from etude.cli import main

        main(job["tokens"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _serve() -> None:
    """Import, then answer jobs until the input ends."""
    import importlib
    import tempfile

    wire = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in WARM.split():
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    tasks = Path("/proc/self/task").glob("*/comm")
    threads = sum(task.read_text().strip() != FORKABLE for task in tasks)
    wire.write(json.dumps({"ready": threads}) + "\n")
    wire.flush()
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
            child = os.fork()
            if child == 0:
                wire.close()
                _child(job, out.fileno(), err.fileno())
            wire.write(json.dumps({"child": child}) + "\n")
            wire.flush()
            _, waited = os.waitpid(child, 0)
            _end_group(child)
            said = {}
            for name, held in (("out", out), ("err", err)):
                held.seek(0)
                said[name] = held.read().decode("utf-8", "replace")
            wire.write(json.dumps({"status": os.waitstatus_to_exitcode(waited), **said}) + "\n")
            wire.flush()


def _end_group(child: int) -> None:
    """End what the command left running: after a kill its own children may still be there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
