"""pipenet: subgraphs from matched concepts against a pairwise networkx implementation, and a step by rate.

Needs the research data (ETUDE_TEST_DATA), spaCy and networkx. The peer is written from the description of the
official preprocessing (see `_pipenet_worker.py`); both get the same matched concepts of CommonsenseQA
statements, one after the other, each in a process of its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks._comparison import Comparison, Figure, Worker, ratios
from benchmarks._peers import NETWORKX
from etude.errors import EtudeError
from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.costs import step_cost
from etude.methods.pipenet.graph_building import build_graph
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.preparing import ground
from etude.methods.pipenet.relations import qagnn17
from etude.methods.pipenet.subgraph import BRIDGE

PEERS = (NETWORKX,)


def main(*, full: bool, repetitions: int) -> Comparison:
    """Subgraphs of 200 statements (`full`: 1,000) by both, and a training step at four rates of pruning."""
    default = Path(__file__).parents[2] / "shared" / "data"
    data = Path(os.environ.get("ETUDE_TEST_DATA") or default) / "pipenet"
    if not (data / "kg.parquet").is_file():
        raise EtudeError(f"no research data at {data}", "Set ETUDE_TEST_DATA.")
    statements = 1000 if full else 200
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build_graph(data / "kg.parquet", folder / "kg", qagnn17(), lenient=True)
        lines = (data / "csqa_dev_a.jsonl").read_text().splitlines()[: statements // 5]
        (folder / "questions.jsonl").write_text("\n".join(lines))
        ground(str(folder / "questions.jsonl"), kg=folder / "kg", out=folder / "graphs", most_nodes=10**6)
        store = GraphStore(folder / "graphs")
        matched = [g.nodes[g.types != BRIDGE].tolist() for g in store]
        (folder / "matched.json").write_text(json.dumps(matched))
        kg = ConceptGraph.open(folder / "kg")
        ends, relation = kg.edges_within(np.arange(len(kg)))
        np.save(folder / "triples.npy", np.stack([ends[0], relation, ends[1]], axis=1).astype(np.int32))
        figures, details = subgraphs(folder, statements, repetitions)
        step, rates = training_step(folder, store, repetitions)
    return Comparison([*figures, step], (), details | {"a step of 20 subgraphs, d = 200, 5 layers": rates})


def subgraphs(folder: Path, statements: int, repetitions: int) -> tuple[list[Figure], dict[str, Any]]:
    """Bridges and edges of each statement's concepts: seconds in turn, and the memory of each process."""
    root, where = Path(__file__).parents[1], [str(folder), str(statements)]
    rounds: dict[str, list[dict[str, Any]]] = {"pairwise": [], "ours": []}
    workers = {
        name: Worker(
            [sys.executable, "-m", "benchmarks._pipenet_worker", name, *where],
            environment=os.environ,
            cwd=root,
        )
        for name in rounds
    }
    for _ in range(repetitions):
        for name, worker in workers.items():
            rounds[name].append(worker.round())
    for worker in workers.values():
        worker.close()
    peer, ours = rounds["pairwise"], rounds["ours"]
    if peer[-1]["bridges"] != ours[-1]["bridges"] or peer[-1]["edges"] != ours[-1]["edges"]:
        raise AssertionError("the two preprocessings differ")
    seconds = {name: [one["seconds"] for one in many] for name, many in rounds.items()}
    memory = {name: many[-1]["peak_mb"] for name, many in rounds.items()}
    work, name = f"subgraphs of {statements:,} statements", "pairwise sets of networkx, as published"
    figures = [
        Figure(work, name, "processor seconds", ratios(seconds["pairwise"], seconds["ours"]), 10),
        Figure(work, name, "peak MB", (memory["pairwise"] / memory["ours"],), 3),
    ]
    return figures, {
        "bridges of all, identical": sum(map(len, ours[-1]["bridges"])),
        **{f"{name}, s": median(taken) for name, taken in seconds.items()},
        **{f"{name}, opening the graph, s": worker.ready["seconds"] for name, worker in workers.items()},
        **{f"{name}, peak MB": peak for name, peak in memory.items()},
    }


def training_step(folder: Path, store: GraphStore, repetitions: int) -> tuple[Figure, list[dict[str, Any]]]:
    """Seconds and memory of a step by rate of pruning, the rates in turn."""
    places = np.linspace(0, len(store) - 1, 20).astype(int).tolist()
    costs: dict[float, list[Any]] = {rate: [] for rate in (0.0, 0.5, 0.7, 0.9)}
    for _ in range(repetitions):
        for rate, found in costs.items():
            found.append(step_cost(folder / "graphs", [places], rate=rate, repeats=2))
    seconds = {rate: [one.seconds[0] for one in found] for rate, found in costs.items()}
    rows = [
        {"rate": rate, "messages": found[-1].messages[0], "ms": 1000 * median(seconds[rate]),
         "MB": found[-1].memory_mb}
        for rate, found in costs.items()
    ]  # fmt: skip
    gain = ratios(seconds[0.0], seconds[0.9])
    return Figure(
        "a training step, nine tenths pruned", "ours, nothing pruned", "wall seconds", gain, 4
    ), rows
