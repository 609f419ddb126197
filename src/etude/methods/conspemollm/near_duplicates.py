"""Which texts belong together and must not straddle a split: the same document, or nearly the same text.

Two texts are near duplicates when the Jaccard similarity of their sets of three-word shingles reaches a
threshold (Broder 1997), after links, mentions and the mark of a repost are dropped. Groups are the connected
components. Pairs that share a shingle come from a sparse matrix product, and their overlap is counted
exactly; shingles of very many texts are boilerplate and propose no pair.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import HashingVectorizer

THRESHOLD = 0.7
_NOISE = re.compile(r"https?://\S+|www\.\S+|@\w+|\brt\b:?|#")
_COMMON = 200  # a shingle of more texts than this is boilerplate and pairs nothing
_ROWS = 2000


def normal_form(text: str) -> str:
    """The words of a text in lower case, without links, mentions, hash signs and `RT`."""
    return " ".join(re.findall(r"\w+", _NOISE.sub(" ", text.casefold())))


def group_texts(texts: Sequence[str], documents: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """A group number for each text; equal for rows of one document and for near duplicates.

    Args:
        texts: The texts.
        documents: The document or tweet that each row comes from.
        threshold: Least Jaccard similarity of near duplicates, in (0, 1].
    """
    if not texts:
        return []
    forms = [normal_form(text) for text in texts]
    edges = _equal(documents) + _equal([form or f"empty {row}" for row, form in enumerate(forms)])
    row_of: dict[str, int] = {}
    for row, form in enumerate(forms):
        row_of.setdefault(form, row)
    firsts = list(row_of)
    edges += [(row_of[firsts[a]], row_of[firsts[b]]) for a, b in _alike(firsts, threshold)]
    left, right = (np.array([edge[side] for edge in edges], dtype=int) for side in (0, 1))
    graph = coo_matrix((np.ones(len(edges)), (left, right)), shape=(len(texts), len(texts)))
    return [int(group) for group in connected_components(graph, directed=False)[1]]


def _equal(keys: Sequence[str]) -> list[tuple[int, int]]:
    first: dict[str, int] = {}
    return [(first.setdefault(key, row), row) for row, key in enumerate(keys)]


def _alike(forms: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    vectorizer = HashingVectorizer(
        n_features=1 << 22, ngram_range=(3, 3), norm=None, binary=True, alternate_sign=False,
        token_pattern=r"\S+",
    )  # fmt: skip
    sets: csr_matrix = vectorizer.transform(forms).tocsr()
    sizes = np.asarray(sets.sum(1)).ravel()
    rare = np.asarray(sets.sum(0)).ravel() <= max(_COMMON, 2)
    kept = (sets @ diags(rare.astype(float))).tocsr()
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(forms), _ROWS):
        near = (kept[start : start + _ROWS] @ kept.T).tocoo()
        left, right = near.row + start, near.col
        inside = (left < right) & (near.data > 0)
        left, right = left[inside], right[inside]
        common = np.asarray(sets[left].multiply(sets[right]).sum(1)).ravel()
        similar = common / (sizes[left] + sizes[right] - common) >= threshold
        pairs += list(zip(left[similar].tolist(), right[similar].tolist(), strict=True))
    return pairs
