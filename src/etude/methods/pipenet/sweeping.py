"""The verb `sweep`: every criterion at every pruning rate side by side."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.data import write_records
from etude.errors import EtudeError
from etude.evidence import Interval, wilson_interval
from etude.methods import verb
from etude.methods.pipenet.costs import step_cost
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.model_folder import concept_vectors
from etude.methods.pipenet.preparing import ranking_for
from etude.methods.pipenet.pruned_view import PrunedView
from etude.methods.pipenet.pruning import CRITERIA, Criterion, check_rate
from etude.methods.pipenet.pruning_sweep import DRAWS, mean_with_interval, structural_accuracy
from etude.methods.pipenet.questions import read_questions
from etude.methods.pipenet.training import Training, fit_network
from etude.methods.pipenet.training_run import new_network
from etude.models import load_encoder
from etude.models.local_lm import default_device
from etude.render import table
from etude.runs import Run, content_hash


@dataclass(frozen=True)
class SweepRow:
    """One criterion at one rate.

    Attributes:
        by, rate: The cell.
        nodes, nodes_95, edges, messages: Sizes per statement.
        step_ms, memory_mb: Of one training step on a sample of statements (see `step_cost`).
        structural: Accuracy of the structural scorer.
        trained: Accuracy of the network trained in this cell, None without.
    """

    by: str
    rate: float
    nodes: float
    nodes_95: float
    edges: float
    messages: float
    step_ms: float
    memory_mb: float
    structural: Interval
    trained: Interval | None


@dataclass(frozen=True)
class SweepResult:
    """All cells.

    Attributes:
        questions: Evaluated ones.
        rows: The cells.
    """

    questions: int
    rows: tuple[SweepRow, ...]

    def __rich__(self) -> Any:
        """One line per cell."""
        columns = [
            "by",
            "rate",
            "nodes",
            "95 %",
            "edges",
            "messages",
            "step, ms",
            "MB",
            "structural",
            "trained",
        ]
        return table(
            columns, [[str(v) if isinstance(v, Interval) else v for v in vars(r).values()] for r in self.rows]
        )


@verb
def sweep(
    questions: str,
    *,
    graphs: Path,
    out: Path,
    rates: str = "0,0.5,0.7,0.9",
    by: str = "dependency,random",
    train_questions: str | None = None,
    train_graphs: Path | None = None,
    encoder: str = "minilm",
    dim: int = 64,
    layers: int = 2,
    epochs: float = 5,
    batch_size: int = 32,
    sample: int = 40,
    seed: int = 0,
) -> SweepResult:
    """Size, cost and accuracy for every criterion at every pruning rate.

    Finished cells are kept: the same command goes on after a kill.

    Args:
        questions: Questions with `answer`.
        graphs: Their subgraphs as `ground` wrote them, not pruned.
        out: Folder for the run.
        rates: Shares of bridges removed.
        by: Criteria (see `prune`); random is drawn five times for the structural scorer.
        train_questions: With `train_graphs`: also train a network in every cell, on these.
        train_graphs: Their subgraphs, not pruned.
        encoder: Of the networks, and of the criterion `embedding`.
        dim: Width of the networks.
        layers: Their layers.
        epochs: Of each training.
        batch_size: Questions per step.
        sample: Statements in the step whose time and memory are measured.
        seed: Of training and of its random pruning.
    """
    cells = [(c, r) for c in _criteria(by) for r in _rates(rates)]
    asked, store = read_questions(questions, answered=True), GraphStore(graphs)
    if (train_questions is None) != (train_graphs is None):
        raise EtudeError("training needs --train-questions and --train-graphs", "Give both or none.")
    learned = read_questions(train_questions, answered=True) if train_questions else []
    train_store = GraphStore(train_graphs) if train_graphs else None
    how = Training(epochs=epochs, batch_size=batch_size, seed=seed)
    config = {
        "questions": content_hash([q.model_dump() for q in asked]),
        "graphs": store.hash,
        "train": [content_hash([q.model_dump() for q in learned]), train_store.hash if train_store else None],
        "shape": [encoder, dim, layers],
        "training": asdict(how),
        "sample": sample,
    }
    places = np.linspace(0, len(store) - 1, min(sample, len(store))).astype(int).tolist()
    rows = []
    with Run(out, config, command="pipenet sweep") as run:
        loaded = load_encoder(encoder) if train_store or any(c == "embedding" for c, _ in cells) else None

        def measure(criterion: Criterion, rate: float) -> dict[str, Any]:
            ranking = ranking_for(criterion, store, encoder)
            scored, size = structural_accuracy(
                asked, store, rate=rate, by=criterion, seeds=range(DRAWS), ranking=ranking
            )
            costed: Criterion = criterion if criterion in ("dependency", "farthest") else "random"
            cost = step_cost(graphs, [places], rate=rate, by=costed, dim=dim, layers=layers)
            trained = None
            if train_store is not None and loaded is not None:
                views = [
                    PrunedView(
                        s, rate=rate, by=criterion, seed=seed, ranking=ranking_for(criterion, s, encoder)
                    )
                    for s in (train_store, store)
                ]
                network = new_network(loaded, store, None, seed=seed, dim=dim, layers=layers)
                network.to(default_device())
                vectors = concept_vectors(None, [train_store, store], network)
                scratch = run.path / "fit" / f"{criterion}-{rate:g}"
                fit_network(network, learned, views[0], vectors, how, out=scratch)
                found = network.predict(asked, views[1], vectors=vectors)
                shutil.rmtree(scratch, ignore_errors=True)
                right = sum(r.choice == q.answer for r, q in zip(found, asked, strict=True))
                trained = wilson_interval(right, len(asked))
            interval = mean_with_interval(list(scored.values()))
            row = SweepRow(
                criterion,
                rate,
                size.nodes,
                size.nodes_95,
                size.edges,
                size.messages,
                1000 * cost.seconds[0],
                cost.memory_mb,
                interval,
                trained,
            )
            return asdict(row)

        for criterion, rate in cells:
            stored = run.step(f"{criterion}-{rate:g}", lambda c=criterion, r=rate: measure(c, r))  # type: ignore[misc]
            both = {k: Interval(**stored[k]) if stored[k] else None for k in ("structural", "trained")}
            rows.append(SweepRow(**{**stored, **both}))
        result = SweepResult(len(asked), tuple(rows))
        write_records(run.path / "sweep.jsonl", [asdict(row) for row in rows])
    return result


def _rates(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise EtudeError(f"rates {text!r}", "Write numbers from 0 to 1, as 0,0.5,0.9.") from error
    for rate in found:
        check_rate(rate)
    return found


def _criteria(text: str) -> list[Criterion]:
    names = [part.strip() for part in text.split(",")]
    unknown = [name for name in names if name not in CRITERIA]
    if unknown:
        raise EtudeError(f"no criterion {', '.join(unknown)}", f"Choose from {', '.join(CRITERIA)}.")
    return [known for name in names for known in CRITERIA if known == name]
