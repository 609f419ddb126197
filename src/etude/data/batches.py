"""A function over batches of rows, in this process or on many machines through Ray Data: the same results.

    for row in map_batches(rows, build, engine="ray", workers=2):
        store(row)

`build()` makes the function (loading its model) once in each worker. Rows in and out are JSON. They are
spooled to Parquet and read as a stream, so that memory does not grow with their number. Nothing is kept here
of what is finished: a caller stores each result and, when restarted, gives only the rows that are missing.

A worker that is killed is started again and does its batch once more; what it does to files must bear that. A
batch that kills every worker it meets (most often for memory) ends the run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

from etude.errors import EtudeError

BatchEngine: TypeAlias = Literal["local", "ray"]
Row: TypeAlias = dict[str, Any]
BatchFunction: TypeAlias = Callable[[list[Row]], list[Row]]

_SPOOL_ROWS = 4096
_ATTEMPTS = 3  # of a batch whose worker was killed


def map_batches(
    rows: Iterable[Row],
    build: Callable[[], BatchFunction],
    *,
    engine: BatchEngine = "local",
    batch_size: int = 64,
    workers: int = 2,
) -> Iterator[Row]:
    """Yield the function's results over all rows; the order is the rows' own only with `local`.

    Args:
        rows: JSON values.
        build: Makes the function; with `ray` it must be sendable to another process (a function or an object
            of a module).
        engine: `local`, in this process, or `ray`: on the cluster that `RAY_ADDRESS` names, else on this
            machine.
        batch_size: Rows that the function gets at once.
        workers: Functions at work side by side, with `ray`.

    Raises:
        EtudeError: ray is not installed, the function refused a batch, or a batch's workers were all killed.
    """
    if batch_size < 1 or workers < 1:
        raise EtudeError(f"batch size {batch_size}, workers {workers}", "Both are at least 1.")
    if engine == "local":
        return _in_process(rows, build, batch_size)
    return _through_ray(rows, build, batch_size, workers)


def _in_process(rows: Iterable[Row], build: Callable[[], BatchFunction], size: int) -> Iterator[Row]:
    waiting = iter(rows)
    function: BatchFunction | None = None
    while batch := list(islice(waiting, size)):
        function = function or build()
        yield from function(batch)


def _through_ray(
    rows: Iterable[Row], build: Callable[[], BatchFunction], size: int, workers: int
) -> Iterator[Row]:
    with ray_session(workers) as ray, tempfile.TemporaryDirectory(prefix="etude-rows-") as spool:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        files = _spool(rows, Path(spool))
        if not files:
            return
        blocks = max(files, 2 * workers)  # fewer than workers would leave some idle
        mapped = ray.data.read_parquet(spool, override_num_blocks=blocks).map_batches(
            _Worker,
            fn_constructor_args=(build,),
            batch_size=size,
            batch_format="numpy",
            num_cpus=1,
            max_restarts=-1,
            max_task_retries=_ATTEMPTS - 1,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        try:
            for result in mapped.iter_rows():
                value = json.loads(result["row"])
                if "refused" in value:
                    raise EtudeError(*value["refused"])
                yield value["result"]
        except ray.exceptions.RayActorError as error:
            raise EtudeError(
                f"{_ATTEMPTS} workers died over the same batch of up to {size} rows",
                "Most often memory ran out: fewer --workers. The same command goes on with what is missing.",
            ) from error


@contextmanager
def ray_session(workers: int) -> Iterator[Any]:
    """The module ray, connected: to the cluster that `RAY_ADDRESS` names, else to one on this machine.

    Args:
        workers: Processes that a cluster on this machine has.

    Raises:
        EtudeError: ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise EtudeError("--engine ray needs the package ray", "pip install 'etude[ray]'")
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    mine = not ray.is_initialized()
    if mine:
        address = os.environ.get("RAY_ADDRESS")
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": 40}
        ray.init(address) if address else ray.init(num_cpus=workers + 1, **quiet)
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


class _Worker:
    """The function in a worker process; a user's mistake travels back as a value, with both its lines."""

    def __init__(self, build: Callable[[], BatchFunction]) -> None:
        self.function: BatchFunction | None = None
        self.build = build

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        try:
            self.function = self.function or self.build()
            results = [{"result": one} for one in self.function([json.loads(t) for t in batch["row"]])]
        except EtudeError as error:
            return {"row": [json.dumps({"refused": [error.problem, error.hint]})]}
        return {"row": [json.dumps(one, ensure_ascii=False) for one in results]}


def _spool(rows: Iterable[Row], folder: Path) -> int:
    """Write the rows as JSON texts in Parquet files of a few thousand, and return how many files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting, files = iter(rows), 0
    while part := [json.dumps(row, ensure_ascii=False) for row in islice(waiting, _SPOOL_ROWS)]:
        pq.write_table(pa.table({"row": part}), folder / f"{files:06}.parquet")
        files += 1
    return files
