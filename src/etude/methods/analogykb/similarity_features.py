"""Fourteen similarities of a stem A : B and a choice C : D, from mean-centered word vectors.

The cosine of the difference vectors alone is the untrained scorer: A is to B as C is to D when B - A and
D - C point the same way (Mikolov et al. 2013).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FEATURES = (
    "cos(B-A, D-C)",
    "cos(C-A, D-B)",
    "cos(A, C)",
    "cos(B, D)",
    "cos(A, B)",
    "cos(C, D)",
    "cos(A, D)",
    "cos(B, C)",
    "|cos(A, B) - cos(C, D)|",
    "|cos(A, C) - cos(B, D)|",
    "cos(D, C+B-A)",
    "cos(C, D+A-B)",
    "||B-A| - |D-C||",
    "cos(A*B, C*D)",
)


def centered(vectors: Floats, mean: Floats) -> Floats:
    """Vectors minus the mean, at length 1, (words, dimension)."""
    moved = vectors - mean
    return np.asarray(moved / np.linalg.norm(moved, axis=-1, keepdims=True).clip(min=1e-9))


def cosine(x: Floats, y: Floats) -> Floats:
    """Cosine over the last axis; 0 where a vector is zero."""
    lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    return np.asarray((x * y).sum(-1) / np.maximum(lengths, 1e-9), dtype=np.float32)


def similarity_features(a: Floats, b: Floats, c: Floats, d: Floats) -> Floats:
    """The features in the order of `FEATURES`.

    Args:
        a: Centered vectors, (..., dimension); b, c and d likewise, of shapes that fit together.
        b: See a.
        c: See a.
        d: See a.

    Returns:
        (..., 14).
    """
    a, b, c, d = np.broadcast_arrays(a, b, c, d)
    ab, cd, ac, bd = cosine(a, b), cosine(c, d), cosine(a, c), cosine(b, d)
    lengths = np.abs(np.linalg.norm(b - a, axis=-1) - np.linalg.norm(d - c, axis=-1))
    return np.stack(
        [
            cosine(b - a, d - c), cosine(c - a, d - b), ac, bd, ab, cd, cosine(a, d), cosine(b, c),
            np.abs(ab - cd), np.abs(ac - bd), cosine(d, c + b - a), cosine(c, d + a - b), lengths,
            cosine(a * b, c * d),
        ],
        axis=-1,
    ).astype(np.float32)  # fmt: skip
