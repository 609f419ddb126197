"""The graph of a sensor network: edges from a table, costs to weights, and an order of nodes that keeps
neighbors close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from etude.data import read_frame
from etude.errors import EtudeError

THRESHOLD = 0.1


@dataclass(frozen=True)
class Graph:
    """Weighted directed edges.

    Attributes:
        source: (E,) index of the node an edge leaves.
        target: (E,) index of the node it enters.
        weight: (E,) similarity in (0, 1], or whatever the table says.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    weight: NDArray[np.float64]

    def select(self, index: NDArray[np.int64], count: int) -> Graph:
        """The edges among nodes `index` of `count`, renumbered to that order."""
        place = np.full(count, -1)
        place[index] = np.arange(len(index))
        keep = (place[self.source] >= 0) & (place[self.target] >= 0)
        return Graph(place[self.source[keep]], place[self.target[keep]], self.weight[keep])


def read_edges(path: Path, nodes: Sequence[str]) -> Graph:
    """Read `from,to,weight` or `from,to,cost`; a cost c becomes exp(-(c/σ)²), dropped below 0.1 (σ = spread
    of the costs).

    Raises:
        EtudeError: For missing columns, cells that are no numbers, and nodes that the panel does not have
            (listed).
    """
    if not path.is_file():
        raise EtudeError(f"{path}: no such file", "give a table from,to,weight or from,to,cost")
    frame = read_frame(path)
    measure = next((c for c in ("weight", "cost", "distance") if c in frame.columns), None)
    if measure is None or not {"from", "to"} <= set(frame.columns):
        raise EtudeError(
            f"{path}: the columns are {', '.join(frame.columns)}",
            "an edge table has from,to,weight or from,to,cost",
        )
    numbers = frame[measure].cast(pl.Float64, strict=False)
    if numbers.null_count():
        row = int(numbers.is_null().arg_max() or 0)
        raise EtudeError(
            f"{path}:{row + 2}: {measure} is {frame[measure][row]!r}, not a number",
            "every edge needs its number",
        )
    place = {n: i for i, n in enumerate(nodes)}
    ends = [frame[c].cast(pl.String).str.strip_chars().to_list() for c in ("from", "to")]
    unknown = sorted({n for column in ends for n in column if n not in place})
    if unknown:
        more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        raise EtudeError(
            f"{path}: nodes that the panel does not have: {', '.join(unknown[:20])}{more}",
            "use the panel's column names",
        )
    source, target = (np.array([place[n] for n in column], dtype=np.int64) for column in ends)
    weight = numbers.to_numpy()
    if measure == "weight":
        return Graph(source, target, weight)
    weight = gaussian_kernel(weight)
    keep = weight >= THRESHOLD
    return Graph(source[keep], target[keep], weight[keep])


def gaussian_kernel(cost: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(-(c/σ)²) with σ the standard deviation of the costs, as the PEMS and METR graphs are built (Li et
    al. 2018).
    """
    spread = float(cost.std())
    return np.exp(-np.square(cost / spread)) if spread > 0 else np.ones_like(cost)


def cuthill_mckee(graph: Graph, count: int) -> NDArray[np.int64]:
    """(count,) node indices in reverse Cuthill-McKee order: neighbors in the graph end up close in the
    sequence.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    both = (np.concatenate([graph.source, graph.target]), np.concatenate([graph.target, graph.source]))
    matrix = coo_matrix((np.ones(len(both[0])), both), shape=(count, count)).tocsr()
    return np.asarray(reverse_cuthill_mckee(matrix, symmetric_mode=True), dtype=np.int64)


def bandwidth(graph: Graph, order: NDArray[np.int64]) -> int:
    """The farthest two linked nodes stand apart in an order."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return int(np.abs(place[graph.source] - place[graph.target]).max(initial=0))
