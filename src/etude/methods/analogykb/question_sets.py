"""Question sets from a knowledge base: which pairs may be drawn, and drawn questions as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, GenerationItem
from etude.methods.analogykb.graph_shapes import sql
from etude.methods.analogykb.kb_files import GRAPH
from etude.methods.analogykb.leakage import folded, pairs_of_tests
from etude.methods.analogykb.pair_table import SPLITS, Ints, PairTable, truth_of
from etude.methods.analogykb.sampling import Negatives, Partner, draw_questions

if TYPE_CHECKING:
    from etude.methods.analogykb.knowledge_base import AnalogyKB

Split = Literal["train", "validation", "test", "all"]


@dataclass(frozen=True)
class QuestionSet:
    """Questions and how they came about.

    Args:
        questions: The questions.
        removed: Pairs of the knowledge base that are in a test, in whatever order.
        eligible: Pairs that could be drawn.
        relations: Relations they are of.
    """

    questions: list[AnalogyQuestion]
    removed: int
    eligible: int
    relations: int


def eligible_pairs(
    kb: AnalogyKB,
    *,
    exclude: Sequence[Path | str] = (),
    split: Split = "train",
    sources: Sequence[str] = (),
    common: str | None = None,
    min_pairs: int = 5,
) -> tuple[PairTable, int]:
    """The pairs from which questions may be drawn, and how many were removed because a test has them.

    Args:
        kb: The knowledge base.
        exclude: Files of test questions; none of their pairs is used, in either order.
        split: A split of the pairs.
        sources: Only pairs of these sources.
        common: Only pairs of common words: those that are one piece of this model's vocabulary.
        min_pairs: Only relations that have so many of these pairs.

    Raises:
        EtudeError: An unknown source, or nothing is left.
    """
    table = kb.table
    keep = np.ones(len(table), dtype=np.bool_)
    if split != "all":
        keep &= table.split == SPLITS.index(split)
    if sources:
        known = sorted(set(table.source.tolist()))
        if unknown := sorted(set(sources) - set(known)):
            raise EtudeError(f"no pairs from {', '.join(unknown)}", f"Sources: {', '.join(known)}.")
        keep &= np.isin(table.source, list(sources))
    if common is not None:
        usual = _common_words(table, common)
        keep &= usual[table.head] & usual[table.tail]
    tested = _in_tests(table, pairs_of_tests(exclude)) if exclude else np.zeros(len(table), dtype=np.bool_)
    removed = int((keep & tested).sum())
    keep &= ~tested
    enough = np.bincount(table.rel[keep], minlength=len(table.relations)) >= min_pairs
    keep &= enough[table.rel]
    if not keep.any():
        raise EtudeError(
            f"no relation has {min_pairs} pairs left ({removed:,} pairs are in the excluded tests)",
            "Lower --min-pairs, widen --split or --common, or mine a larger graph.",
        )
    return table.rows(keep), removed


def make_questions(
    kb: AnalogyKB,
    n: int = 6000,
    *,
    choices: int = 5,
    negatives: Negatives = "random",
    relations: Partner = "same",
    exclude: Sequence[Path | str] = (),
    split: Split = "train",
    sources: Sequence[str] = (),
    common: str | None = None,
    min_pairs: int = 5,
    encoder: str = "minilm",
    shuffle: bool = False,
    seed: int = 0,
) -> QuestionSet:
    """Recognition questions (see `sampling.draw_questions`) from eligible pairs (see `eligible_pairs`).

    Args:
        kb: The knowledge base.
        n: How many.
        choices: Choices of each.
        negatives: random, or nearest.
        relations: Of the right pair: the same, an analogous one, or both.
        exclude: Files of test questions.
        split: A split of the pairs.
        sources: Only pairs of these sources.
        common: A model whose vocabulary says which words are common.
        min_pairs: Of a relation.
        encoder: Whose vectors say what is near.
        shuffle: Deal the relations out anew to pairs first: the control without relations.
        seed: Of every draw.
    """
    table, removed = eligible_pairs(
        kb, exclude=exclude, split=split, sources=sources, common=common, min_pairs=min_pairs
    )
    if shuffle:
        table = table.shuffled(seed)
        nothing = np.empty(0, dtype=np.int64)
        truth = truth_of(table, (nothing, nothing), [False] * len(table.relations), [])
    else:
        truth = kb.truth()
    drawn = draw_questions(
        table, truth, n, choices=choices, negatives=negatives, partner=relations, min_pairs=min_pairs,
        seed=seed,
        analogous=kb.analogous(accepted_only=True), vectors=_differences(table, encoder),
    )  # fmt: skip
    stems, choice = (
        zip(table.words[table.head[rows]].tolist(), table.words[table.tail[rows]].tolist(), strict=True)
        for rows in (drawn.stem, drawn.choices)
    )
    groups = [table.relations[r] for r in table.rel[drawn.stem].tolist()]
    made = [
        AnalogyQuestion.model_construct(
            stem=stem, choice=list(zip(cs, ds, strict=True)), answer=answer, group=group
        )
        for stem, (cs, ds), answer, group in zip(stems, choice, drawn.answer.tolist(), groups, strict=True)
    ]
    return QuestionSet(made, removed, len(table), len(set(table.rel.tolist())))


def make_items(
    kb: AnalogyKB,
    n: int = 6000,
    *,
    exclude: Sequence[Path | str] = (),
    split: Split = "train",
    sources: Sequence[str] = (),
    common: str | None = None,
    min_pairs: int = 5,
    seed: int = 0,
) -> tuple[list[GenerationItem], int, int, int]:
    """Generation items: A is to B as C is to, with every D of the graph that is right.

    Returns:
        The items, pairs removed as tests', eligible pairs, and their relations.
    """
    table, removed = eligible_pairs(
        kb, exclude=exclude, split=split, sources=sources, common=common, min_pairs=min_pairs
    )
    drawn = draw_questions(table, kb.truth(), n, choices=2, min_pairs=min_pairs, seed=seed)
    right = drawn.choices[np.arange(n), drawn.answer]
    accepted = _accepted(kb, table, np.unique(right))
    items = [
        GenerationItem(
            stem=table.text(stem), query=str(table.words[table.head[row]]),
            accepted=accepted[int(table.rel[row]), int(table.head[row])],
            group=table.relations[table.rel[row]],
        )
        for stem, row in zip(drawn.stem.tolist(), right.tolist(), strict=True)
    ]  # fmt: skip
    return items, removed, len(table), len(set(table.rel.tolist()))


def _accepted(kb: AnalogyKB, table: PairTable, rows: Ints) -> dict[tuple[int, int], list[str]]:
    """Relation and head to every tail that the graph has, the symmetric ones both ways."""
    graph = kb.folder / GRAPH
    symmetric = np.array(kb.symmetric)
    wanted = pa.table(
        {"rel": [table.relations[r] for r in table.rel[rows].tolist()],
         "head": [str(word) for word in table.words[table.head[rows]].tolist()],
         "both": symmetric[table.rel[rows]].tolist()}
    )  # fmt: skip
    terms, facts, names = (
        f"read_parquet({sql(str(graph / f'{part}.parquet'))})" for part in ("terms", "facts", "relations")
    )
    with duckdb.connect() as connection:
        connection.register("given", wanted)
        connection.execute(
            f"CREATE TEMP TABLE wanted AS SELECT DISTINCT o, i, g.both, g.rel, g.head FROM given g "
            f"JOIN (SELECT (row_number() OVER () - 1) AS o, rel FROM {names}) USING (rel) "
            f"JOIN {terms} ON term = g.head"
        )
        found = connection.execute(
            f"SELECT DISTINCT rel, head, x.term FROM (SELECT w.rel, w.head, f.t AS other FROM wanted w "
            f"JOIN {facts} f ON f.o = w.o AND f.h = w.i UNION ALL SELECT w.rel, w.head, f.h FROM wanted w "
            f"JOIN {facts} f ON w.both AND f.o = w.o AND f.t = w.i) JOIN {terms} x ON x.i = other "
            f"ORDER BY ALL"
        ).fetchall()
    number = {rel: i for i, rel in enumerate(table.relations)}
    accepted: dict[tuple[int, int], list[str]] = {}
    for rel, head, tail in found:
        accepted.setdefault((number[rel], table.numbers[head]), []).append(tail)
    return accepted


def _common_words(table: PairTable, model: str) -> NDArray[np.bool_]:
    """Of each word, whether it is one piece of the model's vocabulary, of letters only."""
    from etude.models import load_tokenizer

    vocabulary = {piece.lstrip("Ġ▁").casefold() for piece in load_tokenizer(model).get_vocab()}
    return np.array(
        [len(w) > 1 and w.isalpha() and w.casefold() in vocabulary for w in table.words.tolist()],
        dtype=np.bool_,
    )


def _in_tests(table: PairTable, tests: set[frozenset[str]]) -> NDArray[np.bool_]:
    """Which pairs are in a test, in either order."""
    tested = {word for pair in tests for word in pair}
    texts = [folded(word) for word in table.words.tolist()]
    known = np.array([text in tested for text in texts], dtype=np.bool_)
    found = known[table.head] & known[table.tail]
    for row in np.flatnonzero(found):
        found[row] = frozenset((texts[table.head[row]], texts[table.tail[row]])) in tests
    return found


class _differences:
    """Unit vectors of the difference between a pair's words, by row number."""

    def __init__(self, table: PairTable, encoder: str) -> None:
        self.table, self.encoder = table, encoder

    def __call__(self, rows: Ints) -> NDArray[np.float32]:
        from etude.methods.analogykb.word_vectors import word_vectors

        needed, place = np.unique(
            np.concatenate([self.table.head[rows], self.table.tail[rows]]), return_inverse=True
        )
        found = word_vectors([str(w) for w in self.table.words[needed].tolist()], self.encoder)
        difference = found[place[len(rows) :]] - found[place[: len(rows)]]
        return np.asarray(difference / np.linalg.norm(difference, axis=1, keepdims=True).clip(min=1e-9))
