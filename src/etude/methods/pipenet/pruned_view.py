"""A store seen through a pruner: nothing is written, each subgraph is pruned when it is asked for."""

from __future__ import annotations

from typing import Any

from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.pruning import Criterion, Ranking, check_rate, prune_graph
from etude.methods.pipenet.subgraph import Subgraph


class PrunedView(GraphStore):
    """The subgraphs of a store after pruning.

    Args:
        store: Not pruned.
        rate, by, seed, ranking: See `prune_graph`.
    """

    def __init__(
        self,
        store: GraphStore,
        *,
        rate: float,
        by: Criterion = "dependency",
        seed: int = 0,
        ranking: Ranking | None = None,
    ) -> None:
        check_rate(rate)
        self.__dict__.update(store.__dict__)
        self.meta: dict[str, Any] = {
            **store.meta,
            "prune": {"by": by, "rate": rate, "seed": seed if by == "random" else None, "before": store.hash},
        }
        self._rate, self._by, self._seed, self._ranking = rate, by, seed, ranking

    def __getitem__(self, place: int) -> Subgraph:
        """The pruned subgraph at a place."""
        whole = super().__getitem__(place)
        return prune_graph(whole, rate=self._rate, by=self._by, seed=self._seed, ranking=self._ranking)
