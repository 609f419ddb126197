"""A concept graph on disk as compressed sparse rows, memory-mapped: opening it costs milliseconds.

Row u lists the neighbors of concept u in ascending order, each once. All relations of a pair are bits of one
64-bit mask: bit r for an edge u -> v of relation r, bit R + r for an edge v -> u.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.runs import content_hash, file_hash, read_json

FORMAT = 1
ARRAYS = ("indptr", "indices", "relations", "names", "name_offsets", "name_order")

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ConceptGraph:
    """Concepts and the edges between them.

    Attributes:
        path: Its folder.
        meta: `relations` (merged names), `concepts`, `edges`, `files` (name to size and SHA-256) and how it
            was built.
        indptr: Start of each row, (concepts + 1,) int64.
        indices: Neighbors, (pairs,) int32, ascending within a row.
        masks: Relations of each pair as bits, (pairs,) int64.
        names, name_offsets: UTF-8 names one after the other, and where each begins.
        name_order: Concept ids by name, (concepts,) int32.
    """

    path: Path
    meta: dict[str, Any] = field(repr=False)
    indptr: NDArray[np.int64] = field(repr=False)
    indices: NDArray[np.int32] = field(repr=False)
    masks: NDArray[np.int64] = field(repr=False)
    names: NDArray[np.uint8] = field(repr=False)
    name_offsets: NDArray[np.int64] = field(repr=False)
    name_order: NDArray[np.int32] = field(repr=False)

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = True) -> ConceptGraph:
        """Open what `build-kg` wrote.

        Args:
            path: The folder.
            verify: Also check every file's SHA-256; sizes are always checked.

        Raises:
            EtudeError: Not such a folder, or a file is cut off or changed.
        """
        path = Path(path)
        if not (path / "meta.json").is_file():
            raise EtudeError(
                f"{path}: no concept graph", "Make one: etude pipenet build-kg TRIPLES --out DIR"
            )
        meta = read_json(path / "meta.json")
        if meta.get("format") != FORMAT:
            raise EtudeError(f"{path}: format {meta.get('format')!r}, not {FORMAT}", "Build it again.")
        arrays = {}
        for name in ARRAYS:
            file = path / f"{name}.npy"
            known = meta["files"][name]
            size = file.stat().st_size if file.is_file() else 0
            if size != known["bytes"]:
                raise EtudeError(
                    f"{file}: {size:,} bytes instead of {known['bytes']:,}",
                    "The file is cut off or missing; copy it again or build the graph again.",
                )
            if verify and file_hash(file) != known["sha256"]:
                raise EtudeError(f"{file}: its checksum is wrong", "Copy it again or build the graph again.")
            arrays[name] = np.load(file, mmap_mode="r", allow_pickle=False)
        return cls(
            path,
            meta,
            arrays["indptr"],
            arrays["indices"],
            arrays["relations"],
            arrays["names"],
            arrays["name_offsets"],
            arrays["name_order"],
        )

    def __len__(self) -> int:
        """Number of concepts."""
        return len(self.indptr) - 1

    @property
    def relations(self) -> tuple[str, ...]:
        """Merged relations, by id."""
        return tuple(self.meta["relations"])

    @cached_property
    def hash(self) -> str:
        """Content address of the graph."""
        return content_hash([self.meta["files"], self.meta["relations"]])

    def name(self, concept: int) -> str:
        """The name of a concept, words joined by `_`."""
        start, end = int(self.name_offsets[concept]), int(self.name_offsets[concept + 1])
        return bytes(self.names[start:end]).decode()

    def name_lengths(self, concepts: Ids) -> Ids:
        """Bytes of each name."""
        return np.asarray(self.name_offsets[concepts + 1] - self.name_offsets[concepts])

    def find(self, name: str) -> int | None:
        """The id of a concept by its exact name, or None."""
        wanted, low, high = name.encode(), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            concept = int(self.name_order[middle])
            start, end = int(self.name_offsets[concept]), int(self.name_offsets[concept + 1])
            here = bytes(self.names[start:end])
            if here == wanted:
                return concept
            low, high = (middle + 1, high) if here < wanted else (low, middle)
        return None

    def rows(self, concepts: Ids | Iterable[int]) -> tuple[Ids, Ids]:
        """Where the neighbors of several concepts lie, row after row.

        Args:
            concepts: Ids, (n,).

        Returns:
            Places in `indices` and `masks`, (sum of degrees,), and the length of each row, (n,).
        """
        concepts = np.asarray(concepts, dtype=np.int64)
        starts = np.asarray(self.indptr[concepts])
        lengths = np.asarray(self.indptr[concepts + 1]) - starts
        before = np.cumsum(lengths) - lengths
        return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum())), lengths

    def neighbors(self, concept: int) -> NDArray[np.int32]:
        """Neighbors of one concept, ascending."""
        return np.asarray(self.indices[self.indptr[concept] : self.indptr[concept + 1]])

    def degrees(self, concepts: Ids) -> Ids:
        """Number of distinct neighbors of each concept."""
        return np.asarray(self.indptr[concepts + 1]) - np.asarray(self.indptr[concepts])

    @cached_property
    def _place(self) -> NDArray[np.int32]:
        return np.full(len(self), -1, dtype=np.int32)

    def edges_within(self, concepts: Ids) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """The edges between some concepts, each in its own direction (A[N][:, N] with relations).

        Args:
            concepts: Distinct ids, (n,).

        Returns:
            Head and tail as places in `concepts`, (2, edges), and relation ids 0 .. R-1, (edges,), ordered
            by head, tail's id, relation.
        """
        places, lengths = self.rows(concepts)
        place = self._place
        place[concepts] = np.arange(len(concepts), dtype=np.int32)
        tails = place[self.indices[places]]
        place[concepts] = -1
        inside = tails >= 0
        heads = np.repeat(np.arange(len(concepts), dtype=np.int32), lengths)[inside]
        masks, tails = np.asarray(self.masks[places[inside]]), tails[inside]
        bits = (masks[:, None] >> np.arange(len(self.relations))) & 1  # (pairs, R)
        pair, relation = np.nonzero(bits)
        return np.stack([heads[pair], tails[pair]]), relation.astype(np.int8)
