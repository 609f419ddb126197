"""`AnalogyKB`: a mined folder as an object: its relations, analogies, queries, questions."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from etude.errors import EtudeError
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, Pair
from etude.methods.analogykb.kb_files import RELATION_PAIRS, RELATIONS, RelationRow
from etude.methods.analogykb.pair_table import (
    Ints,
    PairTable,
    Truth,
    read_facts,
    read_pair_table,
    truth_of,
)

if TYPE_CHECKING:
    from etude.methods.analogykb.pairing import RelateResult

Analogy = tuple[Pair, Pair]


class AnalogyKB:
    """A knowledge base of analogies.

    Args:
        folder: What `etude analogykb mine` wrote.

    Raises:
        EtudeError: The folder is not a knowledge base.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._truth: tuple[tuple[tuple[int, int], ...], Truth] | None = None  # by analogous relations
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if not (self.folder / RELATIONS).is_file():
            raise EtudeError(
                f"{self.folder}: not a knowledge base, it has no {RELATIONS}",
                "Make one: etude analogykb mine.",
            )

    @classmethod
    def open(cls, folder: Path | str) -> AnalogyKB:
        """The knowledge base in a folder."""
        return cls(folder)

    @classmethod
    def mine(cls, source: Any, *, out: Path | str | None = None, **options: Any) -> AnalogyKB:
        """Mine a graph.

        Args:
            source: A file (see `etude analogykb mine`), or a polars frame with the columns rel, head, tail.
            out: The folder; without it a temporary one that goes with the object.
            **options: Those of the verb `mine`.
        """
        from etude.methods.analogykb.building import mine

        scratch = tempfile.TemporaryDirectory(prefix="etude-analogykb-")
        if not isinstance(source, str | Path):
            frame, source = source, Path(scratch.name) / "triples.parquet"
            (frame.collect() if hasattr(frame, "collect") else frame).write_parquet(source)
        folder = Path(out) if out is not None else Path(scratch.name) / "kb"
        mine(source, out=folder, **options)
        kb = cls(folder)
        kb._scratch = scratch
        return kb

    @cached_property
    def relations(self) -> list[RelationRow]:
        """Every relation of the graph, kept or not, by name."""
        return [RelationRow(**row) for row in pq.read_table(self.folder / RELATIONS).to_pylist()]

    @cached_property
    def table(self) -> PairTable:
        """The pairs."""
        return read_pair_table(self.folder)

    @cached_property
    def facts(self) -> tuple[Ints, Ints]:
        """What the graph says of the words of pairs, beyond the pairs that were kept."""
        return read_facts(self.folder, self.table)

    @property
    def relation_pairs(self) -> list[dict[str, Any]]:
        """Rows of `relation_pairs.parquet`; none before `relate`."""
        path = self.folder / RELATION_PAIRS
        return list(pq.read_table(path).to_pylist()) if path.exists() else []

    @property
    def symmetric(self) -> list[bool]:
        """Of each relation of the table, whether the order of its pairs is arbitrary."""
        marked = {row.rel: row.symmetric for row in self.relations}
        return [marked[rel] for rel in self.table.relations]

    def analogous(self, *, accepted_only: bool) -> list[tuple[int, int]]:
        """Analogous relations by number.

        Args:
            accepted_only: Those that people accepted; else also those that nobody refused yet.
        """
        number = {rel: i for i, rel in enumerate(self.table.relations)}
        return [
            (number[row["rel_a"]], number[row["rel_b"]])
            for row in self.relation_pairs
            if (row["accepted"] if accepted_only else row["accepted"] is not False)
            and row["rel_a"] in number
            and row["rel_b"] in number
        ]

    def truth(self) -> Truth:
        """What holds between the words of pairs; relations that may be analogous count as holding."""
        analogous = tuple(self.analogous(accepted_only=False))
        if self._truth is None or self._truth[0] != analogous:
            self._truth = (analogous, truth_of(self.table, self.facts, self.symmetric, analogous))
        return self._truth[1]

    def relation_number(self, relation: str) -> int:
        """The number of a relation.

        Raises:
            EtudeError: There is none of that name.
        """
        if relation in self.table.relations:
            return self.table.relations.index(relation)
        dropped = {row.rel: row.status for row in self.relations}
        near = difflib.get_close_matches(relation, self.table.relations, n=3, cutoff=0.3)
        raise EtudeError(
            f"no relation {relation!r}" + (f" ({dropped[relation]})" if relation in dropped else ""),
            f"Did you mean {', '.join(near)}?"
            if near
            else f"There are {len(self.table.relations)} relations.",
        )

    def pairs(self, relation: str, k: int | None = None) -> list[Pair]:
        """A relation's pairs, the best-known first."""
        rows = np.flatnonzero(self.table.rel == self.relation_number(relation))[:k]
        return [self.table.text(int(row)) for row in rows]

    def analogies(self, relation: str, n: int = 10, seed: int = 0) -> list[Analogy]:
        """Random analogies of one relation: two of its pairs that share no word.

        Args:
            relation: Its name.
            n: How many, fewer if the relation has not so many.
            seed: Of the draw.
        """
        rows = np.flatnonzero(self.table.rel == self.relation_number(relation))
        generator = np.random.default_rng(seed)
        found: dict[tuple[int, int], Analogy] = {}
        for one, other in generator.integers(0, len(rows), size=(max(20 * n, 100), 2)).tolist():
            first, second = self.table.text(rows[one]), self.table.text(rows[other])
            if not set(first) & set(second):
                found.setdefault((min(one, other), max(one, other)), (first, second))
            if len(found) == n:
                break
        return list(found.values())

    def relations_of(self, a: str, b: str) -> list[str]:
        """Relations by which the graph joins two words, as pairs of the table.

        Raises:
            EtudeError: A word, or the pair, is not in the knowledge base.
        """
        numbers = self.table.numbers
        for word in (a, b):
            if word not in numbers:
                near = difflib.get_close_matches(word, numbers, n=3, cutoff=0.7)
                raise EtudeError(
                    f"{word!r} is in no pair of {self.folder}",
                    f"Did you mean {', '.join(near)}?"
                    if near
                    else "Try another word, or mine with --min-degree 1.",
                )
        found = self.table.ordered == numbers[a] * len(self.table.words) + numbers[b]
        if not found.any():
            turned = self.table.ordered == numbers[b] * len(self.table.words) + numbers[a]
            hint = f"The other way round there is: {b} {a}." if turned.any() else "Try other words."
            raise EtudeError(f"no relation joins {a!r} to {b!r} in {self.folder}", hint)
        return [self.table.relations[r] for r in sorted(set(self.table.rel[found].tolist()))]

    def query(self, a: str, b: str, k: int = 5) -> list[dict[str, Any]]:
        """Pairs that are to each other as a is to b, of the same and of accepted analogous relations.

        Args:
            a: First word.
            b: Second word.
            k: Pairs of each relation, the best-known first.

        Returns:
            Rows `pair`, `relation` (of that pair), `by` (the relation of a and b), `score`.
        """
        partners: dict[str, list[str]] = {}
        for one, other in self.analogous(accepted_only=True):
            x, y = self.table.relations[one], self.table.relations[other]
            partners.setdefault(x, []).append(y)
            partners.setdefault(y, []).append(x)
        rows: list[dict[str, Any]] = []
        for by in self.relations_of(a, b):
            for relation in [by, *partners.get(by, [])]:
                places = np.flatnonzero(self.table.rel == self.relation_number(relation))
                texts = ((place, self.table.text(int(place))) for place in places)
                fit = ((place, pair) for place, pair in texts if not {a, b} & set(pair))
                for place, pair in islice(fit, k):
                    rows.append(
                        {"pair": pair, "relation": relation, "by": by, "score": int(self.table.score[place])}
                    )
        return rows

    def relate(self, model: str, **options: Any) -> RelateResult:
        """Find analogous relations; see the verb `relate`."""
        from etude.methods.analogykb.pairing import relate

        return relate(self.folder, model=model, **options)

    def questions(
        self, n: int = 6000, *, exclude: Sequence[Path | str] = (), **options: Any
    ) -> list[AnalogyQuestion]:
        """Recognition questions; options as in `question_sets.make_questions`."""
        from etude.methods.analogykb.question_sets import make_questions

        return make_questions(self, n, exclude=exclude, **options).questions
