"""The verb `train`: a reasoner over subgraphs, with a frozen or a tuned encoder."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.data import read_lines
from etude.errors import EtudeError
from etude.evidence import Interval, wilson_interval
from etude.methods import verb
from etude.methods.pipenet.attention_layer import Attention
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.model_folder import concept_vectors, save_network
from etude.methods.pipenet.network import PipeNet
from etude.methods.pipenet.pruning import pruning_words
from etude.methods.pipenet.questions import Question, read_questions
from etude.methods.pipenet.training import Training, fit_network
from etude.models import load_encoder
from etude.models.local_lm import default_device
from etude.render import table
from etude.runs import Run, content_hash, file_hash


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Attributes:
        out: The model folder.
        questions: Trained on.
        steps, best_step: Optimizer steps, and the one whose weights were kept (None: the last).
        train_loss: Mean of the last logged losses.
        held_out: Accuracy on the questions held out, None without.
        parameters: Trained ones.
        pruning: How the subgraphs were pruned.
    """

    out: str
    questions: int
    steps: int
    best_step: int | None
    train_loss: float
    held_out: Interval | None
    parameters: int
    pruning: str

    def __rich__(self) -> Any:
        """A table."""
        held = "–" if self.held_out is None else str(self.held_out)
        rows: list[list[Any]] = [[k.replace("_", " "), v] for k, v in vars(self).items() if k != "held_out"]
        return table(["pipenet train", ""], [*rows, ["held-out accuracy", held]])


@verb
def train(
    questions: str,
    *,
    graphs: Path,
    out: Path,
    encoder: str = "minilm",
    tune: bool = False,
    dim: int = 200,
    layers: int = 5,
    heads: int = 4,
    attention: Attention = "target",
    dropout: float = 0.2,
    features: Path | None = None,
    epochs: float = 15,
    batch_size: int = 64,
    mini_batch: int | None = None,
    edge_budget: int | None = None,
    learning_rate: float = 1e-3,
    encoder_learning_rate: float = 1e-5,
    frozen_epochs: float = 4,
    weight_decay: float = 0.01,
    max_length: int = 128,
    hold_out: float = 0.0,
    ids: Path | None = None,
    seed: int = 0,
) -> TrainResult:
    """Train the reasoner over subgraphs, with a frozen or a tuned encoder.

    The defaults are the paper's. Checkpoints are written every epoch; the same command goes on after a kill
    and ends with the same weights. Under `accelerate launch` it trains on several devices.

    Args:
        questions: Questions with `answer` (see `ground`).
        graphs: Their subgraphs, from `ground` or `prune`.
        out: Folder for the model.
        encoder: `minilm`, a directory or a hub id, e.g. `FacebookAI/roberta-large` (the paper's).
        tune: Train the encoder too; otherwise its vectors are computed once.
        dim: Width of the graph part (paper: 200).
        layers: Its layers (paper: 5); 0: the encoder alone, as a baseline.
        heads: Attention heads in a layer.
        attention: `target`: softmax over the edges that arrive at a node. `source`: as the official code.
        dropout: Everywhere in the graph part.
        features: A .npy with a row per concept id, e.g. the paper's; default: the encoder's vectors of names.
        epochs: Passes over the questions.
        batch_size: Questions per optimizer step.
        mini_batch: Questions per forward pass, where memory is short (paper: 2).
        edge_budget: Messages per forward pass, instead of a number of questions.
        learning_rate: Of the graph part.
        encoder_learning_rate: Of a tuned encoder.
        frozen_epochs: Epochs in which a tuned encoder still rests.
        weight_decay: Decoupled.
        max_length: Tokens of "question [SEP] answer" at most, with a tuned encoder.
        hold_out: Share of the questions kept back, on which the best epoch is chosen.
        ids: A file with a question id a line: train on these alone (e.g. the in-house split).
        seed: Of weights, order and dropout.
    """
    asked = _chosen(read_questions(questions, answered=True), ids)
    if not 0 <= hold_out < 1:
        raise EtudeError(f"hold-out {hold_out}", "A share from 0 to below 1.")
    store = GraphStore(graphs)
    device = default_device()
    loaded = load_encoder(encoder, device=device)
    how = Training(
        epochs,
        batch_size,
        mini_batch,
        edge_budget,
        learning_rate,
        encoder_learning_rate,
        frozen_epochs,
        weight_decay,
        seed=seed,
    )
    order = np.random.default_rng(seed).permutation(len(asked)).tolist()
    kept_back = sorted(order[: round(hold_out * len(asked))])
    held = [asked[i] for i in kept_back]
    learned = [q for i, q in enumerate(asked) if i not in set(kept_back)]
    shape = {"dim": dim, "layers": layers, "heads": heads, "attention": attention, "dropout": dropout}
    config = {
        "questions": content_hash([q.model_dump() for q in asked]),
        "graphs": store.hash,
        "encoder": loaded.revision,
        "tune": tune,
        "shape": shape,
        "training": asdict(how),
        "features": None if features is None else file_hash(features),
        "max_length": max_length,
        "hold_out": hold_out,
    }
    with Run(out, config, command="pipenet train") as run:
        if run.result is None:
            network = new_network(
                loaded, store, features, seed=seed, tune=tune, max_length=max_length, **shape
            ).to(device)
            vectors = concept_vectors(features, [store], network)
            fitted = fit_network(network, learned, store, vectors, how, out=out / "fit", validation=held)
            save_network(
                out,
                network,
                relations=store.relations,
                prune=store.meta["prune"],
                features="encoder" if features is None else features.name,
                facts={"training": asdict(how), "questions": len(learned)},
            )
            accuracy = None
            if held:
                found = network.predict(held, store, vectors=vectors)
                right = sum(r.choice == q.answer for r, q in zip(found, held, strict=True))
                accuracy = wilson_interval(right, len(held))
            trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
            result = TrainResult(
                str(out),
                len(learned),
                fitted.steps,
                fitted.best_step,
                fitted.train_loss,
                accuracy,
                trained,
                pruning_words(store.meta["prune"]),
            )
            run.complete(asdict(result))
            shutil.rmtree(out / "fit", ignore_errors=True)
        stored = dict(run.result or {})
    return TrainResult(
        **{**stored, "held_out": Interval(**stored["held_out"]) if stored["held_out"] else None}
    )


def new_network(
    encoder: Any, store: GraphStore, features: Path | None, *, seed: int, **shape: Any
) -> PipeNet:
    """A fresh network for a store; its weights depend on the seed."""
    import torch

    width = None if features is None else int(np.load(features, mmap_mode="r", allow_pickle=False).shape[1])
    torch.manual_seed(seed)
    return PipeNet(encoder, relations=len(store.relations), concept_dim=width, **shape)


def _chosen(questions: list[Question], ids: Path | None) -> list[Question]:
    if ids is None:
        return questions
    wanted = {line.strip() for line in read_lines(ids) if line.strip()}
    absent = sorted(wanted - {q.id for q in questions})
    if absent:
        raise EtudeError(f"{ids}: no question has the id {', '.join(absent[:5])}", "Check the ids.")
    return [q for q in questions if q.id in wanted]
