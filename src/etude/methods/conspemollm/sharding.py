"""Rows in shards of a run: a finished shard is kept, whoever computed it, and is never computed again.

Shards are always the same slices of a file, so that what a resumed run computes (batches and all) does not
depend on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from etude.data.batches import BatchEngine, BatchFunction, Row, map_batches
from etude.render import console
from etude.runs import Run

SHARD = 64
Work: TypeAlias = Callable[[list[tuple[str, str]]], list[dict[str, Any]]]


@dataclass(frozen=True)
class ShardWork:
    """Makes the function over shards in each worker process.

    Args:
        build: Makes the function over (id, text) pairs, loading its model; sendable to another process.
    """

    build: Callable[[], Work]

    def __call__(self) -> BatchFunction:
        """The function over shards."""
        work = self.build()

        def each(shards: list[Row]) -> list[Row]:
            return [
                {"start": one["start"], "found": work([(row[0], row[1]) for row in one["rows"]])}
                for one in shards
            ]

        return each


def in_shards(
    run: Run,
    texts: Sequence[tuple[str, str]],
    build: Callable[[], Work],
    *,
    engine: BatchEngine = "local",
    workers: int = 2,
) -> list[dict[str, Any]]:
    """Results of all texts, in their order; those of finished shards are read, not computed.

    Args:
        run: Keeps each shard as a step.
        texts: (id, text) pairs.
        build: Makes the function over texts.
        engine: `local`, or `ray`.
        workers: With ray.
    """
    starts = range(0, len(texts), SHARD)
    waiting = (
        {"start": start, "rows": [list(pair) for pair in texts[start : start + SHARD]]}
        for start in starts
        if not run.finished(_step(start))
    )
    for done in map_batches(waiting, ShardWork(build), engine=engine, batch_size=1, workers=workers):
        run.finish(_step(done["start"]), done["found"])
        if len(texts) > SHARD:
            console().print(
                f"finished texts {done['start'] + 1:,} to {min(done['start'] + SHARD, len(texts)):,}"
            )
    return [row for start in starts for row in run.record(_step(start))]


def _step(start: int) -> str:
    return f"rows {start}"
