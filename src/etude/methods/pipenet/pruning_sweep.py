"""Size and accuracy of the structural scorer at a pruning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etude.evidence import Interval, bootstrap_interval
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.pruned_view import PrunedView
from etude.methods.pipenet.pruning import Criterion, Ranking
from etude.methods.pipenet.questions import Question
from etude.methods.pipenet.structural_scorer import shared_accuracy, structural_score
from etude.methods.pipenet.subgraph import Subgraph

DRAWS = 5  # of random pruning


@dataclass(frozen=True)
class PruningSize:
    """Sizes after pruning, per statement.

    Attributes:
        nodes, edges, messages: Means.
        nodes_95: 95th percentile.
    """

    nodes: float
    edges: float
    messages: float
    nodes_95: float


def pruning_size(graphs: Sequence[Subgraph]) -> PruningSize:
    """Sizes of some subgraphs."""
    nodes = np.array([len(g.nodes) for g in graphs], dtype=float)
    return PruningSize(
        float(nodes.mean()),
        float(np.mean([g.edge_index.shape[1] for g in graphs])),
        float(np.mean([g.messages for g in graphs])),
        float(np.percentile(nodes, 95)),
    )


def structural_accuracy(
    questions: Sequence[Question],
    store: GraphStore,
    *,
    rate: float,
    by: Criterion,
    seeds: Sequence[int] = (0,),
    ranking: Ranking | None = None,
) -> tuple[dict[str, float], PruningSize]:
    """Accuracy of the structural scorer by question, ties shared, mean over draws; and the sizes.

    Args:
        questions: With answers.
        store: Their subgraphs, not pruned.
        rate: See `prune_graph`.
        by: See `prune_graph`.
        seeds: Draws of `random`; others have one.
        ranking: See `prune_graph`.
    """
    sums = {q.id: 0.0 for q in questions}
    seen: list[Subgraph] = []
    draws = tuple(seeds) if by == "random" and rate > 0 else (0,)
    for seed in draws:
        view = PrunedView(store, rate=rate, by=by, seed=seed, ranking=ranking)
        for q in questions:
            graphs = view.of_question(q)
            assert q.answer is not None
            scores = [structural_score(g, store.degrees) for g in graphs]
            sums[q.id] += shared_accuracy(scores, q.answer) / len(draws)
            seen += graphs
    return sums, pruning_size(seen)


def mean_with_interval(values: Sequence[float]) -> Interval:
    """A mean over questions with its 95 % bootstrap interval."""
    array = np.asarray(values, dtype=float)
    low, high = bootstrap_interval(lambda group, _: array[group].mean(axis=1), len(array))
    return Interval(float(array.mean()), low, high)
