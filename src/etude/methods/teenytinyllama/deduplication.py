"""Documents that repeat: exactly (up to white space), or nearly (MinHash with banded LSH).

Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", ch. 3. A document is a set of shingles
(five successive words, letter case ignored); two documents are near duplicates when the Jaccard similarity of
their sets reaches a threshold. The estimate is the share of equal minima under 128 hash functions; only
documents that agree in a whole band of minima are compared. Of a group the first document stays.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MINIMA = 128
_SHINGLE = 5
_RECALL = 0.99  # least probability that two documents just at the threshold are compared
_WORD = re.compile(r"\w+")
_CHUNK = 1 << 12  # pairs compared at a time


def text_key(text: str) -> bytes:
    """16 bytes that are equal for texts that are equal up to white space."""
    return hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest()


def signature(text: str) -> NDArray[np.uint32]:
    """The minima of a text's shingles under each hash function, (128,)."""
    words = [_word_hash(word) for word in _WORD.findall(text.casefold())] or [0]
    hashes = np.array(words, dtype=np.uint64)
    width = min(_SHINGLE, len(hashes))
    shingles = np.zeros(len(hashes) - width + 1, dtype=np.uint64)
    for offset in range(width):
        shingles = shingles * _MULTIPLIER + hashes[offset : offset + len(shingles)]
    mixed = _mix(np.unique(shingles))
    minima = np.full(MINIMA, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(mixed), 4096):  # a long document must not need a long table
        part = mixed[start : start + 4096]
        minima = np.minimum(minima, (_FACTORS[:, None] * part + _TERMS[:, None]).min(1))
    return (minima >> np.uint64(32)).astype(np.uint32)


def exact_duplicates(keys: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which documents repeat an earlier one, (documents,), by their `text_key`s, (documents,)."""
    first = np.unique(keys, return_index=True)[1]
    repeated = np.ones(len(keys), dtype=bool)
    repeated[first] = False
    return repeated


def near_duplicates(
    signatures: NDArray[np.uint32], threshold: float, among: NDArray[np.intp] | None = None
) -> NDArray[np.bool_]:
    """Which documents nearly repeat an earlier one.

    Args:
        signatures: Of each document, (documents, 128); may be memory-mapped.
        threshold: Least estimated Jaccard similarity of near duplicates, in (0, 1].
        among: Indices of the documents to consider, ascending; all by default.

    Returns:
        (documents,). The first document of a group is False.
    """
    repeated = np.zeros(len(signatures), dtype=bool)
    chosen = np.arange(len(signatures)) if among is None else among
    if not len(chosen):
        return repeated
    rows = band_rows(threshold)
    for start in range(0, MINIMA - rows + 1, rows):
        band = np.zeros(len(chosen), dtype=np.uint64)
        for column in range(start, start + rows):
            band = _mix(band * _MULTIPLIER + signatures[chosen, column])
        order = np.argsort(band, kind="stable")
        band, order = band[order], chosen[order]
        first = np.flatnonzero(np.r_[True, band[1:] != band[:-1]])
        sizes = np.diff(np.r_[first, len(band)])
        for earlier in (
            np.repeat(first, sizes),
            np.maximum(np.arange(len(band)) - 1, np.repeat(first, sizes)),
        ):
            pairs = np.flatnonzero((earlier != np.arange(len(band))) & ~repeated[order])
            for at in range(0, len(pairs), _CHUNK):
                right = pairs[at : at + _CHUNK]
                left = earlier[right]
                alike = (signatures[order[left]] == signatures[order[right]]).mean(1) >= threshold
                repeated[order[right[alike]]] = True
    return repeated


def band_rows(threshold: float) -> int:
    """The most minima per band with which documents at the threshold are compared almost surely.

    With r rows and b = 128 // r bands, documents of similarity s share a band with probability
    1 - (1 - s^r)^b.
    """
    fitting = [r for r in range(1, MINIMA + 1) if 1 - (1 - threshold**r) ** (MINIMA // r) >= _RECALL]
    return max(fitting, default=1)


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64: every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.random.default_rng(1).integers(0, 2**63, MINIMA, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_TERMS = np.random.default_rng(2).integers(0, 2**63, MINIMA, dtype=np.uint64)
