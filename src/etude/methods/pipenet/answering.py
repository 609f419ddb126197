"""The verbs of a trained network: predict, evaluate, explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.data import write_records
from etude.errors import EtudeError
from etude.evidence import Interval, wilson_interval
from etude.methods import verb
from etude.methods.pipenet.explanation import explanation_sections
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.model_folder import TrainedPipeNet, load_network
from etude.methods.pipenet.network import EDGE_BUDGET, ChoiceResult
from etude.methods.pipenet.preparing import ranking_for
from etude.methods.pipenet.pruned_view import PrunedView
from etude.methods.pipenet.pruning import pruning_words
from etude.methods.pipenet.pruning_sweep import mean_with_interval
from etude.methods.pipenet.questions import Question, read_questions
from etude.methods.pipenet.structural_scorer import shared_accuracy, structural_score
from etude.render import save_page, table


@dataclass(frozen=True)
class PredictResult:
    """What `predict` wrote: the file, how many questions, how many of them without any concept."""

    out: str
    questions: int
    ungrounded: int
    notices: tuple[str, ...] = ()

    def __rich__(self) -> Any:
        """A table and notices."""
        from rich.console import Group

        rows: list[list[Any]] = [
            ["questions", self.questions],
            ["without any concept", self.ungrounded],
            ["file", self.out],
        ]
        return Group(table(["pipenet predict", ""], rows), *self.notices)


@verb
def predict(
    questions: str,
    *,
    graphs: Path,
    model: Path,
    out: Path,
    features: Path | None = None,
    edge_budget: int = EDGE_BUDGET,
) -> PredictResult:
    """Answer questions: a probability for every choice.

    Args:
        questions: The questions (see `ground`).
        graphs: Their subgraphs, pruned as in training.
        model: Folder that `train` wrote.
        out: A `.jsonl` or `.parquet` file.
        features: The concept vectors, if it was trained with a file of them.
        edge_budget: Messages per forward pass at most; bounds memory.
    """
    if out.suffix not in (".jsonl", ".parquet"):
        raise EtudeError(f"{out}: probabilities are lists", "Name the file with .jsonl or .parquet.")
    asked = read_questions(questions)
    found, notices = _answers(asked, graphs, model, features, edge_budget)
    write_records(
        out,
        [
            {
                "id": r.id,
                "choice": r.choice,
                "answer": q.choices[r.choice],
                "probabilities": list(r.probabilities),
            }
            for r, q in zip(found, asked, strict=True)
        ],
    )
    return PredictResult(str(out), len(found), sum(not r.grounded for r in found), notices)


def _answers(
    asked: Sequence[Question], graphs: Path, model: Path, features: Path | None, edge_budget: int
) -> tuple[list[ChoiceResult], tuple[str, ...]]:
    trained, store = load_network(model), GraphStore(graphs)
    vectors = trained.vectors(store, features)
    found = trained.network.predict(asked, store, vectors=vectors, edge_budget=edge_budget)
    return found, pruning_notice(trained, store)


def pruning_notice(trained: TrainedPipeNet, store: GraphStore) -> tuple[str, ...]:
    """Says so when subgraphs are pruned otherwise than in training."""
    before, now = pruning_words(trained.prune), pruning_words(store.meta["prune"])
    return () if before == now else (f"the network was trained on graphs {before}, these are {now}",)


@dataclass(frozen=True)
class EvaluateResult:
    """Accuracy with 95 % intervals.

    Attributes:
        questions: Evaluated ones.
        accuracy: Of the network; None without `--model`.
        structural: Of the scorer without parameters on the same subgraphs, ties shared.
        chance: Mean of 1 / choices.
        ungrounded: Questions without any concept.
        pruning: How the subgraphs were pruned.
        notices: What a reader should know.
    """

    questions: int
    accuracy: Interval | None
    structural: Interval
    chance: float
    ungrounded: int
    pruning: str
    notices: tuple[str, ...] = ()

    def __rich__(self) -> Any:
        """A table and notices."""
        from rich.console import Group

        rows: list[list[Any]] = [["questions", self.questions], ["subgraphs", self.pruning]]
        if self.accuracy is not None:
            rows.append(["accuracy of the network", str(self.accuracy)])
        rows += [
            ["accuracy of the structural scorer", str(self.structural)],
            ["chance", f"{self.chance:.3f}"],
            ["questions without any concept", self.ungrounded],
        ]
        return Group(table(["pipenet evaluate", ""], rows), *self.notices)


@verb
def evaluate(
    questions: str,
    *,
    graphs: Path,
    model: Path | None = None,
    features: Path | None = None,
    edge_budget: int = EDGE_BUDGET,
) -> EvaluateResult:
    """Accuracy of a trained network beside a structural scorer without parameters, and chance.

    Args:
        questions: Questions with `answer`, not those of the training.
        graphs: Their subgraphs, pruned as in training.
        model: Folder that `train` wrote; without it only the structural scorer is measured.
        features: The concept vectors, if it was trained with a file of them.
        edge_budget: Messages per forward pass at most.
    """
    asked = read_questions(questions, answered=True)
    store = GraphStore(graphs)
    seen = [store.of_question(q) for q in asked]
    ties = [
        shared_accuracy([structural_score(g, store.degrees) for g in one], int(q.answer or 0))
        for q, one in zip(asked, seen, strict=True)
    ]
    accuracy: Interval | None = None
    notices: tuple[str, ...] = ()
    if model is not None:
        found, notices = _answers(asked, graphs, model, features, edge_budget)
        right = sum(r.choice == q.answer for r, q in zip(found, asked, strict=True))
        accuracy = wilson_interval(right, len(asked))
    return EvaluateResult(
        len(asked),
        accuracy,
        mean_with_interval(ties),
        float(np.mean([1 / len(q.choices) for q in asked])),
        sum(not any(len(g.nodes) for g in one) for one in seen),
        pruning_words(store.meta["prune"]),
        notices,
    )


@dataclass(frozen=True)
class ExplainResult:
    """The page that was written, and the answer it explains."""

    out: str
    id: str
    answer: str
    probability: float
    right: bool | None

    def __rich__(self) -> Any:
        """A table."""
        return table(["pipenet explain", ""], [[k, v] for k, v in vars(self).items()])


@verb
def explain(
    questions: str,
    *,
    graphs: Path,
    model: Path,
    out: Path,
    id: str | None = None,
    features: Path | None = None,
) -> ExplainResult:
    """Write a page about one question: kept and pruned concepts, attention, triples for a prompt.

    Args:
        questions: The questions (see `ground`).
        graphs: Their subgraphs as `ground` wrote them, *not* pruned; they are pruned here as in the training.
        model: Folder that `train` wrote.
        out: An `.html` file.
        id: Which question; the first by default.
        features: The concept vectors, if it was trained with a file of them.
    """
    asked = read_questions(questions)
    chosen = next((q for q in asked if id is None or q.id == id), None)
    if chosen is None:
        raise EtudeError(
            f"no question has the id {id!r}", f"The first ids: {', '.join(q.id for q in asked[:5])}"
        )
    trained, store = load_network(model), GraphStore(graphs)
    if store.meta["prune"]:
        raise EtudeError(f"{graphs} is pruned already", "Give the folder that ground wrote.")
    result = explain_question(trained, store, chosen, out, trained.vectors(store, features))
    right = None if chosen.answer is None else result.choice == chosen.answer
    return ExplainResult(
        str(out), chosen.id, chosen.choices[result.choice], result.probabilities[result.choice], right
    )


def explain_question(
    trained: TrainedPipeNet, store: GraphStore, question: Question, out: Path, vectors: Any
) -> ChoiceResult:
    """Answer one question and draw how; the page goes to `out`."""
    view = pruned_as(trained.prune, store, trained.network.encoder.name)
    result = trained.network.predict([question], view, vectors=vectors, attention=True)[0]
    sections = explanation_sections(
        question, result, store.of_question(question), pruning_words(trained.prune)
    )
    save_page(out, "pipenet: how a question was answered", sections)
    return result


def pruned_as(prune: Any, store: GraphStore, encoder: str) -> GraphStore:
    """A store pruned the way a network's training was."""
    if not prune:
        return store
    ranking = ranking_for(prune["by"], store, encoder)
    return PrunedView(store, rate=prune["rate"], by=prune["by"], seed=prune["seed"] or 0, ranking=ranking)
