"""pipenet: subgraphs from matched concepts against a pairwise networkx implementation, and a step by rate.

Needs the research data (ETUDE_TEST_DATA), spaCy and networkx. The peer is written from the description of the
official preprocessing (see `_pipenet_worker.py`); both get the same matched concepts of CommonsenseQA
statements, one after the other, each in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.costs import step_cost
from etude.methods.pipenet.graph_building import build_graph
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.preparing import ground
from etude.methods.pipenet.relations import qagnn17
from etude.methods.pipenet.subgraph import BRIDGE


def main(*, quick: bool = False) -> dict[str, Any]:
    default = Path(__file__).parents[2] / "shared" / "data"
    data = Path(os.environ.get("ETUDE_TEST_DATA") or default) / "pipenet"
    if not (data / "kg.parquet").is_file():
        raise EtudeError(f"no research data at {data}", "Set ETUDE_TEST_DATA.")
    statements = 100 if quick else 1000
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
        peer = _worker("pairwise", folder, statements)
        ours = _worker("ours", folder, statements)
        if peer["bridges"] != ours["bridges"] or peer["edges"] != ours["edges"]:
            raise AssertionError("the two preprocessings differ")
        places = np.linspace(0, len(store) - 1, 20).astype(int).tolist()
        steps = []
        for rate in (0.0, 0.5, 0.7, 0.9):
            cost = step_cost(folder / "graphs", [places], rate=rate, repeats=2)
            steps.append(
                {
                    "rate": rate,
                    "messages": cost.messages[0],
                    "ms": 1000 * cost.seconds[0],
                    "MB": cost.memory_mb,
                }
            )
        for row in steps:
            row["times as fast as rate 0"] = steps[0]["ms"] / row["ms"]
        return {
            "statements": statements,
            "bridges of all, identical": sum(map(len, ours["bridges"])),
            "pairwise networkx, s": peer["seconds"],
            "ours, s": ours["seconds"],
            "times as fast": peer["seconds"] / ours["seconds"],
            "opening the graph: networkx, s": peer["open_seconds"],
            "opening the graph: ours, s": ours["open_seconds"],
            "peak memory: networkx, MB": peer["peak_mb"],
            "peak memory: ours, MB": ours["peak_mb"],
            "peak memory, share": ours["peak_mb"] / peer["peak_mb"],
            "training step (d = 200, 5 layers, 20 subgraphs)": steps,
        }


def _worker(contender: str, folder: Path, statements: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks._pipenet_worker", contender, str(folder), str(statements)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    found: dict[str, Any] = json.loads(done.stdout)
    return found
