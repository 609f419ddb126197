"""`mine`: a graph in, a knowledge base out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etude.data.batches import BatchEngine
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.analogykb.browse_page import REPORT, write_browse_page
from etude.methods.analogykb.graph_shapes import graph_shape
from etude.methods.analogykb.mining import Machine, mine_graph
from etude.methods.analogykb.official import write_official
from etude.methods.analogykb.pair_selection import Selection
from etude.methods.analogykb.relation_rules import parse_merges
from etude.runs import Run, file_hash

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class MineResult:
    """What was mined.

    Args:
        out: The knowledge base.
        kind: What the graph's file was taken for.
        pairs: Pairs kept.
        terms: Different words in them.
        kept: Relation to its kept pairs.
        dropped: Relation to why it is not kept.
        symmetric: Relations whose pairs have no direction.
        report: The HTML page.
    """

    out: str
    kind: str
    pairs: int
    terms: int
    kept: dict[str, int]
    dropped: dict[str, str]
    symmetric: tuple[str, ...]
    report: str

    def __rich__(self) -> RenderableType:
        """The largest relations and what was left out."""
        from rich.console import Group

        from etude.render import TableBlock, Text, show

        largest = sorted(self.kept.items(), key=lambda item: -item[1])[:15]
        rows = [(rel, count, "yes" if rel in self.symmetric else "") for rel, count in largest]
        title = f"{self.pairs:,} pairs of {len(self.kept)} relations, {self.terms:,} words, from {self.kind}"
        left = ", ".join(f"{rel} ({why})" for rel, why in list(self.dropped.items())[:12])
        more = f" and {len(self.dropped) - 12} more" if len(self.dropped) > 12 else ""
        return Group(
            show(TableBlock(("relation", "pairs", "symmetric"), rows, title)),
            show(Text(f"Left out: {left}{more}" if left else "No relation was left out.")),
            show(Text(f"The page: {self.report}")),
        )


@verb
def mine(
    triples: Path,
    *,
    out: Path,
    per_relation: int = 2000,
    min_pairs: int = 20,
    min_degree: int = 3,
    columns: Sequence[str] = (),
    labels: Path | None = None,
    language: str = "en",
    min_sitelinks: int = 5,
    min_weight: float = 0.0,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    merge: Sequence[str] = (),
    memory: str | None = None,
    threads: int | None = None,
    partitions: int | None = None,
    engine: BatchEngine = "local",
    workers: int = 2,
    format: Literal["parquet", "official"] = "parquet",
) -> MineResult:
    """Mine a knowledge graph: the best-known pairs of every relation that has structure.

    Any two pairs of one relation are an analogy, so pair lists are kept and not their products. A killed
    mining goes on with the same command; partitions that are finished are not done again.

    Args:
        triples: .parquet (or a folder of them), .csv, .tsv, .nt (also .gz), ConceptNet's assertions, or
            Wikidata's statements. Columns rel, head, tail (or predicate, subject, object), maybe source.
        out: The knowledge base: pairs.parquet, relations.parquet, graph/, report.html.
        per_relation: The most pairs of a relation: the lesser-known end in most edges; ties by text.
        min_pairs: Relations with fewer are left out, and listed.
        min_degree: Both ends of a pair are in so many edges, or known by their sitelinks (Wikidata).
        columns: Names of a text file's columns when it has no header: head rel tail.
        labels: Table with id and label (maybe sitelinks) for Wikidata's ids.
        language: Of ConceptNet's terms and of labels.
        min_sitelinks: From how many sitelinks an entity is well known.
        min_weight: Least weight of ConceptNet's assertions.
        drop: Relations to leave out, besides those without analogical structure.
        keep: Relations to keep that would be left out for want of structure.
        merge: Relations to merge into others: hasa=-partof turns (h, hasa, t) into (t, partof, h).
        memory: DuckDB's memory limit, e.g. 6GB; it spills to disk beyond.
        threads: DuckDB's threads; all cores by default.
        partitions: Parts by hash of the relation, one at a time in memory, for graphs larger than memory.
        engine: local, or ray: a worker for each partition. The files are the same, byte by byte.
        workers: With ray.
        format: official also writes the paper's JSON shape (relation, tuple).

    Raises:
        EtudeError: The file cannot be read (line and reason), its columns are missing, its ids have no
            labels, or no relation is left.
    """
    if per_relation < 1 or min_pairs < 1 or min_degree < 1 or (partitions is not None and partitions < 1):
        raise EtudeError(
            f"per-relation {per_relation}, min-pairs {min_pairs}, min-degree {min_degree}, "
            f"partitions {partitions}",
            "Each is at least 1.",
        )
    shape = graph_shape(
        triples,
        columns=columns,
        labels=labels,
        language=language,
        min_sitelinks=min_sitelinks,
        min_weight=min_weight,
    )
    merges = parse_merges(merge)
    selection = Selection(per_relation, min_pairs, min_degree)
    parts = partitions or (1 if engine == "local" else 2 * workers)
    config = {
        "triples": _content(triples), "labels": None if labels is None else file_hash(labels),
        "columns": list(columns), "language": language, "min_sitelinks": min_sitelinks,
        "min_weight": min_weight,
        "drop": sorted(drop), "keep": sorted(keep), "merge": sorted(merge), "format": format,
        **asdict(selection),
        # finished partitions are only worth keeping for the same number of them
        "partitions": parts,
    }  # fmt: skip
    with Run(out, config, command="analogykb mine") as run:
        if run.result is None:
            machine = Machine(memory, threads, parts, engine, workers)
            mined = mine_graph(shape, out, selection, drop=drop, keep=keep, merges=merges, machine=machine)
            write_browse_page(out, out / REPORT)
            if format == "official":
                write_official(out)
            kept = [row for row in mined.relations if row.kept]
            run.complete(
                asdict(
                    MineResult(
                        str(out), shape.kind, mined.pairs, mined.terms, {row.rel: row.kept for row in kept},
                        {row.rel: row.status for row in mined.relations if not row.kept},
                        tuple(row.rel for row in kept if row.symmetric), str(out / REPORT),
                    )
                )
            )  # fmt: skip
        result: Any = run.result
        return MineResult(**{**result, "symmetric": tuple(result["symmetric"])})


def _content(path: Path) -> list[str]:
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    return [file_hash(file) for file in files]
