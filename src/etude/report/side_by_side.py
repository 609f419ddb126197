"""Jobs side by side, each in a process of its own, under a live table of what every one of them is doing.

What a job prints goes to its log file; the table shows the log's last line. A job that raises, or whose
process is killed, takes no other job with it. When the parent dies, so do its jobs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.render import console, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_GIGABYTES = 3.0  # memory that one job may want: a small language model, twice
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass
class Job:
    """One piece of work and how it goes.

    Args:
        name: Shown in the table; also the log's name.
        work: What is called; a function of a module with its arguments (`functools.partial`).
        summary: From the result to what the table says when the job is done.
        state: `waiting`, `running`, `done` or `failed`.
        result: What the work returned.
        error: What it raised.
        seconds: How long it took, by the clock.
        log: Where its output goes.
    """

    name: str
    work: Callable[[], Any]
    summary: Callable[[Any], str] = field(default=lambda result: "", repr=False)
    state: str = "waiting"
    result: Any = None
    error: Exception | None = None
    seconds: float = 0.0
    log: Path | None = None
    began: float = field(default=0.0, repr=False)

    def last_line(self) -> str:
        """What the job said last, how it failed, or what came out."""
        if self.error is not None:
            return str(self.error)
        if self.state == "done":
            return self.summary(self.result)
        return _last_line(self.log) if self.log is not None else ""


def affordable_workers(jobs: int) -> int:
    """How many jobs this machine can take at once: one per core, 3 GB of free memory for each."""
    import psutil

    memory = int(psutil.virtual_memory().available / (_GIGABYTES * 1e9))
    return max(1, min(jobs, len(os.sched_getaffinity(0)), memory))


def side_by_side(jobs: list[Job], *, workers: int, logs: Path) -> None:
    """Run all jobs, `workers` at a time, and write into each how it went; the cores are shared out evenly.

    Args:
        jobs: They start in this order.
        workers: Processes.
        logs: Folder for `NAME.log`.

    Raises:
        EtudeError: `workers` is less than one.
    """
    if workers < 1:
        raise EtudeError(f"--workers {workers}", "Give 1 or more.")
    logs.mkdir(parents=True, exist_ok=True)
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    waiting = list(jobs)
    with _watched(jobs), _environment({name: str(threads) for name in _THREADS}):
        while waiting:
            waiting = _run_pool(waiting, workers, logs)


def _run_pool(waiting: list[Job], workers: int, logs: Path) -> list[Job]:
    """Run jobs until all are finished or a process died; return those that have not begun."""
    running: dict[Future[Any], Job] = {}
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        while waiting or running:
            # no more than there are processes: should one die, what ran is known
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                job.state, job.began, job.log = "running", time.monotonic(), logs / f"{job.name}.log"
                job.log.write_text("")
                running[pool.submit(_logged, job.work, job.log)] = job
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running[future]
                broken = isinstance(future.exception(), BrokenProcessPool)
                _finish(job, future)
                if broken:
                    for other, unlucky in running.items():
                        if other is not future:
                            _finish(unlucky, other)
                    return waiting
                del running[future]
        return waiting
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _finish(job: Job, future: Future[Any]) -> None:
    job.seconds = round(time.monotonic() - job.began, 1)
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        job.error = EtudeError(
            "a process was killed, perhaps for want of memory", "Try fewer --workers; what is done is kept."
        )
    elif isinstance(error, Exception):
        job.error = error
    elif error is not None:
        raise error
    else:
        job.result = future.result()
    job.state = "done" if job.error is None else "failed"


def _logged(work: Callable[[], Any], log: Path) -> Any:
    """In the worker: the job, with all it prints (also from C) in its log."""
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    return work()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work forever."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that children inherit."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: value for name, value in variables.items() if before[name] is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@contextmanager
def _watched(jobs: list[Job]) -> Iterator[None]:
    """A live table on a terminal; elsewhere a line when a job begins and when it ends."""
    if console().is_terminal:
        from rich.live import Live

        with Live(get_renderable=lambda: _table(jobs), console=console(), refresh_per_second=2):
            yield
        return
    stop = threading.Event()
    told: dict[str, str] = {}

    def tell() -> None:
        for job in jobs:
            if job.state not in ("waiting", told.get(job.name)):
                told[job.name] = job.state
                after = f" after {job.seconds:.0f} s" if job.state in ("done", "failed") else ""
                console().print(f"{job.name}: {job.state}{after} {job.last_line()}".rstrip())

    def keep_telling() -> None:
        while not stop.wait(0.5):
            tell()

    teller = threading.Thread(target=keep_telling, daemon=True)
    teller.start()
    try:
        yield
    finally:
        stop.set()
        teller.join()
        tell()


def _table(jobs: list[Job]) -> RenderableType:
    def row(job: Job) -> tuple[str, str, float | None, str]:
        seconds = time.monotonic() - job.began if job.state == "running" else job.seconds
        said = " ".join(job.last_line().split())
        return job.name, job.state, None if job.state == "waiting" else round(seconds), said[:80]

    return table(("job", "state", "seconds", "what it says"), [row(job) for job in jobs])


def _last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "")
