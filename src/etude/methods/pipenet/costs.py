"""What a training step costs at a pruning rate: time and memory, measured in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etude.methods.pipenet.pruning import Criterion


@dataclass(frozen=True)
class StepCost:
    """Forward and backward over batches of subgraphs.

    Attributes:
        messages: Edges of each batch with reverses, context links and self loops.
        seconds: Processor time of a step on each batch, one thread, the best of the repeats.
        memory_mb: Peak of the process's resident memory over what it held before the first step.
    """

    messages: tuple[int, ...]
    seconds: tuple[float, ...]
    memory_mb: float


def step_cost(
    folder: Path,
    batches: Sequence[Sequence[int]],
    *,
    rate: float,
    by: Criterion = "dependency",
    dim: int = 200,
    layers: int = 5,
    width: int = 384,
    repeats: int = 2,
) -> StepCost:
    """Measure a reasoner's step on some subgraphs of a store; the features are drawn.

    Args:
        folder: The store, not pruned.
        batches: Statements in each batch.
        rate: Share of bridges removed first.
        by: `dependency`, `random` or `farthest`.
        dim: Width of the reasoner.
        layers: Its layers.
        width: Of the features.
        repeats: Steps on each batch that are timed, after one that is not.
    """
    context = multiprocessing.get_context("spawn")
    places = [list(batch) for batch in batches]
    with context.Pool(1) as pool:
        return pool.apply(_measure, (folder, places, rate, by, dim, layers, width, repeats))


def _measure(
    folder: Path,
    batches: list[list[int]],
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
    reasoner = Reasoner(ReasonerSettings(len(store.relations), width, width, dim, layers))
    messages, seconds = [], []
    held = _start_peak()
    for places in batches:
        graphs = [prune_graph(store[i], rate=rate, by=by) for i in places]
        batch = batch_graphs(graphs, None, len(store.relations))
        features = torch.randn(sum(len(g.nodes) for g in graphs), width)
        statement = torch.randn(len(graphs), width)
        times = []
        for _ in range(repeats + 1):
            started = time.process_time()
            logits, _ = reasoner(statement, features, batch)
            logits.sum().backward()
            times.append(time.process_time() - started)
        messages.append(len(batch.kind))
        seconds.append(min(times[1:]))
    return StepCost(tuple(messages), tuple(seconds), max(0.0, _peak_mb() - held))


def _start_peak() -> float:
    """Let the peak begin anew where the system can (Linux); returns the memory held now, in MB."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    """Peak resident memory in MB; on Linux since `_start_peak`."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024**2 if sys.platform == "darwin" else 1024)
