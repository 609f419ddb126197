"""A scorer without parameters: direct edges between question and answer, and bridges that are not hubs.

2 * (adjacent pairs of a question and an answer concept) + sum over bridges of 1 / ln(2 + degree). It was
fixed before anything was measured and is never tuned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from etude.methods.pipenet.subgraph import ANSWER, BRIDGE, QUESTION, Subgraph


def structural_score(graph: Subgraph, degrees: Mapping[int, int]) -> float:
    """The score of one choice.

    Args:
        graph: Its subgraph.
        degrees: Neighbors of each concept in the whole graph.
    """
    heads, tails = graph.types[graph.edge_index]
    direct = ((heads == QUESTION) & (tails == ANSWER)) | ((heads == ANSWER) & (tails == QUESTION))
    ends = np.sort(graph.edge_index[:, direct], axis=0)
    pairs = len(np.unique(ends[0].astype(np.int64) * len(graph.nodes) + ends[1]))
    bridges = graph.nodes[graph.types == BRIDGE].tolist()
    return 2.0 * pairs + sum(1 / math.log(2 + degrees[c]) for c in bridges)


def shared_accuracy(scores: Sequence[float], answer: int) -> float:
    """1 if the answer alone has the highest score, 1/k if k choices share it, else 0."""
    values = np.asarray(scores, dtype=float)
    best = np.isclose(values, values.max(), rtol=0, atol=1e-9)
    return float(best[answer] / best.sum())
