"""Relation profiles: what a relation's pairs and its name mean, as one vector; near ones are candidates.

The pre-filter asks a language model about at most some twenty relations for each, so that cost grows with the
number of relations and not with its square.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from etude.methods.analogykb.analogy_questions import as_text
from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.methods.analogykb.word_vectors import word_vectors

_SAMPLED = 30  # best-known pairs of a relation in its profile


def description(relation: str) -> str:
    """A relation's name as words: `derivedfrom_nv`, `headOfState` and `head_of_state` are split."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", relation.replace("_", " "))
    return " ".join(spaced.lower().split())


def relation_profiles(kb: AnalogyKB, encoder: str = "minilm") -> NDArray[np.float32]:
    """The mean of the pairs' vectors plus the vector of the name, (relations, dimension), of length 1."""
    pairs = [[as_text(pair) for pair in kb.pairs(rel, _SAMPLED)] for rel in kb.table.relations]
    texts = [description(rel) for rel in kb.table.relations]
    vectors = word_vectors([*texts, *(text for given in pairs for text in given)], encoder)
    names, rest = vectors[: len(texts)], vectors[len(texts) :]
    ends = np.cumsum([len(given) for given in pairs])
    means = np.stack([part.mean(0) for part in np.split(rest, ends[:-1])])
    profiles = means / np.linalg.norm(means, axis=1, keepdims=True).clip(min=1e-9) + names
    return np.asarray(profiles / np.linalg.norm(profiles, axis=1, keepdims=True).clip(min=1e-9))


def candidates(profiles: NDArray[np.float32], count: int) -> list[list[int]]:
    """For each relation the nearest others, and those that have it among their nearest: by cosine, falling.

    Args:
        profiles: (relations, dimension), of length 1.
        count: How many nearest.

    Returns:
        Relation numbers for each relation. Whoever is asked about another is asked about in turn.
    """
    cosines = profiles @ profiles.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(count, len(profiles) - 1)]
    chosen = np.zeros(cosines.shape, dtype=np.bool_)
    np.put_along_axis(chosen, nearest, True, axis=1)
    chosen |= chosen.T
    return [
        sorted(np.flatnonzero(row).tolist(), key=lambda j, i=i: (-cosines[i, j], j))  # type: ignore[misc]
        for i, row in enumerate(chosen)
    ]
