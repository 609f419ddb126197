"""Exact top-n of a sparse product without computing all of it.

The score of a name is the inner product of two non-negative vectors. Columns (n-grams) are cut by document
frequency into rare and common ones. The product over rare columns touches few postings and is a lower bound;
by Cauchy-Schwarz the common columns add at most ‖q_common‖·‖v_common‖, which gives an upper bound. The names
with the highest upper bounds are scored in full, the n-th best of them is the floor, and names whose upper
bound lies below the floor cannot be in the answer. The few that are left are scored in full as well. A query
for which too many are left goes to the next level, with fewer columns counted as common; the last level has
none. A full score is always summed in the same way, so it does not depend on batches, levels or what was
skipped, and equal names have equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from etude.methods.bioelqa.top_owners import Top, best_owners_of_rows

ROWS = 128  # queries multiplied at once
LEVELS = (0.03, 0.1, 1.0)
"""Share of the names from which an n-gram counts as common, level by level."""
_SLACK = 1e-5  # float32 sums in another order differ by less, for vectors of length 1
_FIRST = 2  # names scored in full for each owner asked for, before the floor is drawn
_MOST_LEFT = 300  # names left for one query from which the next level is cheaper

Excluded = Sequence[np.ndarray | Sequence[int]]


class _Level:
    """The product over rare columns, and what the common ones can add."""

    def __init__(self, vectors: sp.csr_matrix, share: float) -> None:
        frequency = np.bincount(vectors.indices, minlength=vectors.shape[1])
        self.is_common = frequency > max(1.0, share * vectors.shape[0])
        squared = np.where(self.is_common[vectors.indices], vectors.data**2, 0)
        sums = np.add.reduceat(np.append(squared, 0), vectors.indptr[:-1]) if vectors.shape[0] else squared
        self.norms = np.sqrt(np.where(np.diff(vectors.indptr) > 0, sums, 0)).astype(np.float32)
        self.by_norm = np.argsort(-self.norms, kind="stable")
        self.falling = -self.norms[self.by_norm]
        rare = vectors.copy()
        rare.data = np.where(self.is_common[rare.indices], 0, rare.data)
        rare.eliminate_zeros()
        self.columns = sp.csr_matrix(rare.T)  # (n-grams, names)


class SparseIndex:
    """Names as sparse vectors, searched exactly.

    Args:
        vectors: Non-negative rows of length 1, (names, n-grams), csr.
        owners: Name to the entity it belongs to, (names,).
        levels: See `LEVELS`; ascending, the last one 1.
    """

    def __init__(
        self, vectors: sp.csr_matrix, owners: np.ndarray, *, levels: Sequence[float] = LEVELS
    ) -> None:
        self.vectors = vectors
        self.owners = np.asarray(owners)
        self._levels = [_Level(vectors, share) for share in levels]

    def top(self, queries: sp.csr_matrix, n: int, excluded: Excluded | None = None) -> list[Top]:
        """The n best owners of each query; an owner's score is that of its best name.

        Args:
            queries: Non-negative rows of length 1 (or 0), (queries, n-grams).
            n: Owners asked for; fewer come back when fewer share an n-gram with the query.
            excluded: For each query the names (rows) that must not be used.

        Returns:
            One `Top` per query; ties stand in the order of their owners.
        """
        found: list[Top] = []
        for begin in range(0, queries.shape[0], ROWS):
            batch = sp.csr_matrix(queries[begin : begin + ROWS])
            out = None if excluded is None else excluded[begin : begin + ROWS]
            found += self._top_of_batch(batch, n, out)
        return found

    def _top_of_batch(self, batch: sp.csr_matrix, n: int, excluded: Excluded | None) -> list[Top]:
        tops: list[Top | None] = [None] * batch.shape[0]
        waiting = np.arange(batch.shape[0])
        dense = batch.toarray()
        taken = _pair_keys(excluded, self.vectors.shape[0])
        for depth, level in enumerate(self._levels):
            last = depth == len(self._levels) - 1
            pairs, unsettled = self._candidates(level, batch, dense, waiting, n, taken, last)
            settled = waiting[~unsettled]
            found = best_owners_of_rows(self.owners, *pairs, settled, n)
            for row, top in zip(settled, found, strict=True):
                tops[row] = top
            waiting = waiting[unsettled]
            if not len(waiting):
                break
        return [top for top in tops if top is not None]

    def _candidates(
        self,
        level: _Level,
        batch: sp.csr_matrix,
        dense: np.ndarray,
        waiting: np.ndarray,
        n: int,
        taken: np.ndarray,
        last: bool,
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
        """Scored pairs (row, name, score) that can be in the answer, and which waiting rows have too many."""
        total = np.int64(self.vectors.shape[0])
        part = batch if len(waiting) == batch.shape[0] else sp.csr_matrix(batch[waiting])
        touched = part @ level.columns
        local = np.repeat(np.arange(len(waiting)), np.diff(touched.indptr))
        names = touched.indices
        squared = np.where(level.is_common[part.indices], part.data**2, 0)
        entry = np.repeat(np.arange(len(waiting)), np.diff(part.indptr))
        common = np.sqrt(np.bincount(entry, squared, len(waiting))).astype(np.float32)
        upper = touched.data + common[local] * level.norms[names]
        if len(taken):
            upper[np.isin(waiting[local] * total + names, taken)] = -1.0
        first = self._highest(upper, touched.indptr, _FIRST * n)
        first = first[upper[first] >= 0]
        rows, chosen = waiting[local[first]], names[first]
        scores = self._scores(rows, chosen, dense)
        best = best_owners_of_rows(self.owners, rows, chosen, scores, waiting, n)
        floor = np.array([top.floor(n) for top in best], dtype=np.float32) - _SLACK
        possible = upper >= np.maximum(floor, 0)[local]
        possible[first] = False
        # names that share only common n-grams with the query are not among the touched ones
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(common > 0, -floor / common, -np.inf)
        reaching = np.searchsorted(level.falling, reach, side="right")
        count = np.bincount(local[possible], minlength=len(waiting)) + reaching
        unsettled = np.zeros(len(waiting), bool) if last else count > _MOST_LEFT
        possible &= ~unsettled[local]
        keys = waiting[local[possible]] * total + names[possible]
        far = [
            waiting[place] * total + level.by_norm[: reaching[place]]
            for place in np.flatnonzero((reaching > 0) & ~unsettled)
        ]
        if far:
            keys = np.setdiff1d(np.concatenate([keys, *far]), np.concatenate([taken, rows * total + chosen]))
        more = self._scores(keys // total, keys % total, dense)
        return (
            np.concatenate([rows, keys // total]),
            np.concatenate([chosen, keys % total]),
            np.concatenate([scores, more]),
        ), unsettled

    @staticmethod
    def _highest(values: np.ndarray, indptr: np.ndarray, count: int) -> np.ndarray:
        """Places of the `count` highest values of each row."""
        picked = []
        for begin, end in pairwise(indptr.tolist()):
            if end - begin <= count:
                picked.append(np.arange(begin, end))
            else:
                picked.append(begin + np.argpartition(-values[begin:end], count)[:count])
        return np.concatenate(picked) if picked else np.zeros(0, dtype=np.int64)

    def _scores(self, rows: np.ndarray, names: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """Full inner products of pairs (query row, name), each summed over the name's own n-grams."""
        starts = self.vectors.indptr[names].astype(np.int64)
        lengths = self.vectors.indptr[names + 1] - starts
        ends = np.cumsum(lengths)
        if not len(ends) or ends[-1] == 0:
            return np.zeros(len(names), dtype=np.float32)
        at = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
        products = self.vectors.data[at] * dense[np.repeat(rows, lengths), self.vectors.indices[at]]
        sums = np.add.reduceat(np.append(products, np.float32(0)), ends - lengths)
        return np.where(lengths > 0, sums, np.float32(0))


def _pair_keys(excluded: Excluded | None, names: int) -> np.ndarray:
    """Excluded pairs as row x names + name."""
    if excluded is None:
        return np.zeros(0, dtype=np.int64)
    keys = [row * names + np.asarray(out, dtype=np.int64) for row, out in enumerate(excluded) if len(out)]
    return np.concatenate(keys) if keys else np.zeros(0, dtype=np.int64)
