"""Distances in a dependency tree: edges on the path between tokens, and between spans (paper eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

UNCONNECTED = 100


def token_distances(heads: NDArray[np.int32], tokens: NDArray[np.int64]) -> NDArray[np.int32]:
    """Path lengths between some tokens of a forest, all at once.

    With a token counted among its ancestors, two tokens i and j are |anc(i)| + |anc(j)| - 2 |anc(i) ∩ anc(j)|
    edges apart, so one matrix product of ancestor rows gives every distance.

    Args:
        heads: Head of each token, its own for a root, (n,).
        tokens: Indices, (k,).

    Returns:
        (k, k); `UNCONNECTED` between trees.
    """
    n, k = len(heads), len(tokens)
    ancestors = np.zeros((k, n), dtype=np.float32)
    rows, at = np.arange(k), np.asarray(tokens, dtype=np.int64)
    for _ in range(n):  # at most the depth; a cycle, which is no tree, ends too
        ancestors[rows, at] = 1
        above = heads[at]
        if np.array_equal(above, at):
            break
        at = above.astype(np.int64)
    shared = (ancestors @ ancestors.T).astype(np.int32)
    depths = np.diagonal(shared)
    distances = depths[:, None] + depths[None, :] - 2 * shared
    return np.where(shared > 0, distances, UNCONNECTED).astype(np.int32)


def span_distances(heads: NDArray[np.int32], spans: Sequence[NDArray[np.int64]]) -> NDArray[np.int32]:
    """Distance between spans: the least over their tokens.

    Args:
        heads: As above.
        spans: Token indices of each span; a span may have gaps, and be empty.

    Returns:
        (spans, spans); `UNCONNECTED` where a span has no token.
    """
    count = len(spans)
    result = np.full((count, count), UNCONNECTED, dtype=np.int32)
    filled = [i for i, span in enumerate(spans) if len(span)]
    if not filled:
        return result
    flat = np.concatenate([spans[i] for i in filled])
    tokens, places = np.unique(flat, return_inverse=True)
    distances = token_distances(heads, tokens)[np.ix_(places, places)]
    begins = np.cumsum([0, *(len(spans[i]) for i in filled[:-1])])
    least = np.minimum.reduceat(np.minimum.reduceat(distances, begins, axis=0), begins, axis=1)
    result[np.ix_(filled, filled)] = least
    return result
