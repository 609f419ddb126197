"""Grounding a file of questions in chunks that survive a kill, here or on many machines."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from etude.data.batches import BatchEngine, BatchFunction, Row, map_batches
from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.graph_store import SCHEMA, as_batch, read_arrow, write_arrow, write_store
from etude.methods.pipenet.grounding import (
    FastParseEffect,
    Grounder,
    GroundingSize,
    Hops,
    fast_parse_effect,
    graph_size,
    grounding_size,
)
from etude.methods.pipenet.parsing import open_parser
from etude.methods.pipenet.questions import Form, Question, Statement, statements
from etude.render import console
from etude.runs import Run

CHUNK = 1000
_EFFECT_SAMPLE = 200


@dataclass(frozen=True)
class GroundingPlan:
    """What determines the subgraphs of a file, besides its statements.

    Attributes:
        kg: Folder of the concept graph.
        parser: Name of the parser.
        hops, most_nodes, fast: See `Grounder`.
        form: See `questions.statements`.
        chunk: Statements per chunk.
    """

    kg: Path
    parser: str
    hops: Hops = 2
    most_nodes: int = 200
    fast: bool = False
    form: Form = "wh"
    chunk: int = CHUNK

    def grounder(self, *, verify: bool = False) -> Grounder:
        """Open graph, parser and trie."""
        kg = ConceptGraph.open(self.kg, verify=verify)
        parser = open_parser(self.parser)
        return Grounder.make(kg, parser, hops=self.hops, most_nodes=self.most_nodes, fast=self.fast)


@dataclass(frozen=True)
class GroundedFile:
    """What grounding a file gave.

    Attributes:
        size: Means per statement.
        fallback: Statements with a side grounded word by word.
        effect: What `fast` changed, on a sample; None without it.
        notices: What a reader should know.
    """

    size: GroundingSize
    fallback: int
    effect: FastParseEffect | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _ChunkWriter:
    """Makes, in each worker, the function that grounds chunks and writes them."""

    plan: GroundingPlan
    statements: Sequence[Statement]
    folder: Path

    def __call__(self) -> BatchFunction:
        grounder = self.plan.grounder()

        def write(chunks: list[Row]) -> list[Row]:
            return [self._write(grounder, int(row["chunk"])) for row in chunks]

        return write

    def _write(self, grounder: Grounder, chunk: int) -> Row:
        given = self.statements[chunk * self.plan.chunk : (chunk + 1) * self.plan.chunk]
        graphs = grounder.ground(given)
        write_arrow(self.folder / f"{chunk:06}.arrow", SCHEMA, [as_batch(graphs)])
        return {
            "chunk": chunk,
            "sizes": [list(graph_size(g)) for g in graphs],
            "fallback": sum(bool(g.fallback) for g in graphs),
        }


def ground_file(
    questions: Sequence[Question],
    plan: GroundingPlan,
    run: Run,
    *,
    meta: dict[str, Any],
    engine: BatchEngine = "local",
    workers: int = 2,
) -> GroundedFile:
    """Ground every statement; finished chunks are kept from an earlier, killed process.

    Args:
        questions: In order.
        plan: How.
        run: An open run; its folder becomes a `GraphStore`.
        meta: For `meta.json`.
        engine: See `etude.data.batches.map_batches`; with ray the graph is memory-mapped once per worker
            machine, and the run's folder must be shared.
        workers: With ray.
    """
    given = [s for q in questions for s in statements(q, plan.form)]
    folder = run.path / "chunks"
    folder.mkdir(exist_ok=True)
    count = -(-len(given) // plan.chunk)
    left = [{"chunk": k} for k in range(count) if not run.finished(f"chunk-{k:06}")]
    writer = _ChunkWriter(plan, given, folder.resolve())
    for done in map_batches(left, writer, engine=engine, batch_size=1, workers=workers):
        run.finish(f"chunk-{done['chunk']:06}", {"sizes": done["sizes"], "fallback": done["fallback"]})
        console().print(f"pipenet ground: chunk {done['chunk'] + 1} of {count}")
    effect = None
    if plan.fast:
        sample = [s for s in given if s.frame is not None][:_EFFECT_SAMPLE]
        found = run.step("effect", lambda: asdict(fast_parse_effect(plan.grounder(), sample)))
        effect = FastParseEffect(**found)
    _gather(plan, run, folder, count, meta)
    records = [run.record(f"chunk-{k:06}") for k in range(count)]
    size = grounding_size(tuple(row) for record in records for row in record["sizes"])
    notices = []
    if size.ungrounded > size.statements / 2:
        notices.append(
            f"{size.ungrounded} of {size.statements} statements name no concept of this graph: "
            "is the text in the graph's language?"
        )
    elif size.ungrounded:
        notices.append(f"{size.ungrounded} statements name no concept: the encoder answers them alone")
    return GroundedFile(size, sum(r["fallback"] for r in records), effect, tuple(notices))


def _gather(plan: GroundingPlan, run: Run, folder: Path, count: int, meta: dict[str, Any]) -> None:
    """One file from the chunks, with the names of all concepts that occur."""
    kg = ConceptGraph.open(plan.kg, verify=False)

    def batches() -> Iterator[pa.RecordBatch]:
        for k in range(count):
            yield from read_arrow(folder / f"{k:06}.arrow").to_batches()

    seen: set[int] = set()
    for batch in batches():
        seen.update(np.unique(batch["nodes"].values.to_numpy()).tolist())
    ids = np.array(sorted(seen), dtype=np.int64)
    degrees = dict(zip(ids.tolist(), kg.degrees(ids).tolist(), strict=True)) if len(ids) else {}
    write_store(run.path, batches(), meta, {i: kg.name(i) for i in ids.tolist()}, degrees)
    shutil.rmtree(folder, ignore_errors=True)
