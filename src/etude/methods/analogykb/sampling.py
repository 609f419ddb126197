"""Recognition questions drawn by index arithmetic: all questions at once, what is not allowed drawn again.

Wrong choices are random pairs of other relations. A pair is refused as wrong if the stem's relation (or an
analogous one) holds between its words anywhere in the graph; as any choice, if it has a word of the stem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.analogykb.pair_table import Ints, PairTable, Truth

Negatives = Literal["random", "nearest"]
Partner = Literal["same", "analogous", "both"]
Vectors = Callable[[Ints], NDArray[np.float32]]

_ROUNDS = 60
_POOL = 10  # random pairs among which nearest negatives are found, for each wrong choice


@dataclass(frozen=True)
class Drawn:
    """Questions as row numbers of a table.

    Args:
        stem: (questions,).
        choices: (questions, choices).
        answer: Place of the right choice, (questions,).
    """

    stem: Ints
    choices: Ints
    answer: Ints


class _Rows:
    """Rows of a table by relation: uniform over relations, then uniform over a relation's rows."""

    def __init__(self, table: PairTable, least: int, generator: np.random.Generator) -> None:
        self.order = np.argsort(table.rel, kind="stable")
        counts = np.bincount(table.rel, minlength=len(table.relations))
        self.starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self.counts = counts
        self.usable = np.flatnonzero(counts >= least)
        self.generator = generator

    def of(self, rel: Ints) -> Ints:
        """A row of each of these relations."""
        inside = (self.generator.random(rel.shape) * self.counts[rel]).astype(np.int64)
        return np.asarray(self.order[self.starts[rel] + inside])

    def relations(self, shape: tuple[int, ...]) -> Ints:
        """Relations, each as likely as any other."""
        return np.asarray(self.generator.choice(self.usable, size=shape))

    def others(self, rel: Ints) -> Ints:
        """A relation other than the given one, for each."""
        place = np.searchsorted(self.usable, rel)
        step = self.generator.integers(1, len(self.usable), size=rel.shape)
        return np.asarray(self.usable[(place + step) % len(self.usable)])


def draw_questions(
    table: PairTable,
    truth: Truth,
    n: int,
    *,
    choices: int = 5,
    negatives: Negatives = "random",
    partner: Partner = "same",
    analogous: Sequence[tuple[int, int]] = (),
    min_pairs: int = 5,
    seed: int = 0,
    vectors: Vectors | None = None,
) -> Drawn:
    """Draw questions.

    Args:
        table: Pairs to draw from.
        truth: What holds between their words.
        n: How many.
        choices: Choices of each, the right one included.
        negatives: Random, or the nearest by difference of vectors (which makes similarity the mark of wrong
            ones: kept to show that).
        partner: Whether the right pair is of the stem's relation, of an analogous one, or either.
        analogous: Pairs of analogous relations, by number.
        min_pairs: Relations with fewer rows are not used.
        seed: Of all draws.
        vectors: From row numbers to vectors of their differences, for nearest negatives.

    Raises:
        EtudeError: Too few relations or pairs to make such questions.
    """
    if n < 1 or choices < 2:
        raise EtudeError(
            f"{n} questions of {choices} choices cannot be", "n is at least 1, choices at least 2."
        )
    generator = np.random.default_rng(seed)
    rows = _Rows(table, max(min_pairs, 2), generator)
    if len(rows.usable) < 2:
        raise EtudeError(
            f"questions need two relations with {max(min_pairs, 2)} pairs; {len(rows.usable)} are left",
            "Lower --min-pairs, exclude fewer tests, or mine a larger graph.",
        )
    partners = _Partners(len(table.relations), analogous, rows.usable, partner, generator)
    stem = np.empty(n, dtype=np.int64)
    right = np.empty(n, dtype=np.int64)
    todo = np.arange(n)
    for _ in range(_ROUNDS):
        rel = generator.choice(partners.stems, size=len(todo))
        stem[todo] = rows.of(rel)
        right[todo] = rows.of(partners.of(rel))
        todo = todo[_share_word(table, stem[todo], right[todo])]
        if not len(todo):
            break
    else:
        raise _cannot(len(todo), n, "a right pair without a word of the stem")
    wrong = _wrong_choices(table, truth, rows, stem, right, choices - 1, negatives, vectors)
    place = generator.permutation(np.arange(n) % choices)
    drawn = np.empty((n, choices), dtype=np.int64)
    drawn[np.arange(n), place] = right
    rest = np.ones((n, choices), dtype=np.bool_)
    rest[np.arange(n), place] = False
    drawn[rest] = wrong.ravel()
    return Drawn(stem, drawn, place)


class _Partners:
    """The relation of the right pair, for each stem's relation."""

    def __init__(
        self, relations: int, analogous: Sequence[tuple[int, int]], usable: Ints, partner: Partner,
        generator: np.random.Generator,
    ) -> None:  # fmt: skip
        self.partner, self.generator = partner, generator
        lists: list[list[int]] = [[] for _ in range(relations)]
        fit = set(usable.tolist())
        for a, b in analogous:
            if a in fit and b in fit:
                lists[a].append(b)
                lists[b].append(a)
        self.counts = np.array([len(found) for found in lists], dtype=np.int64)
        self.padded = np.zeros((relations, max(1, int(self.counts.max(initial=0)))), dtype=np.int64)
        for i, found in enumerate(lists):
            self.padded[i, : len(found)] = found
        self.stems = usable if partner != "analogous" else np.flatnonzero(self.counts > 0)
        if not len(self.stems):
            raise EtudeError(
                "there are no accepted analogous relations with enough pairs",
                "Run `etude analogykb relate` and `review`, or use --relations same.",
            )

    def of(self, rel: Ints) -> Ints:
        if self.partner == "same":
            return rel
        pick = (self.generator.random(len(rel)) * self.counts[rel]).astype(np.int64)
        other = self.padded[rel, np.minimum(pick, np.maximum(self.counts[rel] - 1, 0))]
        if self.partner == "both":
            same = (self.counts[rel] == 0) | (self.generator.random(len(rel)) < 0.5)
            return np.asarray(np.where(same, rel, other))
        return np.asarray(other)


def _wrong_choices(
    table: PairTable,
    truth: Truth,
    rows: _Rows,
    stem: Ints,
    right: Ints,
    count: int,
    negatives: Negatives,
    vectors: Vectors | None,
) -> Ints:
    """Row numbers of wrong pairs, (questions, count)."""
    pool = count * _POOL if negatives == "nearest" else count
    wrong = np.empty((len(stem), pool), dtype=np.int64)
    bad = np.ones(wrong.shape, dtype=np.bool_)
    for _ in range(_ROUNDS):
        question, place = np.nonzero(bad)
        wrong[question, place] = rows.of(rows.others(table.rel[stem[question]]))
        bad = _refused(table, truth, stem, right, wrong, bad)
        if not bad.any():
            break
    else:
        raise _cannot(int(bad.any(1).sum()), len(stem), "enough different wrong pairs")
    if negatives == "random":
        return wrong
    if vectors is None:
        raise EtudeError("nearest negatives need word vectors", "Give an encoder.")
    ours, theirs = vectors(stem), vectors(wrong.ravel()).reshape(*wrong.shape, -1)
    nearness = np.einsum("qd,qpd->qp", ours, theirs)
    best = np.argsort(-nearness, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(wrong, best, axis=1)


def _refused(
    table: PairTable, truth: Truth, stem: Ints, right: Ints, wrong: Ints, fresh: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which wrong pairs are true, share a word with the stem, or stand there already; checks fresh ones."""
    question, place = np.nonzero(fresh)
    row = wrong[question, place]
    bad = np.zeros(wrong.shape, dtype=np.bool_)
    bad[question, place] = truth.any_of(table.ordered[row], table.rel[stem[question]]) | _share_word(
        table, stem[question], row
    )
    # the same two words again, in whatever order: all but the first of each question
    rows = np.concatenate([right[:, None], wrong], axis=1)
    head, tail = table.head[rows], table.tail[rows]
    codes = np.minimum(head, tail) * len(table.words) + np.maximum(head, tail)
    order = np.argsort(codes, axis=1, kind="stable")
    ranked = np.take_along_axis(codes, order, axis=1)
    again = np.zeros(codes.shape, dtype=np.bool_)
    np.put_along_axis(
        again,
        order,
        np.concatenate([np.zeros((len(codes), 1), np.bool_), ranked[:, 1:] == ranked[:, :-1]], axis=1),
        1,
    )
    return bad | again[:, 1:]


def _share_word(table: PairTable, stem: Ints, row: Ints) -> NDArray[np.bool_]:
    """Whether a word of the stem is a word of the pair, whole or inside a longer term, for each."""
    shared = np.zeros(len(stem), dtype=np.bool_)
    for a in (table.head[stem], table.tail[stem]):
        for b in (table.head[row], table.tail[row]):
            shared |= a == b
    several = table.has_space
    for ours in (table.head[stem], table.tail[stem]):
        for theirs in (table.head[row], table.tail[row]):
            for term, word in ((ours, theirs), (theirs, ours)):
                open_ = np.flatnonzero(several[term] & ~shared)
                inside = np.strings.find(
                    _between_spaces(table, term[open_]), _between_spaces(table, word[open_])
                )
                shared[open_] = inside >= 0
    return shared


def _between_spaces(table: PairTable, word: Ints) -> NDArray[np.str_]:
    return np.strings.add(np.strings.add(" ", table.words[word].astype(np.str_)), " ")


def _cannot(missing: int, n: int, what: str) -> EtudeError:
    return EtudeError(
        f"for {missing:,} of {n:,} questions there was not {what}",
        "Mine more relations or pairs, or ask for fewer choices.",
    )
