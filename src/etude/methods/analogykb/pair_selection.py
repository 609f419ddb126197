"""From triples to the best-known pairs of each relation, in DuckDB's SQL, on one partition or on many.

Terms and relations are 64-bit codes while there are many of them: one distinct over codes, one count of
degrees, then a cut-off score for each relation from its histogram of scores, so that only pairs at the cut
need be ordered. A relation lies in one partition; only degrees meet those of other partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb

from etude.errors import EtudeError
from etude.methods.analogykb.graph_shapes import name, sql

Merges = dict[str, tuple[str, int]]

UNCLEAR = r"(^\s*$|^https?://|^/c/|^[^\p{L}]*$|\x{FFFD})"
"""Ends that name nothing: empty, links, without a letter, or not decoded."""

LONGEST_TERM = 80  # characters


@dataclass(frozen=True)
class Selection:
    """Which pairs are kept.

    Args:
        per_relation: The most pairs of a relation.
        min_pairs: Relations with fewer are left out.
        min_degree: Both ends of a pair are in at least so many edges, or well known by their sitelinks.
    """

    per_relation: int = 2000
    min_pairs: int = 20
    min_degree: int = 3


def connect(memory: str | None, threads: int | None, spill: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB session that spills to disk beyond `memory`, e.g. `6GB`.

    Raises:
        EtudeError: The memory limit cannot be read.
    """
    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false")
    connection.execute(f"SET temp_directory = {sql(str(spill))}")
    connection.execute("SET enable_progress_bar = false")
    if threads is not None:
        connection.execute(f"SET threads = {int(threads)}")
    if memory is not None:
        try:
            connection.execute(f"SET memory_limit = {sql(memory)}")
        except duckdb.Error as error:
            raise EtudeError(f"--memory {memory!r} cannot be read", "Write it as 6GB or 800MB.") from error
    return connection


def triples(query: str, dropped: Sequence[str], merges: Merges) -> str:
    """The triples of a shape without dropped relations and with merged ones renamed and turned round.

    Args:
        query: Gives `source, rel, head, tail`.
        dropped: Relations left out.
        merges: See `relation_rules.parse_merges`.
    """
    if merges:
        renamed = " ".join(f"WHEN {sql(old)} THEN {sql(new)}" for old, (new, _) in merges.items())
        turned = ", ".join(sql(old) for old, (_, sign) in merges.items() if sign < 0) or "NULL"
        query = (
            f"SELECT source, CASE rel {renamed} ELSE rel END AS rel, "
            f"CASE WHEN rel IN ({turned}) THEN tail ELSE head END AS head, "
            f"CASE WHEN rel IN ({turned}) THEN head ELSE tail END AS tail FROM ({query})"
        )
    left_out = f" AND rel NOT IN ({', '.join(map(sql, dropped))})" if dropped else ""
    return f"SELECT source, rel, head, tail FROM ({query}) WHERE head <> tail AND rel IS NOT NULL{left_out}"


def code_edges(
    connection: duckdb.DuckDBPyConnection, query: str, sources: Sequence[str], salt: str = ""
) -> None:
    """Tables `edges` (rid, h, t, source), `relation_codes` (rid, rel) and `term_codes` (id, term).

    Args:
        connection: A session.
        query: Gives clean `source, rel, head, tail`; it is read several times.
        sources: Sources in order; an edge of several has the first.
        salt: Changes the codes, should two terms ever share one.
    """

    def code(column: str) -> str:
        return f"hash({column})" if not salt else f"hash({column} || {sql(salt)})"

    coded = f"{code('rel')} AS rid, {code('head')} AS h, {code('tail')} AS t"
    if len(sources) > 1:
        listed = ", ".join(map(sql, sources))
        place = f"min(list_position([{listed}], source) - 1)::UTINYINT AS source"
        connection.execute(
            f"CREATE TEMP TABLE edges AS SELECT {coded}, {place} FROM ({query}) GROUP BY 1, 2, 3"
        )
    else:
        connection.execute(
            f"CREATE TEMP TABLE edges AS SELECT rid, h, t, 0::UTINYINT AS source FROM "
            f"(SELECT {coded} FROM ({query})) GROUP BY rid, h, t"
        )
    connection.execute(
        f"CREATE TEMP TABLE relation_codes AS SELECT {code('rel')} AS rid, rel "
        f"FROM (SELECT DISTINCT rel FROM ({query}))"
    )
    connection.execute(
        f"CREATE TEMP TABLE term_codes AS SELECT {code('term')} AS id, term FROM (SELECT DISTINCT term FROM "
        f"(SELECT head AS term FROM ({query}) UNION ALL SELECT tail FROM ({query})))"
    )
    for table, key in (("relation_codes", "rid"), ("term_codes", "id")):
        rows, codes = connection.execute(f"SELECT count(*), count(DISTINCT {key}) FROM {table}").fetchall()[0]
        if rows != codes:
            raise SharedCode(table)


class SharedCode(Exception):
    """Two texts have the same 64-bit code; another salt will part them."""


def code_edges_apart(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    sources: Sequence[str],
    salts: Sequence[str] = ("", "#"),
) -> None:
    """`code_edges` with the first salt under which no two texts share a code."""
    for salt in salts:
        for table in ("edges", "relation_codes", "term_codes"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        try:
            code_edges(connection, query, sources, salt)
            return
        except SharedCode:
            continue
    raise AssertionError("two texts share their codes under every salt")


def count_degrees(connection: duckdb.DuckDBPyConnection) -> None:
    """Table `degrees` (id, term, n): in how many of this partition's edges between clear terms a term is.

    Edges with an unclear end are removed first; table `unclear` (id) has those ends.
    """
    connection.execute(
        "CREATE TEMP TABLE unclear AS SELECT id FROM term_codes "
        f"WHERE length(term) > {LONGEST_TERM} OR regexp_matches(term, {sql(UNCLEAR)})"
    )
    if connection.execute("SELECT count(*) FROM unclear").fetchall()[0][0]:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE edges AS SELECT * FROM edges "
            "ANTI JOIN unclear u ON u.id = h ANTI JOIN unclear v ON v.id = t"
        )
    connection.execute(
        "CREATE TEMP TABLE degrees AS SELECT id, term, n FROM (SELECT id, count(*)::INTEGER AS n FROM "
        "(SELECT h AS id FROM edges UNION ALL SELECT t FROM edges) GROUP BY id) JOIN term_codes USING (id)"
    )


def number_terms(
    connection: duckdb.DuckDBPyConnection,
    degrees: str,
    selection: Selection,
    popular: str | None,
    *,
    one_partition: bool,
) -> None:
    """Table `terms` (i, term, n; id with one partition): well-known terms, numbered by text.

    Args:
        connection: A session.
        degrees: Gives `term, n`, of all partitions.
        selection: Has the least degree.
        popular: Gives `term` of entities known by their sitelinks.
        one_partition: Whether each term stands there once.
    """
    known = f"n >= {selection.min_degree}"
    if popular is not None:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE popular AS SELECT DISTINCT term FROM ({popular})")
        known += " OR term IN (FROM popular)"
    total = degrees if one_partition else f"SELECT term, sum(n)::INTEGER AS n FROM ({degrees}) GROUP BY term"
    own = ", id" if one_partition else ""
    connection.execute(
        f"CREATE TEMP TABLE terms AS SELECT (row_number() OVER (ORDER BY term))::INTEGER AS i, term, n{own} "
        f"FROM ({total}) WHERE {known}"
    )


def select_pairs(connection: duckdb.DuckDBPyConnection, selection: Selection) -> None:
    """Tables `facts` (rid, h, t, score, source), `kept` (the same) and `counts` (rid, pairs, reversed).

    A pair's score is the smaller degree of its two ends. Where a relation has more than `per_relation` pairs,
    those of highest score are kept, and of equal score the first by text.

    Args:
        connection: A session with `edges` and `terms` (i, n, id); h and t become numbers of terms.
        selection: What is kept.
    """
    k, least = selection.per_relation, selection.min_pairs
    connection.execute(
        "CREATE TEMP TABLE facts AS SELECT rid, a.i AS h, b.i AS t, least(a.n, b.n) AS score, source "
        "FROM edges JOIN terms a ON a.id = h JOIN terms b ON b.id = t"
    )
    connection.execute(
        "CREATE TEMP TABLE cuts AS SELECT rid, min(score) AS cut, any_value(total)::BIGINT AS pairs, "
        "max(above)::BIGINT AS above FROM (SELECT rid, score, sum(n) OVER (PARTITION BY rid) AS total, "
        "sum(n) OVER (PARTITION BY rid ORDER BY score DESC) - n AS above FROM "
        f"(SELECT rid, score, count(*) AS n FROM facts GROUP BY ALL)) WHERE above < {k} GROUP BY rid"
    )
    connection.execute(
        f"CREATE TEMP TABLE kept AS WITH candidates AS (SELECT f.*, cut, above FROM facts f "
        f"JOIN cuts USING (rid) WHERE pairs >= {least} AND score >= cut) "
        "SELECT rid, h, t, score, source FROM candidates WHERE score > cut UNION ALL "
        "SELECT rid, h, t, score, source FROM (SELECT *, row_number() OVER (PARTITION BY rid ORDER BY h, t) "
        f"AS place FROM candidates WHERE score = cut) WHERE above + place <= {k}"
    )
    connection.execute(
        "CREATE TEMP TABLE counts AS SELECT rid, coalesce(pairs, 0) AS pairs, coalesce(kept, 0) AS kept, "
        "coalesce(reversed, 0) AS reversed FROM relation_codes LEFT JOIN cuts USING (rid) "
        "LEFT JOIN (SELECT rid, count(*) AS kept FROM kept GROUP BY rid) USING (rid) "
        "LEFT JOIN (SELECT a.rid, count(*) AS reversed FROM kept a SEMI JOIN kept b "
        "ON a.rid = b.rid AND a.h = b.t AND a.t = b.h GROUP BY a.rid) USING (rid)"
    )


Stage = Literal["count", "select"]


def run_stage(
    stage: Stage,
    folder: Path,
    part: int,
    selection: Selection,
    sources: Sequence[str],
    memory: str | None,
    threads: int | None,
) -> list[str]:
    """One stage on one partition of a folder, from Parquet to Parquet; what is finished is not done again.

    `count` reads `triples/part=P` and writes the partition's edges, codes and degrees; `select` reads these
    and the merged `terms` and writes its facts, kept pairs and counts.

    Returns:
        The files written, or found.
    """
    from etude.runs import atomic_path

    place = folder / f"partition-{part}"
    tables = (
        ("edges", "relation_codes", "term_codes", "degrees")
        if stage == "count"
        else ("facts", "kept", "counts")
    )
    files = [place / f"{table}.parquet" for table in tables]
    if all(file.exists() for file in files):
        return [str(file) for file in files]
    spill = place / f"spill-{stage}"
    with connect(memory, threads, spill) as connection:
        if stage == "count":
            source = str(folder / "triples" / f"part={part}" / "*.parquet")
            code_edges_apart(
                connection, f"SELECT source, rel, head, tail FROM read_parquet({sql(source)})", sources
            )
            count_degrees(connection)
        else:
            for table in ("edges", "relation_codes", "term_codes"):
                _view(connection, table, place / f"{table}.parquet")
            merged = f"read_parquet({sql(str(folder / 'terms.parquet'))})"
            connection.execute(
                f"CREATE TEMP TABLE terms AS SELECT id, i, n FROM {merged} JOIN term_codes USING (term)"
            )
            select_pairs(connection, selection)
        for table, file in zip(tables, files, strict=True):
            with atomic_path(file) as temporary:
                connection.execute(f"COPY {table} TO {sql(str(temporary))} (FORMAT parquet)")
    return [str(file) for file in files]


def _view(connection: duckdb.DuckDBPyConnection, table: str, file: Path) -> None:
    connection.execute(f"CREATE TEMP VIEW {name(table)} AS SELECT * FROM read_parquet({sql(str(file))})")


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return list(connection.execute(query).fetchall())
