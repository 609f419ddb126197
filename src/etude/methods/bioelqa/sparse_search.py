"""Exact top-n of a sparse product, block by block with a running top: memory does not grow with the names.

A block of names times a batch of dense queries is one call of a kernel that reads each posting once for all
queries; a product of two sparse matrices costs several times as much. The kernel's last bits may depend on
the batch, so it only draws the circle: the best names by its scores are scored again, each sum taken over the
name's own n-grams, and a query whose answer could lie outside of its circle gets a wider one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from etude.methods.bioelqa.top_owners import Top, best_owners_of_rows

ROWS = 128  # queries multiplied at once
NAMES = 131_072  # names of one block
_SLACK = 1e-5  # float32 sums in another order differ by less, for vectors of length 1
_FIRST = 4  # names in the circle for each owner asked for
_WIDER = 8

Excluded = Sequence[np.ndarray | Sequence[int]]


class SparseIndex:
    """Names as sparse vectors, searched exactly.

    Args:
        vectors: Non-negative rows of length 1, (names, n-grams), csr.
        owners: Name to the entity it belongs to, (names,).
        block: Names multiplied at once.
    """

    def __init__(self, vectors: sp.csr_matrix, owners: np.ndarray, *, block: int = NAMES) -> None:
        self.vectors, self.owners = vectors, np.asarray(owners)
        starts = range(0, vectors.shape[0], block)
        self._blocks = [(start, _rows_as_tensor(vectors, start, start + block)) for start in starts]

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
            columns = queries[begin : begin + ROWS].T.toarray(order="C")
            out = None if excluded is None else excluded[begin : begin + ROWS]
            found += self._top_of_batch(columns, n, out)
        return found

    def _top_of_batch(self, columns: np.ndarray, n: int, excluded: Excluded | None) -> list[Top]:
        """The same for queries as columns, (n-grams, queries)."""
        tops: dict[int, Top] = {}
        waiting, width = np.arange(columns.shape[1]), _FIRST * n
        while len(waiting):
            hidden = None if excluded is None else [excluded[row] for row in waiting.tolist()]
            near, edge = self._circle(columns, width, hidden)
            row, place = np.nonzero(near >= 0)
            names = near[row, place]
            scores = self._scores(row, names, columns)
            best = best_owners_of_rows(self.owners, row, names, scores, np.arange(len(waiting)), n)
            floor = np.array([top.floor(n) for top in best]) - _SLACK
            inside = (edge <= 0) | (edge < floor)
            tops |= {int(waiting[i]): best[i] for i in np.flatnonzero(inside)}
            waiting, columns = waiting[~inside], np.ascontiguousarray(columns[:, ~inside])
            width *= _WIDER
        return [tops[row] for row in range(len(tops))]

    def _circle(
        self, columns: np.ndarray, width: int, hidden: Excluded | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The names of highest score by the kernel, and the score that no name outside exceeds.

        Returns:
            Names, (queries, width), -1 where fewer have a score; and (queries,), 0 where all are there that
            have one.
        """
        count = columns.shape[1]
        values, names = torch.empty(count, 0), torch.empty(count, 0, dtype=torch.long)
        for start, block in self._blocks:
            scores = (block @ torch.from_numpy(columns)).T.contiguous()  # (queries, names of the block)
            for row, out in enumerate(hidden or ()):
                inside = np.asarray(out, dtype=np.int64) - start
                scores[row, inside[(inside >= 0) & (inside < block.shape[0])]] = 0
            best = scores.topk(min(width, block.shape[0]), dim=1)
            values, names = torch.cat([values, best.values], 1), torch.cat([names, best.indices + start], 1)
            kept = values.topk(min(width, values.shape[1]), dim=1)
            values, names = kept.values, names.gather(1, kept.indices)
        edge = values[:, -1] if values.shape[1] == width else torch.zeros(count)
        return names.masked_fill(values <= 0, -1).numpy(), edge.numpy()

    def _scores(self, rows: np.ndarray, names: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Full inner products of pairs (query row, name), each summed over the name's own n-grams."""
        if not len(names):
            return np.zeros(0, dtype=np.float32)
        chosen = self.vectors[names]
        at = np.repeat(rows, np.diff(chosen.indptr)) + chosen.indices.astype(np.int64) * columns.shape[1]
        products = chosen.data * columns.ravel().take(at)
        return np.asarray(np.add.reduceat(products, chosen.indptr[:-1]))


def _rows_as_tensor(vectors: sp.csr_matrix, start: int, stop: int) -> Tensor:
    """Some rows as a tensor over the same memory."""
    pointers = vectors.indptr[start : stop + 1]
    inside = slice(int(pointers[0]), int(pointers[-1]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy((pointers - pointers[0]).astype(np.int32)),
            torch.from_numpy(vectors.indices[inside].astype(np.int32, copy=False)),
            torch.from_numpy(vectors.data[inside]),
            size=(len(pointers) - 1, vectors.shape[1]),
            check_invariants=True,
        )
