"""The face of a retriever, and retrievers by name.

A retriever turns normalized texts into vectors whose inner products are scores; its index finds the best
entities exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from etude.errors import EtudeError
from etude.methods.bioelqa.top_owners import Top
from etude.runs import read_json, write_json

_KIND = "retriever.json"


class NameIndex(Protocol):
    """Names that can be searched."""

    def top(
        self, queries: Any, n: int, excluded: Sequence[np.ndarray | Sequence[int]] | None = None
    ) -> list[Top]:
        """The n best owners of each query, ties in the order of owners; `excluded` names are not used."""


class Retriever(Protocol):
    """Texts to vectors to candidates."""

    name: str

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the vectors besides the names, as JSON."""

    def fit(self, names: Sequence[str]) -> None:
        """Learn from the names what the vectors need (document frequencies; nothing for an encoder)."""

    def encode(self, texts: Sequence[str]) -> Any:
        """Normalized texts to rows."""

    def index(self, vectors: Any, owners: np.ndarray) -> NameIndex:
        """Search over encoded names."""

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an existing folder."""


def retriever_by_name(name: str) -> Retriever:
    """`tfidf`, or an encoder: `hf:DIR`, `hf:org/name`, `hf:minilm` (the `hf:` may be left out).

    Raises:
        EtudeError: There is no such model.
    """
    if name == "tfidf":
        from etude.methods.bioelqa.ngram_retriever import CharNgram

        return CharNgram()
    from etude.methods.bioelqa.bi_encoder import BiEncoder

    return BiEncoder(name.removeprefix("hf:"))


def save_retriever(retriever: Retriever, folder: Path) -> None:
    """Write a retriever with its kind."""
    folder.mkdir(parents=True, exist_ok=True)
    retriever.save(folder)
    write_json(folder / _KIND, {"kind": retriever.name})


def load_retriever(folder: Path) -> Retriever:
    """Read what `save_retriever` wrote."""
    kind = read_json(folder / _KIND)["kind"]
    if kind == "tfidf":
        from etude.methods.bioelqa.ngram_retriever import CharNgram

        return CharNgram.load(folder)
    if kind == "bi-encoder":
        from etude.methods.bioelqa.bi_encoder import BiEncoder

        return BiEncoder.load(folder)
    raise EtudeError(f"{folder / _KIND}: retriever of the unknown kind {kind!r}", "Train or index again.")
