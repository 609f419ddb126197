"""Subgraphs as one flat graph: no padding; a context node each, links, reverses and self loops added.

Edges are sorted by target. An edge's kind is its relation and the types of its two ends; there are at most
some hundreds of kinds, and whatever depends on them alone is computed once per kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.pipenet.subgraph import ANSWER, CONTEXT, QUESTION, TYPE_NAMES, Subgraph

TYPES = len(TYPE_NAMES)
CONTEXT_RELATIONS = 2  # context -> question concept, context -> answer concept


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """G graphs side by side. Node 0 of each graph is its context.

    Attributes:
        concepts: Row of each node's features, -1 for context nodes, (N,).
        types: Node types, (N,).
        graph: Which graph a node belongs to, (N,).
        context: The context node of each graph, (G,).
        source, target: Ends of each edge, (E,), ascending by target.
        kind: relation * 16 + type of source * 4 + type of target, (E,).
    """

    concepts: Tensor
    types: Tensor
    graph: Tensor
    context: Tensor
    source: Tensor
    target: Tensor
    kind: Tensor

    def __len__(self) -> int:
        """Number of graphs."""
        return len(self.context)

    def to(self, device: torch.device) -> GraphBatch:
        """The same on a device."""
        return GraphBatch(**{name: value.to(device) for name, value in vars(self).items()})


def edge_relations(relations: int) -> int:
    """Relation types a reasoner sees: merged and context ones, both ways, and the self loop (17 -> 39)."""
    return 2 * (relations + CONTEXT_RELATIONS) + 1


def batch_graphs(graphs: Sequence[Subgraph], rows: NDArray[np.int64] | None, relations: int) -> GraphBatch:
    """Lay graphs side by side (paper section 3.4).

    Args:
        graphs: At least one; a graph may have no node but its context.
        rows: Feature rows of all nodes, in order; concept ids by default.
        relations: Number of merged relations.
    """
    sizes = np.array([len(g.nodes) for g in graphs])
    counts = np.array([g.edge_index.shape[1] for g in graphs])
    first = np.cumsum(sizes + 1) - sizes - 1  # the context nodes
    nodes = np.concatenate([g.nodes for g in graphs]).astype(np.int64) if rows is None else rows
    places = np.arange(len(nodes)) + np.repeat(np.arange(1, len(graphs) + 1), sizes)
    total = len(nodes) + len(graphs)
    types = np.full(total, CONTEXT, dtype=np.int64)
    types[places] = np.concatenate([g.types for g in graphs])
    concepts = np.full(total, -1, dtype=np.int64)
    concepts[places] = nodes
    graph = np.repeat(np.arange(len(graphs)), sizes + 1)

    shift = np.repeat(first + 1, counts)
    heads, tails = np.concatenate([g.edge_index for g in graphs], axis=1) + shift
    relation = np.concatenate([g.edge_type for g in graphs]).astype(np.int64) + CONTEXT_RELATIONS
    linked = np.nonzero((types == QUESTION) | (types == ANSWER))[0]
    owner = first[graph[linked]]
    link = (types[linked] == ANSWER).astype(np.int64)
    back = relations + CONTEXT_RELATIONS
    every = np.arange(total)
    source = np.concatenate([heads, tails, owner, linked, every])
    target = np.concatenate([tails, heads, linked, owner, every])
    kinds = np.concatenate([relation, relation + back, link, link + back, np.full(total, 2 * back)])
    kind = (kinds * TYPES + types[source]) * TYPES + types[target]
    order = np.argsort(target, kind="stable")
    return GraphBatch(
        *map(torch.from_numpy, (concepts, types, graph, first, source[order], target[order], kind[order]))
    )


def by_budget(messages: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut consecutive items into batches of at most `budget` messages; a larger item is a batch of its own.

    Args:
        messages: Of each item.
        budget: Messages per batch.

    Yields:
        Places of the items of a batch.

    Raises:
        EtudeError: The budget is not positive.
    """
    if budget < 1:
        raise EtudeError(f"an edge budget of {budget}", "Give at least 1; memory grows with it.")
    batch: list[int] = []
    load = 0
    for i, count in enumerate(messages):
        if batch and load + count > budget:
            yield batch
            batch, load = [], 0
        batch.append(i)
        load += count
    if batch:
        yield batch
