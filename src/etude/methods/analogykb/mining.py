"""Mining: triples in any shape become a folder with pairs, relations, the facts behind them and a page.

One partition in memory by default; `partitions` (or `--engine ray`) hash them by relation to Parquet first.
The same SQL runs on each, so the same files come out, byte by byte.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from etude.data.batches import BatchEngine, BatchFunction, Row, map_batches
from etude.errors import EtudeError
from etude.methods.analogykb.graph_shapes import GraphShape, explain, sql
from etude.methods.analogykb.kb_files import (
    PAIRS,
    RELATIONS,
    RelationRow,
    write_graph,
    write_pairs,
    write_relations,
)
from etude.methods.analogykb.pair_selection import (
    Merges,
    Selection,
    Stage,
    code_edges_apart,
    connect,
    count_degrees,
    number_terms,
    rows,
    run_stage,
    select_pairs,
    triples,
)
from etude.methods.analogykb.relation_rules import is_symmetric, is_unstructured
from etude.runs import atomic_path

WORK = "work"


@dataclass(frozen=True)
class Machine:
    """Where and with how much the SQL runs.

    Args:
        memory: DuckDB's memory limit, e.g. `6GB`; it spills to disk beyond.
        threads: DuckDB's threads; all cores by default.
        partitions: Parts by hash of the relation; 1 works in memory, without files in between.
        engine: `local`, or `ray`: one worker for each partition.
        workers: With ray.
    """

    memory: str | None = None
    threads: int | None = None
    partitions: int = 1
    engine: BatchEngine = "local"
    workers: int = 2


@dataclass(frozen=True)
class Mined:
    """What mining found.

    Args:
        relations: Every relation of the graph, kept or not.
        pairs: Pairs kept.
        terms: Terms in them.
    """

    relations: tuple[RelationRow, ...]
    pairs: int
    terms: int = 0


@dataclass(frozen=True)
class PartitionWork:
    """A stage as a function of rows `{part}`, for workers."""

    stage: Stage
    folder: str
    selection: Selection
    memory: str | None
    threads: int | None
    sources: tuple[str, ...]

    def __call__(self) -> BatchFunction:
        """The function."""

        def work(batch: list[Row]) -> list[Row]:
            for row in batch:
                run_stage(
                    self.stage,
                    Path(self.folder),
                    row["part"],
                    self.selection,
                    self.sources,
                    self.memory,
                    self.threads,
                )
            return batch

        return work


def mine_graph(
    shape: GraphShape,
    out: Path,
    selection: Selection,
    *,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    merges: Merges | None = None,
    machine: Machine | None = None,
) -> Mined:
    """Mine a graph into the files of a knowledge base.

    Args:
        shape: The graph.
        out: The knowledge base's folder; `work` in it holds what is finished of a partitioned run.
        selection: What is kept.
        drop: Relations to leave out besides those without structure.
        keep: Relations to keep although they are without structure.
        merges: Relations to merge.
        machine: Where it runs.

    Raises:
        EtudeError: The file cannot be read, or no relation is left.
    """
    machine = machine or Machine()
    merges = merges or {}
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    partitioned = machine.partitions > 1 or machine.engine == "ray"
    with connect(machine.memory, machine.threads, work / "spill") as connection:
        try:
            dropped, sources, query = _clean(
                connection, shape, merges, drop, keep, work, materialize=not partitioned
            )
            if partitioned:
                _mine_partitions(connection, query, shape, sources, work, selection, machine)
            else:
                code_edges_apart(connection, query, sources)
                count_degrees(connection)
                number_terms(connection, "FROM degrees", selection, shape.popular, one_partition=True)
                select_pairs(connection, selection)
        except duckdb.Error as error:
            raise _failure(shape, error) from error
        mined = _write(connection, out, selection, sources, dropped)
    shutil.rmtree(work, ignore_errors=True)
    return mined


def _failure(shape: GraphShape, error: duckdb.Error) -> EtudeError:
    if isinstance(error, duckdb.OutOfMemoryException):
        return EtudeError(
            f"{shape.path}: {str(error).splitlines()[0][:200]}",
            "Give more --memory, or --partitions 8, so that a part at a time is in memory.",
        )
    return explain(shape, error)


def _clean(
    connection: duckdb.DuckDBPyConnection,
    shape: GraphShape,
    merges: Merges,
    drop: Sequence[str],
    keep: Sequence[str],
    work: Path,
    *,
    materialize: bool,
) -> tuple[list[tuple[str, str]], tuple[str, ...], str]:
    """The relations that are left out, with why; the sources of the others; the query of their triples."""
    query = shape.query
    if shape.costly and materialize:
        connection.execute(f"CREATE TEMP TABLE read_triples AS {query}")
        query = "SELECT * FROM read_triples"
    elif shape.costly:
        whole = work / "read.parquet"
        if not whole.exists():
            with atomic_path(whole) as temporary:
                connection.execute(f"COPY ({query}) TO {sql(str(temporary))} (FORMAT parquet)")
        query = f"SELECT * FROM read_parquet({sql(str(whole))})"
    found = rows(connection, f"SELECT DISTINCT source, rel FROM ({query}) WHERE rel IS NOT NULL")
    present = sorted({rel for _, rel in found})
    if not present:
        raise EtudeError(
            f"{shape.path}: no triple was found in it", "Check the file, its language and labels."
        )
    unknown = sorted({*drop, *keep, *merges} - set(present))
    if unknown:
        raise EtudeError(
            f"{shape.path}: has no relation {', '.join(unknown)}",
            f"It has: {', '.join(present)}"[:300],
        )
    dropped = [(rel, "as asked") for rel in drop]
    dropped += [
        (rel, "no analogical structure")
        for rel in present
        if is_unstructured(rel) and rel not in keep and rel not in drop and rel not in merges
    ]
    left_out = [rel for rel, _ in dropped]
    sources = tuple(sorted({source for source, rel in found if rel not in left_out}))
    return dropped, sources, triples(query, left_out, merges)


def _mine_partitions(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    shape: GraphShape,
    sources: tuple[str, ...],
    work: Path,
    selection: Selection,
    machine: Machine,
) -> None:
    """Hash to Parquet, count degrees in each part, merge them, select in each part; then gather as views."""
    parts = range(max(machine.partitions, 1))
    split = work / "triples"
    if not split.exists():
        with atomic_path(split) as temporary:
            connection.execute(
                f"COPY (SELECT *, hash(rel) % {len(parts)} AS part FROM ({query})) TO {sql(str(temporary))} "
                "(FORMAT parquet, PARTITION_BY (part))"
            )
    there = [part for part in parts if (split / f"part={part}").exists()]
    if not there:
        raise EtudeError(f"{shape.path}: no relation is left", "Drop fewer relations, or give --keep.")

    def each(stage: Stage) -> None:
        spec = PartitionWork(stage, str(work.resolve()), selection, machine.memory, machine.threads, sources)
        waiting: list[Row] = [{"part": part} for part in there]
        for _ in map_batches(waiting, spec, engine=machine.engine, batch_size=1, workers=machine.workers):
            pass

    each("count")
    terms = work / "terms.parquet"
    if not terms.exists():
        degrees = f"FROM read_parquet({sql(str(work / 'partition-*' / 'degrees.parquet'))})"
        number_terms(connection, degrees, selection, shape.popular, one_partition=False)
        with atomic_path(terms) as temporary:
            connection.execute(f"COPY terms TO {sql(str(temporary))} (FORMAT parquet)")
        connection.execute("DROP TABLE terms")
    each("select")
    connection.execute(f"CREATE TEMP VIEW terms AS FROM read_parquet({sql(str(terms))})")
    for table in ("facts", "kept", "counts", "relation_codes"):
        files = str(work / "partition-*" / f"{table}.parquet")
        connection.execute(f"CREATE TEMP VIEW {table} AS FROM read_parquet({sql(files)})")


def _write(
    connection: duckdb.DuckDBPyConnection,
    out: Path,
    selection: Selection,
    sources: Sequence[str],
    dropped: Sequence[tuple[str, str]],
) -> Mined:
    """The knowledge base's files, from the tables terms, facts, kept, counts and relation_codes."""
    counts = rows(
        connection,
        "SELECT rel, rid, pairs, kept, reversed FROM counts JOIN relation_codes USING (rid) ORDER BY rel",
    )
    found = [
        RelationRow(
            rel=rel,
            pairs=pairs,
            kept=kept,
            symmetric=is_symmetric(rel, reversed_ / kept if kept else 0.0),
            reversed_share=round(reversed_ / kept, 4) if kept else 0.0,
            status="kept" if kept else f"fewer than {selection.min_pairs} pairs",
        )
        for rel, _, pairs, kept, reversed_ in counts
    ]
    kept_relations = [(rel, rid) for rel, rid, _, kept, _ in counts if kept]
    if not kept_relations:
        most = max((row.pairs for row in found), default=0)
        raise EtudeError(
            f"no relation has {selection.min_pairs} pairs of well-known terms (the largest has {most})",
            "Lower --min-pairs or --min-degree, or give a larger graph.",
        )
    connection.execute(
        "CREATE TEMP TABLE numbered AS SELECT unnest(range(len($rids)))::INTEGER AS o, "
        "unnest($rids)::UBIGINT AS rid",
        {"rids": [rid for _, rid in kept_relations]},
    )
    names = [rel for rel, _ in kept_relations]
    arrays = connection.sql(
        "SELECT o, h, t, score, source FROM kept JOIN numbered USING (rid) ORDER BY o, score DESC, h, t"
    ).to_arrow_table()
    terms = connection.sql("SELECT term FROM terms ORDER BY i").to_arrow_table()["term"]
    used = write_pairs(out / PAIRS, names, sources, terms, arrays)
    write_graph(connection, out / "graph", names)
    relations = sorted(
        [*found, *(RelationRow(rel, 0, 0, False, 0.0, f"dropped: {why}") for rel, why in dropped)],
        key=lambda row: row.rel,
    )
    write_relations(out / RELATIONS, relations)
    return Mined(tuple(relations), arrays.num_rows, int(np.count_nonzero(used)))


def settings(selection: Selection, **options: Any) -> dict[str, Any]:
    """What determines the mined files, as JSON (not the machine)."""
    return {**asdict(selection), **options}
