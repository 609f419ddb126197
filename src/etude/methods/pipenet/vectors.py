"""Vectors of concepts and of statements, computed once and kept, or read from the user's file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.data.store import cache_root, locked
from etude.errors import EtudeError
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.questions import Question, encoder_texts
from etude.methods.pipenet.subgraph import Subgraph
from etude.models import Encoder
from etude.render import console
from etude.runs import atomic_path, content_hash


def encode_cached(texts: Sequence[str], encoder: Encoder, what: str) -> NDArray[np.float32]:
    """Unit vectors of texts, (texts, dimension), memory-mapped from the cache.

    Args:
        texts: Any strings.
        encoder: Its revision is part of the address.
        what: Said while it takes time.
    """
    key = content_hash([encoder.revision, encoder.pooling, encoder.max_length, list(texts)])[:24]
    path = cache_root() / "pipenet" / "vectors" / f"{key}.npy"
    with locked(f"pipenet-vectors-{key}"):
        if not path.exists():
            if len(texts) > 2000:
                console().print(f"pipenet: {len(texts):,} {what} through {encoder.name} (once)")
            with atomic_path(path) as temporary:
                np.save(temporary, encoder.encode(texts), allow_pickle=False)
    found: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


@dataclass(frozen=True)
class ConceptVectors:
    """Frozen features of concepts.

    Attributes:
        concepts: Ascending concept ids that have a row; None when row k is concept k.
        matrix: (rows, width); what an encoder gave is scaled to entries of about one.
        origin: Where the vectors come from, for the record.
    """

    concepts: NDArray[np.int32] | None
    matrix: NDArray[np.float32]
    origin: str

    @classmethod
    def encoded(cls, stores: Sequence[GraphStore], encoder: Encoder) -> ConceptVectors:
        """Vectors of the names of all concepts that occur in some stores."""
        names = {concept: name for store in stores for concept, name in store.names.items()}
        ids = np.array(sorted(names), dtype=np.int32)
        texts = [names[i].replace("_", " ") for i in ids.tolist()]
        vectors = encode_cached(texts, encoder, "concepts") * np.sqrt(encoder.dimension)
        return cls(ids, vectors.astype(np.float32), f"encoder {encoder.revision}")

    @classmethod
    def from_file(cls, path: Path, stores: Sequence[GraphStore]) -> ConceptVectors:
        """Rows by concept id from a NumPy file, e.g. the paper's `tzw.ent.npy`.

        Raises:
            EtudeError: It is no matrix, or a concept id lies beyond its rows.
        """
        try:
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise EtudeError(
                f"{path}: not a readable .npy file ({error})"[:300], "Save it with numpy.save."
            ) from error
        top = max((int(s.concepts[-1]) for s in stores if len(s.concepts)), default=-1)
        if matrix.ndim != 2 or top >= len(matrix):
            raise EtudeError(
                f"{path}: shape {matrix.shape}, but the graphs have the concept id {top}",
                "Row k must be the vector of concept k: build the graph with their --vocabulary.",
            )
        return cls(None, matrix, f"file {path.name}")

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.matrix.shape[1])

    def rows(self, concepts: NDArray[np.int32]) -> NDArray[np.float32]:
        """Vectors of some concepts, (n, width).

        Raises:
            EtudeError: A concept has none.
        """
        place: NDArray[Any] = concepts.astype(np.int64)
        if self.concepts is not None:
            place = np.searchsorted(self.concepts, concepts)
            absent = place >= len(self.concepts)
            place[absent] = 0
            if len(concepts) and (absent.any() or (self.concepts[place] != concepts).any()):
                raise EtudeError("a concept has no vector", "Compute the vectors for these graphs.")
        elif len(concepts) and int(concepts.max()) >= len(self.matrix):
            raise EtudeError(
                f"concept id {int(concepts.max())} is beyond the {len(self.matrix)} rows of the vectors",
                "Row k must be the vector of concept k.",
            )
        return np.asarray(self.matrix[place], dtype=np.float32)

    def of(self, graphs: Sequence[Subgraph]) -> Tensor:
        """Features of all nodes of graphs, in order, (nodes, width)."""
        return torch.from_numpy(self.rows(np.concatenate([g.nodes for g in graphs])))


def statement_vectors(questions: Sequence[Question], encoder: Encoder) -> dict[str, NDArray[np.float32]]:
    """Question id to the frozen vectors s of its choices, (choices, dimension), entries of about one."""
    texts = encoder_texts(questions, separator_of(encoder))
    flat = np.asarray(encode_cached(texts, encoder, "statements")) * np.float32(np.sqrt(encoder.dimension))
    cuts = np.cumsum([len(q.choices) for q in questions])[:-1]
    return {q.id: one for q, one in zip(questions, np.split(flat, cuts), strict=True)}


def separator_of(encoder: Encoder) -> str:
    """The encoder's separator token as text."""
    return str(encoder.tokenizer.sep_token or "")


class StoreRanking:
    """Similarities and degrees for pruning by `embedding` and `degree`.

    Args:
        store: Of the subgraphs.
        encoder: For similarities; not needed for degrees.
    """

    def __init__(self, store: GraphStore, encoder: Encoder | None = None) -> None:
        self._degrees = store.degrees
        self._vectors: ConceptVectors | None = None
        if encoder is not None:
            self._vectors = ConceptVectors.encoded([store], encoder)
            statements = [g.statement for g in store]
            distinct = list(dict.fromkeys(statements))
            encoded = encode_cached(distinct, encoder, "statements")
            self._statements = dict(zip(distinct, encoded, strict=True))

    def similarity(self, graph: Subgraph) -> NDArray[np.float64]:
        """Cosine of each node's concept with the statement, (n,)."""
        if self._vectors is None:
            raise ValueError("similarity needs an encoder")
        vectors = self._vectors.rows(graph.nodes) / np.sqrt(self._vectors.width)
        return np.asarray(vectors @ self._statements[graph.statement], dtype=np.float64)

    def degrees(self, graph: Subgraph) -> NDArray[np.float64]:
        """Neighbors of each node in the whole graph, (n,)."""
        return np.array([self._degrees[int(c)] for c in graph.nodes], dtype=np.float64)
