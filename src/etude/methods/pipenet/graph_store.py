"""Subgraphs on disk: one Arrow file of flat arrays with offsets, memory-mapped, and what made them.

`graphs.arrow` has a row per statement, `concepts.arrow` the name and degree of every concept that occurs, and
`meta.json` the hash of the graph, the parser with its version, hops and how the subgraphs were pruned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.pipenet.questions import Question
from etude.methods.pipenet.subgraph import Subgraph
from etude.runs import atomic_path, content_hash, file_hash, read_json, write_json

_LISTS = {
    "nodes": pa.int32(),
    "types": pa.int8(),
    "scores": pa.float32(),
    "src": pa.int32(),
    "dst": pa.int32(),
    "rel": pa.int8(),
    "span_concept": pa.int32(),
    "span_start": pa.int32(),
    "span_end": pa.int32(),
}
SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("choice", pa.int32()),
        ("statement", pa.string()),
        *((name, pa.list_(kind)) for name, kind in _LISTS.items()),
    ]
)


def as_batch(graphs: Sequence[Subgraph]) -> pa.RecordBatch:
    """Subgraphs as rows of the store."""
    spans = [[(c, s, e) for c, places in g.spans.items() for s, e in places] for g in graphs]
    columns: dict[str, list[Any]] = {
        "nodes": [g.nodes for g in graphs],
        "types": [g.types for g in graphs],
        "scores": [g.scores for g in graphs],
        "src": [g.edge_index[0] for g in graphs],
        "dst": [g.edge_index[1] for g in graphs],
        "rel": [g.edge_type for g in graphs],
        "span_concept": [[c for c, _, _ in one] for one in spans],
        "span_start": [[s for _, s, _ in one] for one in spans],
        "span_end": [[e for _, _, e in one] for one in spans],
    }
    lists = []
    for name, kind in _LISTS.items():
        arrays = [np.asarray(one, dtype=kind.to_pandas_dtype()) for one in columns[name]]
        offsets = np.cumsum([0, *map(len, arrays)]).astype(np.int32)
        flat = np.concatenate(arrays) if arrays else np.zeros(0, dtype=kind.to_pandas_dtype())
        lists.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, type=kind)))
    return pa.record_batch(
        [
            pa.array([g.question_id for g in graphs], pa.string()),
            pa.array([g.choice for g in graphs], pa.int32()),
            pa.array([g.statement for g in graphs], pa.string()),
            *lists,
        ],
        schema=SCHEMA,
    )


def write_arrow(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write record batches as an Arrow file, in one step."""
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


def read_arrow(path: Path) -> pa.Table:
    """An Arrow file, memory-mapped.

    Raises:
        EtudeError: It cannot be read.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowException) as error:
        raise EtudeError(f"{path}: not a readable Arrow file ({error})"[:300], "Ground again.") from error


def write_store(
    folder: Path,
    batches: Iterable[pa.RecordBatch],
    meta: dict[str, Any],
    names: dict[int, str],
    degrees: dict[int, int],
) -> None:
    """Write `graphs.arrow`, `concepts.arrow` and, last, `meta.json`.

    Args:
        folder: Where.
        batches: From `as_batch`.
        meta: Without the files' hashes, which are added.
        names: Of every concept that occurs.
        degrees: Their neighbors in the whole graph.
    """
    write_arrow(folder / "graphs.arrow", SCHEMA, batches)
    ids = sorted(names)
    concepts = pa.record_batch(
        {
            "concept": pa.array(ids, pa.int32()),
            "name": pa.array([names[i] for i in ids], pa.string()),
            "degree": pa.array([degrees[i] for i in ids], pa.int32()),
        }
    )
    write_arrow(folder / "concepts.arrow", concepts.schema, [concepts])
    files = {name: file_hash(folder / name) for name in ("graphs.arrow", "concepts.arrow")}
    write_json(folder / "meta.json", {**meta, "files": files})


class GraphStore:
    """Subgraphs of statements, by place or by question and choice.

    Args:
        folder: What `ground` or `prune` wrote.

    Raises:
        EtudeError: Not such a folder, or a grounding that is not finished.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        if not (self.folder / "meta.json").is_file():
            unfinished = (self.folder / "run.json").is_file()
            raise EtudeError(
                f"{self.folder}: {'grounding is not finished' if unfinished else 'no subgraphs'}",
                "Run the same command again, it goes on."
                if unfinished
                else "Make them: etude pipenet ground",
            )
        self.meta: dict[str, Any] = read_json(self.folder / "meta.json")
        table = read_arrow(self.folder / "graphs.arrow")
        self._chunks = [_flat(batch) for batch in table.to_batches()]
        self._first = np.cumsum([0, *(batch.num_rows for batch in table.to_batches())])
        self._ids: list[str] = table["question_id"].to_pylist()
        self._choices: list[int] = table["choice"].to_pylist()
        self._statements = table["statement"]

    def __len__(self) -> int:
        """Number of statements."""
        return len(self._ids)

    def __iter__(self) -> Iterator[Subgraph]:
        """All subgraphs, in order."""
        return (self[i] for i in range(len(self)))

    def __getitem__(self, place: int) -> Subgraph:
        """The subgraph at a place; its arrays are views of the file."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        chunk = int(np.searchsorted(self._first, place, side="right")) - 1
        row = place - int(self._first[chunk])
        v = {name: flat[start[row] : start[row + 1]] for name, (start, flat) in self._chunks[chunk].items()}
        spans: dict[int, list[tuple[int, int]]] = {}
        for concept, start, end in zip(
            v["span_concept"].tolist(), v["span_start"].tolist(), v["span_end"].tolist(), strict=True
        ):
            spans.setdefault(concept, []).append((start, end))
        return Subgraph(
            v["nodes"],
            v["types"],
            v["scores"],
            np.stack([v["src"], v["dst"]]),
            v["rel"],
            spans,
            self._statements[place].as_py(),
            self._ids[place],
            self._choices[place],
            self.names,
            self.relations,
        )

    @property
    def relations(self) -> tuple[str, ...]:
        """Merged relations, by id."""
        return tuple(self.meta["relations"])

    @cached_property
    def hash(self) -> str:
        """Content address of the subgraphs."""
        return content_hash(self.meta["files"])

    @cached_property
    def _concepts(self) -> pa.Table:
        return read_arrow(self.folder / "concepts.arrow")

    @cached_property
    def concepts(self) -> NDArray[np.int32]:
        """Every concept that occurs, ascending."""
        return np.asarray(self._concepts["concept"].to_numpy())

    @cached_property
    def names(self) -> dict[int, str]:
        """Their names."""
        return dict(zip(self.concepts.tolist(), self._concepts["name"].to_pylist(), strict=True))

    @cached_property
    def degrees(self) -> dict[int, int]:
        """Their neighbors in the whole graph."""
        return dict(zip(self.concepts.tolist(), self._concepts["degree"].to_pylist(), strict=True))

    @cached_property
    def _places(self) -> dict[tuple[str, int], int]:
        return {key: i for i, key in enumerate(zip(self._ids, self._choices, strict=True))}

    def of_question(self, question: Question) -> list[Subgraph]:
        """The subgraphs of a question's choices, in order.

        Raises:
            EtudeError: The question was not grounded, or with other choices.
        """
        places = [self._places.get((question.id, c)) for c in range(len(question.choices))]
        if None in places or (question.id, len(question.choices)) in self._places:
            raise EtudeError(
                f"{self.folder}: question {question.id!r} was not grounded with these "
                f"{len(question.choices)} choices",
                "Ground this file of questions: etude pipenet ground QUESTIONS --kg KG --out DIR",
            )
        return [self[place] for place in places if place is not None]


def _flat(batch: pa.RecordBatch) -> dict[str, tuple[NDArray[np.int32], NDArray[Any]]]:
    """Offsets and values of every list column, without copying."""
    return {
        name: (np.asarray(batch[name].offsets), batch[name].values.to_numpy(zero_copy_only=True))
        for name in _LISTS
    }
