"""What was grounded for one statement: nodes with types and scores, triples between them, their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError

QUESTION, ANSWER, BRIDGE, CONTEXT = range(4)
TYPE_NAMES = ("question", "answer", "bridge", "context")


@dataclass(frozen=True, eq=False)
class Subgraph:
    """The part of a concept graph that a statement touches.

    Attributes:
        nodes: Concept ids, (n,): concepts of the question, of the answer, then bridges, each by id.
        types: 0 question, 1 answer, 2 bridge, (n,).
        scores: Closeness to the answer in the syntax tree, 0 or negative, (n,) (paper eq. 2).
        edge_index: Head and tail of each triple as places in `nodes`, (2, e). Reverses are implied.
        edge_type: Merged relation of each triple, (e,).
        spans: Concept id to the characters (start, end) where it stands in the statement.
        statement: The text that was grounded.
        question_id, choice: Whose it is.
        names: Concept id to name, for people; may lack.
        relations: Names of the merged relations, for people.
        fallback: Sides, question or answer, that had to be grounded word by word; known while grounding.
    """

    nodes: NDArray[np.int32]
    types: NDArray[np.int8]
    scores: NDArray[np.float32]
    edge_index: NDArray[np.int32]
    edge_type: NDArray[np.int8]
    spans: Mapping[int, Sequence[tuple[int, int]]] = field(default_factory=dict)
    statement: str = ""
    question_id: str = ""
    choice: int = 0
    names: Mapping[int, str] = field(default_factory=dict, repr=False)
    relations: Sequence[str] = ()
    fallback: Sequence[str] = ()

    @property
    def messages(self) -> int:
        """What a reasoner sends along: triples both ways, the context's links both ways, self loops."""
        n = len(self.nodes)
        linked = int((self.types != BRIDGE).sum())
        return 2 * int(self.edge_index.shape[1]) + 2 * linked + n + 1

    def name(self, concept: int) -> str:
        """A concept in words."""
        return self.names.get(int(concept), f"#{concept}").replace("_", " ")

    def keep(self, kept: NDArray[np.bool_]) -> Subgraph:
        """The subgraph of some of the nodes, with the triples between them.

        Args:
            kept: (n,).
        """
        place = np.cumsum(kept) - 1
        inside = kept[self.edge_index].all(axis=0)
        return Subgraph(
            self.nodes[kept],
            self.types[kept],
            self.scores[kept],
            place[self.edge_index[:, inside]].astype(np.int32),
            self.edge_type[inside],
            self.spans,
            self.statement,
            self.question_id,
            self.choice,
            self.names,
            self.relations,
            self.fallback,
        )

    def to_text(self, max_edges: int = 20) -> str:
        """Triples as lines for a prompt, those between the highest scores first.

        Args:
            max_edges: Lines at most.
        """
        heads, tails = self.edge_index
        order = np.argsort(-(self.scores[heads] + self.scores[tails]), kind="stable")[:max_edges]
        return "\n".join(
            f"{self.name(int(self.nodes[heads[e]]))} {self._relation(int(self.edge_type[e]))} "
            f"{self.name(int(self.nodes[tails[e]]))}"
            for e in order
        )

    def _relation(self, relation: int) -> str:
        return self.relations[relation] if relation < len(self.relations) else f"relation {relation}"

    def to_networkx(self) -> Any:
        """A `networkx.MultiDiGraph`: nodes are names with `concept`, `type`, `score`; edges have `relation`.

        Raises:
            EtudeError: networkx is not installed.
        """
        try:
            import networkx as nx
        except ImportError as error:
            raise EtudeError("to_networkx needs networkx", "pip install 'etude[graph]'") from error
        graph = nx.MultiDiGraph(statement=self.statement)
        for concept, kind, score in zip(
            self.nodes.tolist(), self.types.tolist(), self.scores.tolist(), strict=True
        ):
            graph.add_node(self.name(concept), concept=concept, type=TYPE_NAMES[kind], score=score)
        labels = [self.name(concept) for concept in self.nodes.tolist()]
        for head, tail, relation in zip(*self.edge_index.tolist(), self.edge_type.tolist(), strict=True):
            graph.add_edge(labels[head], labels[tail], relation=self._relation(relation))
        return graph

    def to_pyg(self) -> Any:
        """A `torch_geometric.data.Data`: `concept`, `node_type`, `score`, `edge_index`, `edge_type`.

        Raises:
            EtudeError: torch-geometric is not installed.
        """
        try:
            from torch_geometric.data import Data
        except ImportError as error:
            raise EtudeError("to_pyg needs torch-geometric", "pip install 'etude[graph]'") from error
        import torch

        return Data(
            concept=torch.from_numpy(self.nodes.astype(np.int64)),
            node_type=torch.from_numpy(self.types.astype(np.int64)),
            score=torch.from_numpy(self.scores.copy()),
            edge_index=torch.from_numpy(self.edge_index.astype(np.int64)),
            edge_type=torch.from_numpy(self.edge_type.astype(np.int64)),
            num_nodes=len(self.nodes),
        )
