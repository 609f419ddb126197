"""Samples of gold: the same number of every grade, as far as there are so many."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from etude.errors import EtudeError
from etude.methods.relevance.trec import Qrels


def stratified(gold: Mapping[tuple[str, str], int], size: int, seed: int = 0) -> Qrels:
    """A sample with equal shares of the grades; where a grade has too few pairs, the others fill up.

    Args:
        gold: (qid, docid) to grade.
        size: Pairs in all; all of them where there are no more.
        seed: Which.

    Raises:
        EtudeError: The size is below the number of grades.
    """
    by_grade: dict[int, list[tuple[str, str]]] = {}
    for pair in sorted(gold):
        by_grade.setdefault(gold[pair], []).append(pair)
    if size < len(by_grade):
        raise EtudeError(
            f"{size} pairs for {len(by_grade)} grades", "Give a larger budget, or fewer prompts."
        )
    generator = np.random.default_rng(seed)
    mixed = {g: [pairs[i] for i in generator.permutation(len(pairs))] for g, pairs in by_grade.items()}
    chosen: list[tuple[str, str]] = []
    left, grades = size, sorted(mixed, key=lambda g: (len(mixed[g]), g))
    for number, grade in enumerate(grades):
        taken = mixed[grade][: left // (len(grades) - number)]
        chosen += taken
        left -= len(taken)
    return {pair: gold[pair] for pair in sorted(chosen)}
