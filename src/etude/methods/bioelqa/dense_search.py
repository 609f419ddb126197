"""Exact top-n of a dense product, block by block with a running top: memory does not grow with the names.

Blocks end where an entity ends, so an entity's best name is found inside one block. Scores are rounded to six
decimals before they are ranked: the last bits of a matrix product depend on the batch's shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from etude.methods.bioelqa.top_owners import Top, merge_tops
from etude.models.local_lm import default_device

ROWS = 256  # queries multiplied at once
NAMES = 65_536  # names of one block
_DECIMALS = 6

Excluded = Sequence[np.ndarray | Sequence[int]]


class DenseIndex:
    """Names as dense vectors, searched exactly.

    Args:
        vectors: (names, dimension), float32; may be memory-mapped.
        owners: Name to the entity it belongs to, ascending, (names,).
        block: Names multiplied at once (a block is longer where one entity has more).
        device: `cpu`, `cuda` ...; default: the GPU if there is one.
    """

    def __init__(
        self, vectors: np.ndarray, owners: np.ndarray, *, block: int = NAMES, device: str | None = None
    ) -> None:
        self.vectors, self.owners = vectors, np.asarray(owners)
        if (np.diff(self.owners) < 0).any():
            raise ValueError("names must be grouped by owner")
        self.device = device or default_device()
        self._blocks = _cut(self.owners, block)

    def top(self, queries: np.ndarray, n: int, excluded: Excluded | None = None) -> list[Top]:
        """The n best owners of each query; see `SparseIndex.top`. Scores may be negative here.

        Args:
            queries: (queries, dimension).
            n: Owners asked for.
            excluded: For each query the names that must not be used.
        """
        found: list[Top] = []
        for begin in range(0, len(queries), ROWS):
            batch = torch.from_numpy(np.ascontiguousarray(queries[begin : begin + ROWS])).to(self.device)
            out = None if excluded is None else excluded[begin : begin + ROWS]
            running: list[Top] | None = None
            for start, end in self._blocks:
                part = self._top_of_block(batch, start, end, n, out)
                running = part if running is None else [
                    merge_tops([old, new], n) for old, new in zip(running, part, strict=True)
                ]  # fmt: skip
            found += running or []
        return found

    def _top_of_block(
        self, batch: Tensor, start: int, end: int, n: int, excluded: Excluded | None
    ) -> list[Top]:
        names = torch.from_numpy(np.array(self.vectors[start:end])).to(self.device)
        scores = torch.round(batch @ names.T, decimals=_DECIMALS)  # (queries, names of the block)
        if excluded is not None:
            pairs = [(r, row - start) for r, out in enumerate(excluded) for row in out if start <= row < end]
            if pairs:
                r, c = torch.tensor(pairs, device=self.device).T
                scores[r, c] = -torch.inf
        owners, local = np.unique(self.owners[start:end], return_inverse=True)
        into = torch.from_numpy(local).to(self.device).expand(len(batch), -1)
        best = torch.full((len(batch), len(owners)), -torch.inf, device=self.device)
        best.scatter_reduce_(1, into, scores, "amax")  # an owner counts with its best name
        floor = best.topk(min(n, len(owners)), dim=1).values[:, -1:]
        r, c = ((best >= floor) & torch.isfinite(best)).nonzero(as_tuple=True)
        values, r, c = best[r, c].cpu().numpy(), r.cpu().numpy(), c.cpu().numpy()
        order = np.lexsort((c, -values, r))
        tops = []
        first_names = np.searchsorted(local, np.arange(len(owners) + 1))
        at = np.searchsorted(r[order], np.arange(len(batch) + 1))
        for row in range(len(batch)):
            picked = order[at[row] : at[row + 1]][:n]
            spans = [(int(first_names[o]), int(first_names[o + 1])) for o in c[picked]]
            rows = [a + int(scores[row, a:b].argmax()) for a, b in spans]
            tops.append(Top(owners[c[picked]], values[picked], np.array(rows, dtype=np.int64) + start))
        return tops


def _cut(owners: np.ndarray, block: int) -> list[tuple[int, int]]:
    """Spans of about `block` names that end where an owner ends."""
    spans, start = [], 0
    while start < len(owners):
        end = min(start + block, len(owners))
        if end < len(owners):
            end = int(np.searchsorted(owners, owners[end - 1], side="right"))
        spans.append((start, end))
        start = end
    return spans
