"""Decontamination: pairs of test questions must not be in training data, in either order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from etude.methods.analogykb.analogy_questions import is_generation, read_items, read_questions

Unordered = frozenset[str]


def folded(word: str) -> str:
    """A word for comparison: lower case, single spaces, no underscores."""
    return " ".join(word.replace("_", " ").casefold().split())


def pairs_of_tests(sources: Iterable[Path | str]) -> set[Unordered]:
    """Every pair of the questions in these files, right and wrong ones, without order and casing."""
    found: set[Unordered] = set()
    for source in sources:
        pairs: Sequence[tuple[str, str]]
        if is_generation(source):
            items = read_items(source)
            pairs = [i.stem for i in items] + [(i.query, d) for i in items for d in i.accepted]
        else:
            pairs = [pair for q in read_questions(source) for pair in [q.stem, *q.choice]]
        found |= {frozenset((folded(a), folded(b))) for a, b in pairs}
    return found
