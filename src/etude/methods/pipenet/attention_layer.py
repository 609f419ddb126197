"""The graph attention layer and its edge encoder, in plain torch (paper section 3.4, eq. 4-8).

Everything linear is applied to nodes and to kinds of edges before it is gathered along edges, so that an edge
costs gathers and sums of width d, never a matrix product.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.methods.pipenet.graph_batch import TYPES, GraphBatch

Attention = Literal["target", "source"]


class CountedBatchNorm(nn.BatchNorm1d):
    """Batch normalization of rows that each stand for several equal ones."""

    def forward_counted(self, x: Tensor, counts: Tensor) -> Tensor:
        """As `forward` on x with row k repeated counts[k] times, one output row each.

        Args:
            x: (rows, features).
            counts: (rows,).
        """
        if not self.training:
            return self.forward(x)
        weights = counts.to(x.dtype)[:, None]
        total = weights.sum()
        mean = (weights * x).sum(0) / total
        variance = (weights * (x - mean) ** 2).sum(0) / total
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None and self.num_batches_tracked is not None
        with torch.no_grad():
            unbiased = variance * total / (total - 1).clamp(min=1)
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.detach().to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


class EdgeEncoder(nn.Module):
    """r_ij = MLP(relation ⊕ type_i ⊕ type_j), each one-hot; shared by all layers.

    Args:
        relations: Relation types with reverses, context links and the self loop.
        dim: Width d.
    """

    def __init__(self, relations: int, dim: int) -> None:
        super().__init__()
        self.relations = relations
        self.first = nn.Linear(relations + 2 * TYPES, dim)
        self.norm = CountedBatchNorm(dim)
        self.second = nn.Linear(dim, dim)

    def forward(self, kind: Tensor) -> tuple[Tensor, Tensor]:
        """States of the kinds that occur, (kinds, d), and which of them each edge has, (E,).

        Args:
            kind: Of each edge, (E,).
        """
        present, place, counts = torch.unique(kind, return_inverse=True, return_counts=True)
        relation, ends = present // TYPES**2, present % TYPES**2
        hot = torch.cat(
            [
                F.one_hot(relation, self.relations),
                F.one_hot(ends // TYPES, TYPES),
                F.one_hot(ends % TYPES, TYPES),
            ],
            dim=1,
        ).to(self.first.weight.dtype)  # (kinds, relations + 8)
        x = torch.relu(self.norm.forward_counted(self.first(hot), counts))
        return self.second(x), place


class GraphAttention(nn.Module):
    """One layer: key_ij = W_k[h_i ⊕ r_ij], msg_ij = W_m[h_j ⊕ r_ij], query_j = W_q h_j, j -> i.

    Args:
        dim: Width d.
        heads: Attention heads inside the layer.
        attention: `target`: softmax over the edges that arrive at a node. `source`: over the edges
            that leave one, times their number, as the official code does.
    """

    def __init__(self, dim: int, heads: int, attention: Attention = "target") -> None:
        super().__init__()
        self.dim, self.heads, self.attention = dim, heads, attention
        self.key = nn.Linear(2 * dim, dim)
        self.message = nn.Linear(2 * dim, dim)
        self.query = nn.Linear(dim, dim)
        self.mix = nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, h: Tensor, graph: GraphBatch, r: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """New node states, (N, d), and the weight of every edge, (E, heads).

        Args:
            h: Node states, (N, d).
            graph: Edges.
            r: States of edge kinds, (kinds, d).
            place: Kind of each edge, (E,).
        """
        d, (n, edges) = self.dim, (len(h), len(place))
        key = F.embedding(graph.target, F.linear(h, self.key.weight[:, :d]))
        key = key + F.embedding(place, F.linear(r, self.key.weight[:, d:], self.key.bias))  # (E, d)
        sent = F.embedding(graph.source, F.linear(h, self.message.weight[:, :d]))
        sent = sent + F.embedding(place, F.linear(r, self.message.weight[:, d:], self.message.bias))
        query = F.embedding(graph.source, self.query(h))
        width = d // self.heads
        scores = (query * key).view(edges, self.heads, width).sum(-1) / math.sqrt(width)  # (E, heads)
        group = graph.source if self.attention == "source" else graph.target
        alpha = edge_softmax(scores, group, n)
        if self.attention == "source":
            leaving = torch.bincount(group, minlength=n).to(alpha.dtype)
            alpha = alpha * leaving[group, None]
        messages = sent.view(edges, self.heads, width) * alpha[:, :, None]
        gathered = torch.zeros_like(h).index_add_(0, graph.target, messages.reshape(edges, d).to(h.dtype))
        mixed: Tensor = self.mix(gathered)
        return mixed, alpha


def edge_softmax(scores: Tensor, group: Tensor, groups: int) -> Tensor:
    """Softmax over the edges of each group.

    Args:
        scores: (E, heads).
        group: Node of each edge, (E,).
        groups: Number of nodes.
    """
    index = group[:, None].expand_as(scores)
    top = torch.full((groups, scores.shape[1]), -torch.inf, dtype=scores.dtype, device=scores.device)
    top = top.scatter_reduce(0, index, scores.detach(), "amax")
    raised = torch.exp(scores - F.embedding(group, top))
    sums = torch.zeros_like(top).index_add_(0, group, raised)
    return raised / F.embedding(group, sums)
