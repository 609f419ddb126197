"""PipeNet's reasoner: a context node and concepts talk for k layers, then a score per choice (paper 3.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.pipenet.attention_layer import Attention, EdgeEncoder, GraphAttention, edge_softmax
from etude.methods.pipenet.graph_batch import GraphBatch, edge_relations
from etude.methods.pipenet.subgraph import CONTEXT


@dataclass(frozen=True)
class ReasonerSettings:
    """Shape of a reasoner.

    Attributes:
        relations: Merged relations of the graph.
        concept_dim: Width of the concepts' features.
        statement_dim: Width of the statement vector.
        dim: Width d (paper: 200).
        layers: k (paper: 5); 0 leaves the graph out: the language model alone.
        heads: In each layer.
        pooling_heads: In the pooling.
        dropout: Everywhere.
        attention: See `GraphAttention`.
        hidden_layers: Of the last MLP (paper: 0).
    """

    relations: int
    concept_dim: int
    statement_dim: int
    dim: int = 200
    layers: int = 5
    heads: int = 4
    pooling_heads: int = 2
    dropout: float = 0.2
    attention: Attention = "target"
    hidden_layers: int = 0

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built.

        Raises:
            EtudeError: dim is no multiple of the heads, or attention is unknown.
        """
        if self.dim < 1 or self.dim % self.heads or self.dim % self.pooling_heads:
            raise EtudeError(
                f"dim {self.dim} with {self.heads} and {self.pooling_heads} heads", "Both must divide dim."
            )
        if self.attention not in ("target", "source"):
            raise EtudeError(f"attention {self.attention!r}", "Choose target or source.")
        if self.layers < 0 or not 0 <= self.dropout < 1:
            raise EtudeError(
                f"{self.layers} layers, dropout {self.dropout}", "Layers from 0, dropout from 0 to below 1."
            )


class AttentionPooling(nn.Module):
    """One vector per graph from its concepts, with the statement as query (heads of their own).

    Args:
        dim: Width of nodes and of the result.
        query_dim: Width of the statement.
        heads: Number of heads.
    """

    def __init__(self, dim: int, query_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(query_dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)

    def forward(self, h: Tensor, graph: Tensor, statement: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled vectors, (G, dim), zero for a graph without concepts; weights of the nodes, (N, heads).

        Args:
            h: Concepts of all graphs, (N, dim).
            graph: Graph of each, (N,).
            statement: (G, query_dim).
        """
        shape = (len(h), self.heads, h.shape[1] // self.heads)
        query = F.embedding(graph, self.query(statement)).view(shape)
        scores = (query * self.key(h).view(shape)).sum(-1) / math.sqrt(shape[2])
        weights = edge_softmax(scores, graph, len(statement))
        values = (self.value(h).view(shape) * weights[:, :, None]).reshape(h.shape)
        pooled = torch.zeros(len(statement), h.shape[1], dtype=h.dtype, device=h.device)
        return pooled.index_add_(0, graph, values.to(h.dtype)), weights


class Reasoner(nn.Module):
    """From concept features and statement vectors to one logit per graph.

    Args:
        settings: Its shape.
    """

    def __init__(self, settings: ReasonerSettings) -> None:
        super().__init__()
        s = self.settings = settings
        self.dropout = nn.Dropout(s.dropout)
        width = s.statement_dim
        if s.layers:
            self.context = nn.Linear(s.statement_dim, s.dim)
            self.concept = nn.Linear(s.concept_dim, s.dim)
            self.edges = EdgeEncoder(edge_relations(s.relations), s.dim)
            self.layers = nn.ModuleList(GraphAttention(s.dim, s.heads, s.attention) for _ in range(s.layers))
            self.pooling = AttentionPooling(s.dim, s.statement_dim, s.pooling_heads)
            width += 2 * s.dim
        hidden: list[nn.Module] = []
        for _ in range(s.hidden_layers):
            hidden += [nn.Linear(width, s.dim), nn.LayerNorm(s.dim), nn.GELU(), nn.Dropout(s.dropout)]
            width = s.dim
        self.score = nn.Sequential(*hidden, nn.Linear(width, 1))

    def forward(
        self, statement: Tensor, features: Tensor, graph: GraphBatch
    ) -> tuple[Tensor, Mapping[str, Any]]:
        """Logits, (G,), and the attention of the last layer (`edges`) and of the pooling (`nodes`).

        Args:
            statement: Vector s of each graph, (G, statement_dim).
            features: Of the nodes that are concepts, in order, (N - G, concept_dim).
            graph: The graphs.
        """
        if not self.settings.layers:
            return self.score(self.dropout(statement)).squeeze(1), {}
        s = self.dropout(statement)
        concepts = graph.types != CONTEXT
        h = torch.zeros(len(graph.types), self.settings.dim, dtype=s.dtype, device=s.device)
        h = h.index_copy(0, graph.context, F.gelu(self.context(s)).to(h.dtype))
        h = h.index_copy(0, concepts.nonzero().squeeze(1), F.gelu(self.concept(features)).to(h.dtype))
        h = self.dropout(h)
        r, place = self.edges(graph.kind)
        alpha = None
        for layer in self.layers:
            h, alpha = layer(h, graph, r, place)
            h = self.dropout(F.gelu(h))
        pooled, weights = self.pooling(h[concepts], graph.graph[concepts], s)
        fused = torch.cat([self.dropout(pooled), s, F.embedding(graph.context, h)], dim=1)
        return self.score(fused).squeeze(1), {"edges": alpha, "nodes": weights}


def choice_logits(logits: Tensor, owner: Tensor, questions: int) -> Tensor:
    """Logits as a table, (questions, most choices), -inf where a question has fewer choices.

    Args:
        logits: One per choice, questions in order, (G,).
        owner: Question of each, ascending, (G,).
        questions: How many.
    """
    counts = torch.bincount(owner, minlength=questions)
    column = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
    shape = (questions, int(counts.max()))
    table = torch.full(shape, -torch.inf, dtype=logits.dtype, device=logits.device)
    return table.index_put((owner, column), logits)
