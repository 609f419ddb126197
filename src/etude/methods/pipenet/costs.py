"""What a training step costs at a pruning rate: time and memory, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from etude.methods.pipenet.pruning import Criterion


@dataclass(frozen=True)
class StepCost:
    """Forward and backward over some subgraphs.

    Attributes:
        messages: Edges of the batch with reverses, context links and self loops.
        seconds: Median wall time of a step, one thread.
        memory_mb: Growth of the process's peak memory over what it held before the first step.
    """

    messages: int
    seconds: float
    memory_mb: float


def step_cost(
    folder: Path,
    places: Sequence[int],
    *,
    rate: float,
    by: Criterion = "dependency",
    dim: int = 200,
    layers: int = 5,
    width: int = 384,
    repeats: int = 3,
) -> StepCost:
    """Measure a reasoner's step on some subgraphs of a store; the features are drawn.

    Args:
        folder: The store, not pruned.
        places: Statements in the batch.
        rate: Share of bridges removed first.
        by: `dependency`, `random` or `farthest`.
        dim: Width of the reasoner.
        layers: Its layers.
        width: Of the features.
        repeats: Steps that are timed, after one that is not.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure, (folder, list(places), rate, by, dim, layers, width, repeats))


def _measure(
    folder: Path,
    places: list[int],
    rate: float,
    by: Criterion,
    dim: int,
    layers: int,
    width: int,
    repeats: int,
) -> StepCost:
    import torch

    from etude.methods.pipenet.graph_batch import batch_graphs
    from etude.methods.pipenet.graph_store import GraphStore
    from etude.methods.pipenet.pruning import prune_graph
    from etude.methods.pipenet.reasoner import Reasoner, ReasonerSettings

    torch.set_num_threads(1)
    torch.manual_seed(0)
    store = GraphStore(folder)
    graphs = [prune_graph(store[i], rate=rate, by=by) for i in places]
    reasoner = Reasoner(ReasonerSettings(len(store.relations), width, width, dim, layers))
    batch = batch_graphs(graphs, None, len(store.relations))
    features = torch.randn(sum(len(g.nodes) for g in graphs), width)
    statement = torch.randn(len(graphs), width)
    before = _peak_mb()
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        logits, _ = reasoner(statement, features, batch)
        logits.sum().backward()
        times.append(time.perf_counter() - started)
    return StepCost(len(batch.kind), float(np.median(times[1:])), _peak_mb() - before)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
