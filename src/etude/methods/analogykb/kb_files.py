"""A knowledge base's files: `pairs.parquet`, `relations.parquet` and `graph/`, the facts behind the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from etude.methods.analogykb.graph_shapes import sql
from etude.runs import atomic_path

PAIRS, RELATIONS, GRAPH = "pairs.parquet", "relations.parquet", "graph"
RELATION_PAIRS = "relation_pairs.parquet"
_HELD_OUT = 20  # one in twenty for validation, one for test
_ROW_GROUP = 1 << 20


@dataclass(frozen=True)
class RelationRow:
    """One relation of the graph.

    Args:
        rel: Its name.
        pairs: Its distinct pairs of well-known terms.
        kept: Those in `pairs.parquet`.
        symmetric: Whether the order of a pair is arbitrary.
        reversed_share: Share of the kept pairs whose reverse is kept.
        status: `kept`, or why not.
    """

    rel: str
    pairs: int
    kept: int
    symmetric: bool
    reversed_share: float
    status: str


def write_pairs(
    path: Path, relations: Sequence[str], sources: Sequence[str], terms: Any, found: Any
) -> NDArray[np.bool_]:
    """Write `rel, head, tail, source, score, split`.

    The split is by the two words, whatever their order and relation: a pair is never in two splits.

    Args:
        path: The file.
        relations: Names in order; `o` counts them.
        sources: Names in order; `source` counts them.
        terms: Texts in order, an Arrow array; `h` and `t` count them from 1.
        found: Arrow table of `o, h, t, score, source`, in the order of the file.

    Returns:
        Which terms are used, (terms,).
    """
    o, h, t, score, source = (found[c].to_numpy() for c in ("o", "h", "t", "score", "source"))
    h, t = h - 1, t - 1
    used = np.zeros(len(terms), dtype=np.bool_)
    used[h] = True
    used[t] = True
    place = np.cumsum(used, dtype=np.int64).astype(np.int32) - 1
    texts = terms.combine_chunks().filter(pa.array(used))
    codes = _stable_codes(texts)
    h, t = place[h], place[t]
    lot = (codes[h] ^ codes[t]) % np.uint64(_HELD_OUT)
    split = np.where(lot == 0, 2, np.where(lot == 1, 1, 0)).astype(np.int8)

    def coded(indices: Any, words: Any) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), words)

    table = pa.table(
        {
            "rel": coded(o, pa.array(list(relations), pa.string())),
            "head": coded(h, texts.cast(pa.string())),
            "tail": coded(t, texts.cast(pa.string())),
            "source": coded(source, pa.array(list(sources), pa.string())),
            "score": pa.array(score.astype(np.int32)),
            "split": coded(split, pa.array(["train", "validation", "test"])),
        }
    )
    with atomic_path(path) as temporary:
        pq.write_table(
            table, temporary, row_group_size=_ROW_GROUP, dictionary_pagesize_limit=1 << 28,
            store_schema=False, write_statistics=["rel", "score"], compression="snappy",
        )  # fmt: skip
    return used


def _stable_codes(texts: Any) -> NDArray[np.uint64]:
    """A 64-bit code of each text that is the same in every version of every library (FNV-1a over UTF-8)."""
    array = texts.cast(pa.large_binary())
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", dtype=np.uint8)
    lengths = np.diff(offsets)
    codes = np.full(len(array), 0xCBF29CE484222325, dtype=np.uint64)
    active = np.argsort(-lengths, kind="stable")
    for position in range(int(lengths.max()) if len(lengths) else 0):
        active = active[: np.searchsorted(-lengths[active], -position, side="left")]
        codes[active] = (codes[active] ^ data[offsets[active] + position]) * np.uint64(0x100000001B3)
    return codes ^ (codes >> np.uint64(29))


def write_graph(connection: duckdb.DuckDBPyConnection, folder: Path, relations: Sequence[str]) -> None:
    """Write `graph/`: all facts of kept relations between well-known terms, as numbers, and their names.

    Args:
        connection: A session with `facts`, `numbered` and `terms`.
        folder: The folder.
        relations: Names in order.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        # in an order: threads finish a join as they come, and the same graph is to be the same bytes
        tables = {
            "facts": "SELECT o::USMALLINT AS o, h, t FROM facts JOIN numbered USING (rid) ORDER BY ALL",
            "terms": "SELECT i, term FROM terms ORDER BY i",
        }
        for name, rows in tables.items():
            connection.execute(f"COPY ({rows}) TO {sql(str(temporary / f'{name}.parquet'))} (FORMAT parquet)")
        pq.write_table(pa.table({"rel": list(relations)}), temporary / "relations.parquet")


def write_relations(path: Path, relations: Sequence[RelationRow]) -> None:
    """Write `relations.parquet`."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in relations]), temporary)


_RELATION_PAIRS = pa.schema(
    [
        ("rel_a", pa.string()),
        ("rel_b", pa.string()),
        ("meta", pa.string()),
        ("llm_votes", pa.int8()),
        ("symmetric", pa.bool_()),
        ("accepted", pa.bool_()),
        ("reviewer", pa.string()),
        ("note", pa.string()),
    ]
)


def write_relation_pairs(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write `relation_pairs.parquet`; `accepted` is null until people have said."""
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=_RELATION_PAIRS), temporary)
