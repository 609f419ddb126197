"""From triples to a concept graph: ConceptNet's five columns, Parquet or TSV, through DuckDB out of core.

Kept are English concepts of letters, `_` and `-`, lower-case, without part of speech; relations are merged,
self loops and a few concepts that say nothing are dropped (paper section 4; QA-GNN's preparation).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.data import read_lines
from etude.errors import EtudeError
from etude.methods.pipenet.concept_graph import ARRAYS, FORMAT
from etude.methods.pipenet.relations import OTHER, Merge, source_name
from etude.runs import atomic_path, file_hash, write_json

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EMPTY_CONCEPTS = ("uk", "us", "take", "make", "object", "person", "people")


@dataclass(frozen=True)
class Building:
    """What became of the triples.

    Attributes:
        concepts: Concepts kept.
        edges: Distinct triples kept, without their reverses.
        pairs: Distinct unordered pairs with an edge.
        rows: Triples read.
        dropped: Reason to number of triples left out.
        unknown: Relations that the merge does not know, with their triples, the 20 most frequent.
        relations: Merged relation to its edges.
    """

    concepts: int
    edges: int
    pairs: int
    rows: int
    dropped: dict[str, int]
    unknown: dict[str, int]
    relations: dict[str, int]


def build_graph(
    source: Path, out: Path, merge: Merge, *, lenient: bool = False, vocabulary: Path | None = None
) -> Building:
    """Read triples, clean, merge, and write the arrays of a `ConceptGraph`, in one step.

    Args:
        source: ConceptNet assertions (five tab-separated columns, `.csv` or `.csv.gz`), or a `.parquet`,
            `.tsv` or `.tsv.gz` with the columns head, rel, tail.
        out: Folder of the graph; replaced when it exists.
        merge: The relations.
        lenient: Keep relations that the merge does not know as `relatedto`.
        vocabulary: A text file with a concept a line: ids are its lines from 0, other concepts are dropped.

    Raises:
        EtudeError: An unreadable or malformed source, or nothing is left of it.
    """
    import duckdb

    if lenient and OTHER not in merge.names:
        raise EtudeError(
            f"--lenient needs a merged relation {OTHER}, which {merge.name} lacks", "Add it to the merge."
        )
    with duckdb.connect() as db:
        _stage(db, source)
        counts = _clean(db, merge, lenient)
        _number(db, vocabulary)
        building = _arrays(db, out, merge, source, counts, lenient, vocabulary)
    return building


def _stage(db: DuckDBPyConnection, source: Path) -> None:
    """Table `raw`: h, r, t as text; ConceptNet's rows in other languages are left out, others kept."""
    import duckdb

    if not source.is_file():
        raise EtudeError(f"{source}: no such file", "Give ConceptNet's .csv.gz, or .parquet or .tsv triples.")
    suffix = Path(source.name.removesuffix(".gz")).suffix
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise EtudeError(f"{source}: unknown kind of file", "Give .csv(.gz), .tsv(.gz) or .parquet.")
    plain = "delim='\t', quote='', escape='', all_varchar=true, strict_mode=true"
    try:
        if suffix == ".csv":
            columns = "{'uri': 'VARCHAR', 'r': 'VARCHAR', 'h': 'VARCHAR', 't': 'VARCHAR', 'info': 'VARCHAR'}"
            db.execute(
                f"create table raw as select h, r, t from read_csv(?, {plain}, header=false, "
                f"columns={columns}, auto_detect=false)",
                [str(source)],
            )
            return
        reader = "read_parquet(?)" if suffix == ".parquet" else f"read_csv(?, {plain}, header=true)"
        found = [row[0] for row in db.execute(f"describe select * from {reader}", [str(source)]).fetchall()]
        relation = "rel" if "rel" in found else "relation"
        absent = [name for name in ("head", relation, "tail") if name not in found]
        if absent:
            raise EtudeError(
                f"{source}: no column {', '.join(absent)} among {', '.join(found)[:200]}",
                "The columns must be head, rel and tail.",
            )
        db.execute(
            f"create table raw as select head::varchar h, {relation}::varchar r, tail::varchar t "
            f"from {reader}",
            [str(source)],
        )
    except duckdb.Error as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise EtudeError(
            f"{source}: cannot be read as triples ({reason})",
            "ConceptNet has five tab-separated columns: uri, relation, head, tail, json. "
            "A cut-off download must be fetched again.",
        ) from error


def _clean(db: DuckDBPyConnection, merge: Merge, lenient: bool) -> dict[str, Any]:
    """Table `kept`: h, rel (id), t, distinct; and what was dropped why."""
    from_relation = {
        str(r): source_name(str(r)) for (r,) in db.execute("select distinct r from raw").fetchall()
    }
    db.execute("create table merging (r varchar, rel integer, turned boolean)")
    ids = {name: i for i, name in enumerate(merge.names)}
    known = {r: merge.table.get(name) for r, name in from_relation.items()}
    fallback = (OTHER, False) if lenient else None
    rows = [(r, ids[m[0]], m[1]) for r, found in known.items() if (m := found or fallback)]
    if rows:
        db.executemany("insert into merging values (?, ?, ?)", rows)
    db.execute(
        f"""create table clean as select raw.r, rel,
              if(coalesce(turned, false), t, h) h, if(coalesce(turned, false), h, t) t
            from (select r, {_concept("h")} h, {_concept("t")} t from raw) raw left join merging using (r)"""
    )
    dropped_ids = [ids[name] for name in merge.dropped]
    empty = list(EMPTY_CONCEPTS)
    db.execute(
        """create table judged as select *, case
             when h is null or t is null then 'not an English concept of letters, _ and -'
             when rel is null then 'relation unknown to the merge'
             when list_contains(?, rel) then 'relation dropped by the merge'
             when h = t then 'self loop'
             when list_contains(?, h) or list_contains(?, t) then 'concept that says nothing'
           end as why from clean""",
        [dropped_ids, empty, empty],
    )
    db.execute("create table kept as select distinct h, rel, t from judged where why is null")
    total = db.execute("select count(*) from judged").fetchall()[0][0]
    why = dict(
        db.execute(
            "select why, count(*) from judged where why is not null group by 1 order by 2 desc, 1"
        ).fetchall()
    )
    unknown: dict[str, int] = {}
    for r, count in db.execute("select r, count(*) from judged group by 1").fetchall():
        if known[str(r)] is None:
            unknown[from_relation[str(r)]] = unknown.get(from_relation[str(r)], 0) + int(count)
    frequent = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:20]
    return {"rows": int(total), "dropped": why, "unknown": dict(frequent)}


def _concept(column: str) -> str:
    """SQL: a source's concept as ours, or null. `/c/en/dog/n/wn` and `Dog` are `dog`."""
    text = (
        f"case when starts_with({column}, '/c/') then "
        f"if(starts_with({column}, '/c/en/'), lower(split_part({column}, '/', 4)), null) "
        f"else lower(regexp_replace(regexp_replace(trim({column}), '/[nvars]$', ''), '\\s+', '_', 'g')) end"
    )
    shape = r"[\p{L}_-]*\p{L}[\p{L}_-]*"
    return f"(select if(regexp_full_match(c, '{shape}'), c, null) from (select {text} c))"


def _number(db: DuckDBPyConnection, vocabulary: Path | None) -> None:
    """Table `concept`: id and name, by name or by the line of the vocabulary."""
    if vocabulary is None:
        db.execute(
            """create table concept as select row_number() over (order by name) - 1 as id, name
               from (select h as name from kept union select t from kept)"""
        )
        return
    names = [line.strip().replace(" ", "_") for line in read_lines(vocabulary) if line.strip()]
    if len(set(names)) < len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise EtudeError(f"{vocabulary}: {twice!r} stands in it twice", "Each concept is one line.")
    import polars as pl

    lines = pl.DataFrame({"id": np.arange(len(names), dtype=np.int64), "name": names})
    db.register("lines", lines.to_arrow())
    db.execute("create table concept as select id, name from lines")


def _arrays(
    db: DuckDBPyConnection,
    out: Path,
    merge: Merge,
    source: Path,
    counts: dict[str, Any],
    lenient: bool,
    vocabulary: Path | None,
) -> Building:
    both = len(merge.names)
    edges = """select a.id h, rel, b.id t from kept
               join concept a on a.name = kept.h join concept b on b.name = kept.t"""
    db.execute(f"create table edge as {edges}")
    relations = db.execute("select rel, count(*) from edge group by 1").fetchall()
    pairs = db.execute(
        f"""select h, t, bit_or(bit) from (
              select h, t, 1::bigint << rel as bit from edge
              union all select t, h, 1::bigint << (rel + {both}) from edge)
            group by h, t order by h, t"""
    ).fetchnumpy()
    heads, tails, masks = pairs.values()
    names = [str(row[0]) for row in db.execute("select name from concept order by id").fetchall()]
    if len(heads) == 0:
        raise EtudeError(f"{source}: no edge is left", f"Of {counts['rows']} triples: {counts['dropped']}")
    outside = db.execute("select count(*) from kept").fetchall()[0][0] - sum(n for _, n in relations)
    if outside:
        counts["dropped"]["concept outside the vocabulary"] = int(outside)
    encoded = [name.encode() for name in names]
    arrays: dict[str, Any] = {
        "indptr": np.searchsorted(heads, np.arange(len(names) + 1)).astype(np.int64),
        "indices": np.asarray(tails, dtype=np.int32),
        "relations": np.asarray(masks, dtype=np.int64),
        "names": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "name_offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
        "name_order": np.array(sorted(range(len(names)), key=encoded.__getitem__), dtype=np.int32),
    }
    building = Building(
        concepts=len(names),
        edges=sum(n for _, n in relations),
        pairs=len(heads) // 2,
        relations={merge.names[rel]: int(n) for rel, n in sorted(relations)},
        **counts,
    )
    with atomic_path(out) as folder:
        folder.mkdir()
        files = {}
        for name in ARRAYS:
            file = folder / f"{name}.npy"
            np.save(file, arrays[name], allow_pickle=False)
            files[name] = {"bytes": file.stat().st_size, "sha256": file_hash(file)}
        write_json(
            folder / "meta.json",
            {
                "format": FORMAT,
                "relations": list(merge.names),
                "merge": merge.name,
                "lenient": lenient,
                "vocabulary": vocabulary.name if vocabulary else None,
                "source": {"name": source.name, "sha256": file_hash(source)},
                "concepts": building.concepts,
                "edges": building.edges,
                "files": files,
            },
        )
    return building
