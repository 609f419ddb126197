"""A knowledge base's pairs in memory as numbers, and what is true between their words.

A pair is two word numbers and a relation number. Truth is a sorted array of codes `pair * relations + r`, so
that whether a relation holds between two words is a binary search, for many pairs at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.analogykb.graph_shapes import sql
from etude.methods.analogykb.kb_files import GRAPH, PAIRS

Ints = NDArray[np.int64]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class PairTable:
    """Pairs as numbers.

    Args:
        relations: Names; `rel` counts them.
        words: Texts; `head` and `tail` count them.
        rel: (pairs,).
        head: (pairs,).
        tail: (pairs,).
        split: Index into `SPLITS`, (pairs,).
        source: Where each pair is from, (pairs,), of text.
        score: Smaller degree of the two ends, (pairs,).
    """

    relations: tuple[str, ...]
    words: NDArray[np.object_]
    rel: Ints
    head: Ints
    tail: Ints
    split: Ints
    source: NDArray[np.object_]
    score: Ints

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.rel)

    def rows(self, keep: NDArray[np.bool_] | Ints) -> PairTable:
        """Some of the pairs; words and relations keep their numbers."""
        chosen = {f: getattr(self, f)[keep] for f in ("rel", "head", "tail", "split", "source", "score")}
        kept = replace(self, **chosen)
        kept.__dict__["has_space"] = self.has_space  # of the same words
        return kept

    def text(self, row: int) -> tuple[str, str]:
        """A pair's two words."""
        return str(self.words[self.head[row]]), str(self.words[self.tail[row]])

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Word to its number."""
        return {word: i for i, word in enumerate(self.words.tolist())}

    @cached_property
    def has_space(self) -> NDArray[np.bool_]:
        """Of each word, whether it is a term of several words, (words,)."""
        return np.array([" " in word for word in self.words.tolist()], dtype=np.bool_)

    @property
    def ordered(self) -> Ints:
        """One code for each pair's words in their order, (pairs,)."""
        return self.head * len(self.words) + self.tail

    def shuffled(self, seed: int) -> PairTable:
        """The same pairs with relation labels dealt out anew: a control without the graph's relations."""
        return replace(self, rel=np.random.default_rng(seed).permutation(self.rel))


def read_pair_table(folder: Path) -> PairTable:
    """Read `pairs.parquet`.

    Raises:
        EtudeError: The folder is not a knowledge base.
    """
    path = folder / PAIRS
    if not path.is_file():
        raise EtudeError(
            f"{folder}: not a knowledge base, it has no {PAIRS}", "Make one: etude analogykb mine."
        )
    try:
        table = pq.read_table(path, read_dictionary=["rel", "head", "tail", "source", "split"])
        coded = {name: table[name].unify_dictionaries().combine_chunks() for name in table.column_names}
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise EtudeError(f"{path}: not readable ({error})"[:300], "Mine again.") from error

    def parts(name: str) -> tuple[Ints, NDArray[np.object_]]:
        array = coded[name].combine_chunks() if isinstance(coded[name], pa.ChunkedArray) else coded[name]
        indices = array.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return indices, np.array(array.dictionary.to_pylist(), dtype=object)

    rel, relations = parts("rel")
    head, heads = parts("head")
    tail, tails = parts("tail")
    split, splits = parts("split")
    source, sources = parts("source")
    words, inverse = np.unique(np.concatenate([heads, tails]), return_inverse=True)
    places = np.array([SPLITS.index(name) for name in splits.tolist()], dtype=np.int64)
    return PairTable(
        tuple(relations.tolist()), words, rel, inverse[head], inverse[len(heads) + tail], places[split],
        sources[source], np.asarray(coded["score"], dtype=np.int64),
    )  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """Which relations hold between the words of which pairs.

    Args:
        pairs: Codes of ordered pairs of words, sorted, (distinct pairs,).
        holds: Sorted codes `place in pairs * relations + relation`, (facts,).
        relations: How many relations there are.
    """

    pairs: Ints
    holds: Ints
    relations: int

    def any_of(self, ordered: Ints, rel: Ints) -> NDArray[np.bool_]:
        """Whether the relation holds between the pair's words, elementwise.

        Args:
            ordered: Codes as in `PairTable.ordered`, any shape; those not known count as not true.
            rel: Relation numbers, the same shape.
        """
        place = np.searchsorted(self.pairs, ordered).clip(max=len(self.pairs) - 1)
        known = self.pairs[place] == ordered
        code = place * self.relations + rel
        at = np.searchsorted(self.holds, code).clip(max=max(len(self.holds) - 1, 0))
        return np.asarray(known & (self.holds[at] == code)) if len(self.holds) else np.zeros_like(known)


def truth_of(
    table: PairTable,
    facts: tuple[Ints, Ints],
    symmetric: Sequence[bool],
    analogous: Sequence[tuple[int, int]],
) -> Truth:
    """Truth between the words of a table's pairs.

    A symmetric relation holds both ways, and what holds by an analogous relation counts as well.

    Args:
        table: The pairs.
        facts: Ordered codes and relation numbers of everything that is known, also beyond the table.
        symmetric: Of each relation.
        analogous: Pairs of relation numbers.
    """
    pairs = np.unique(table.ordered)
    ordered, rel = np.concatenate([facts[0], table.ordered]), np.concatenate([facts[1], table.rel])
    both = np.asarray(symmetric, dtype=np.bool_)[rel]
    turned = (ordered[both] % len(table.words)) * len(table.words) + ordered[both] // len(table.words)
    ordered, rel = np.concatenate([ordered, turned]), np.concatenate([rel, rel[both]])
    place = np.searchsorted(pairs, ordered).clip(max=max(len(pairs) - 1, 0))
    known = pairs[place] == ordered
    place, rel = place[known], rel[known]
    found = [place * len(table.relations) + rel]
    for a, b in analogous:
        for one, other in ((a, b), (b, a)):
            found.append(place[rel == one] * len(table.relations) + other)
    return Truth(pairs, np.unique(np.concatenate(found)), len(table.relations))


def read_facts(folder: Path, table: PairTable) -> tuple[Ints, Ints]:
    """Facts between words that form a pair of the table, in either order: codes and relations."""
    graph = folder / GRAPH
    rank = {name: i for i, name in enumerate(table.relations)}
    names = pq.read_table(graph / "relations.parquet")["rel"].to_pylist()
    number = np.array([rank[name] for name in names], dtype=np.int64)
    low, high = np.minimum(table.head, table.tail), np.maximum(table.head, table.tail)
    wanted = pa.table({"a": low, "b": high})
    words = pa.table({"w": np.arange(len(table.words)), "term": pa.array(table.words.tolist(), pa.string())})
    with duckdb.connect() as connection:
        connection.register("wanted", wanted)
        connection.register("words", words)
        terms = f"read_parquet({sql(str(graph / 'terms.parquet'))})"
        facts = f"read_parquet({sql(str(graph / 'facts.parquet'))})"
        found = connection.sql(
            f"WITH coded AS (SELECT i, w FROM {terms} JOIN words USING (term)), "
            f"all_facts AS (SELECT o, x.w AS h, y.w AS t FROM {facts} f JOIN coded x ON x.i = f.h "
            "JOIN coded y ON y.i = f.t) "
            "SELECT o, h, t FROM all_facts SEMI JOIN wanted ON a = least(h, t) AND b = greatest(h, t)"
        ).to_arrow_table()
    o, h, t = (found[c].to_numpy().astype(np.int64) for c in ("o", "h", "t"))
    return h * len(table.words) + t, number[o]
