"""One contender of the pipenet benchmark in a process of its own, so that its peak memory is its own.

    python -m benchmarks._pipenet_worker ours|pairwise FOLDER STATEMENTS

`pairwise` is written from the description of the official preprocessing: a networkx graph in memory; the
neighbor sets of every ordered pair of matched concepts are intersected; every pair of nodes is asked for an
edge; a dense array per relation; everything is kept in a list and pickled.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._peak import peak_mb
from benchmarks._worker_rounds import serve

Work = Callable[[], tuple[list[list[int]], list[int]]]


def main(contender: str, folder: Path, statements: int) -> None:
    """Open the graph, then do all statements as often as asked."""
    matched = [np.array(row) for row in json.loads((folder / "matched.json").read_text())[:statements]]
    started = time.process_time()
    work = (_ours if contender == "ours" else _pairwise)(folder, matched)
    opened = time.process_time() - started

    def measured() -> dict[str, Any]:
        started = time.process_time()
        bridges, edges = work()
        seconds = time.process_time() - started
        return {"seconds": seconds, "peak_mb": peak_mb(), "bridges": bridges, "edges": edges}

    serve({"seconds": opened}, measured)


def _ours(folder: Path, matched: list[Any]) -> Work:
    from etude.methods.pipenet.bridges import two_hop
    from etude.methods.pipenet.concept_graph import ConceptGraph

    kg = ConceptGraph.open(folder / "kg")

    def work() -> tuple[list[list[int]], list[int]]:
        bridges, edges = [], []
        for concepts in matched:
            found = two_hop(kg, concepts)
            ends, _ = kg.edges_within(np.concatenate([concepts, found]))
            bridges.append(found.tolist())
            edges.append(int(ends.shape[1]))
        return bridges, edges

    return work


def _pairwise(folder: Path, matched: list[Any]) -> Work:
    import networkx as nx

    triples = np.load(folder / "triples.npy")  # head, relation, tail
    relations = int(triples[:, 1].max()) + 1
    whole, simple = nx.MultiDiGraph(), nx.Graph()
    for head, relation, tail in triples.tolist():
        whole.add_edge(head, tail, rel=relation)
        simple.add_edge(head, tail)

    def work() -> tuple[list[list[int]], list[int]]:
        bridges, edges, kept = [], [], []
        for concepts in matched:
            extra: set[int] = set()
            ids = concepts.tolist()
            for a in ids:
                for b in ids:
                    if a != b and a in simple and b in simple:
                        extra |= set(simple[a]) & set(simple[b])
            extra -= set(ids)
            nodes = [*ids, *sorted(extra)]
            dense = np.zeros((relations, len(nodes), len(nodes)), dtype=np.uint8)
            for i, head in enumerate(nodes):
                for j, tail in enumerate(nodes):
                    if whole.has_edge(head, tail):
                        for data in whole[head][tail].values():
                            dense[data["rel"], i, j] = 1
            bridges.append(sorted(extra))
            edges.append(int(dense.sum()))
            kept.append((nodes, dense))
        with tempfile.TemporaryFile() as handle:
            pickle.dump(kept, handle)
        return bridges, edges

    return work


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
