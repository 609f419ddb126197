"""Which bridges stay: those nearest to the answer in the syntax tree, or others for comparison (paper 3.3).

Matched concepts always stay. The rate is the share of bridges *removed*: 0.9 keeps one in ten.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.pipenet.subgraph import BRIDGE, Subgraph

Criterion = Literal["dependency", "random", "farthest", "embedding", "degree"]
CRITERIA: tuple[Criterion, ...] = ("dependency", "random", "farthest", "embedding", "degree")


class Ranking(Protocol):
    """What a criterion needs beyond the subgraph itself."""

    def similarity(self, graph: Subgraph) -> NDArray[np.float64]:
        """Cosine of each node's concept with the statement, (n,)."""

    def degrees(self, graph: Subgraph) -> NDArray[np.float64]:
        """Neighbors of each node in the whole graph, (n,)."""


def bridges_kept(bridges: int, rate: float) -> int:
    """⌊(1 - rate) * bridges⌋, free of rounding: a tenth of ten is one."""
    return math.floor(round((1 - rate) * bridges, 9))


def check_rate(rate: float) -> None:
    """Refuse a rate outside [0, 1].

    Raises:
        EtudeError: It is outside.
    """
    if not 0 <= rate <= 1:
        raise EtudeError(f"prune rate {rate}", "It is the share of bridges removed, between 0 and 1.")


def prune_graph(
    graph: Subgraph,
    *,
    rate: float,
    by: Criterion = "dependency",
    seed: int = 0,
    ranking: Ranking | None = None,
) -> Subgraph:
    """The subgraph with the top ⌊(1 - rate) * bridges⌋ bridges.

    Args:
        graph: To be pruned.
        rate: Share of bridges removed.
        by: `dependency`: highest scores stay. `farthest`: lowest scores stay. `random`: a draw of the
            statement's own. `embedding`: those most similar to the statement. `degree`: those with the fewest
            neighbors in the whole graph. Ties go to the lower concept id.
        seed: Of `random`.
        ranking: Similarities or degrees, for `embedding` and `degree`.

    Raises:
        EtudeError: A rate outside [0, 1] or an unknown criterion.
    """
    check_rate(rate)
    places = np.nonzero(graph.types == BRIDGE)[0]
    count = bridges_kept(len(places), rate)
    merit = _merit(graph, by, seed, ranking)[places]
    best = places[np.lexsort((graph.nodes[places], -merit))[:count]]
    kept = graph.types != BRIDGE
    kept[best] = True
    return graph.keep(kept)


def pruning_words(prune: Mapping[str, Any] | None) -> str:
    """How subgraphs were pruned, in words."""
    return "not pruned" if not prune else f"{prune['rate']:.0%} of the bridges removed by {prune['by']}"


def _merit(graph: Subgraph, by: Criterion, seed: int, ranking: Ranking | None) -> NDArray[np.float64]:
    """What a criterion keeps is high."""
    scores = graph.scores.astype(np.float64)
    if by == "dependency":
        return scores
    if by == "farthest":
        return -scores
    if by == "random":
        key = f"{seed}\0{graph.question_id}\0{graph.choice}".encode()
        own = np.frombuffer(hashlib.sha256(key).digest()[:16], dtype=np.uint32)
        return np.random.default_rng(own.astype(np.uint64).tolist()).random(len(graph.nodes))
    if by not in CRITERIA:
        raise EtudeError(f"no criterion {by!r}", f"One of {', '.join(CRITERIA)}.")
    if ranking is None:
        raise ValueError(f"{by} needs a ranking")
    return ranking.similarity(graph) if by == "embedding" else -ranking.degrees(graph)
