"""Training: RAdam, a rate of its own for the encoder, which rests at first (paper section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import TrainerCallback

from etude.errors import EtudeError
from etude.methods.pipenet.graph_batch import by_budget
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.network import PipeNet
from etude.methods.pipenet.questions import Question
from etude.methods.pipenet.vectors import ConceptVectors, statement_vectors
from etude.training import FitResult, fit


@dataclass(frozen=True)
class Training:
    """How to train. Defaults are the paper's for CommonsenseQA.

    Attributes:
        epochs: Passes over the questions.
        batch_size: Questions per optimizer step.
        mini_batch: Questions per forward pass; the whole batch when left out (paper: 2).
        edge_budget: Messages per forward pass instead of a number of questions.
        learning_rate: Of the graph part.
        encoder_learning_rate: Of a tuned encoder.
        frozen_epochs: Epochs in which a tuned encoder still rests.
        weight_decay: Decoupled, not on norms and biases.
        clip: Largest gradient norm.
        seed: Of weights, order and dropout.
    """

    epochs: float = 15
    batch_size: int = 64
    mini_batch: int | None = None
    edge_budget: int | None = None
    learning_rate: float = 1e-3
    encoder_learning_rate: float = 1e-5
    frozen_epochs: float = 4
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0


class QuestionPacks(Dataset[list[int]]):
    """Items are lists of questions that share a forward pass."""

    def __init__(self, packs: Sequence[list[int]]) -> None:
        self._packs = packs

    def __len__(self) -> int:
        """Number of packs."""
        return len(self._packs)

    def __getitem__(self, place: int) -> list[int]:
        """One pack: places of questions."""
        return self._packs[place]


class Thaw(TrainerCallback):
    """Lets the encoder rest for the first steps."""

    def __init__(self, network: PipeNet, steps: int) -> None:
        self._network, self._steps = network, steps

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Before each optimizer step: is it late enough?"""
        self._network.language_frozen = state.global_step < self._steps


def radam(network: nn.Module, how: Training) -> torch.optim.Optimizer:
    """RAdam with decoupled weight decay; the encoder has its own rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    norms = (nn.LayerNorm, nn.BatchNorm1d)
    plain = {id(p) for m in network.modules() if isinstance(m, norms) for p in m.parameters()}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = id(parameter) not in plain and not name.endswith("bias")
            groups.setdefault((name.startswith("language."), decays), []).append(parameter)
    return torch.optim.RAdam(
        [
            {
                "params": parameters,
                "lr": how.encoder_learning_rate if language else how.learning_rate,
                "weight_decay": how.weight_decay if decays else 0.0,
            }
            for (language, decays), parameters in groups.items()
        ],
        lr=how.learning_rate,
        decoupled_weight_decay=True,
    )


def fit_network(
    network: PipeNet,
    questions: Sequence[Question],
    store: GraphStore,
    vectors: ConceptVectors,
    how: Training,
    *,
    out: Path,
    validation: Sequence[Question] = (),
) -> FitResult:
    """Train a network in place; a checkpoint and an evaluation every epoch.

    Args:
        network: Ours.
        questions: With answers.
        store: Subgraphs of all questions.
        vectors: Features of concepts.
        how: Settings.
        out: Folder for checkpoints.
        validation: Questions on which the best epoch is chosen.

    Raises:
        EtudeError: An answer is missing, a question was not grounded, or a size is not positive.
    """
    everything = [*questions, *validation]
    for q in everything:
        if q.answer is None:
            raise EtudeError(
                f"question {q.id!r} has no answer", "Training needs the index of the right choice."
            )
    if how.batch_size < 1 or (how.mini_batch is not None and how.mini_batch < 1):
        raise EtudeError(f"batch size {how.batch_size}, mini batch {how.mini_batch}", "Both are at least 1.")
    graphs = {q.id: store.of_question(q) for q in everything}
    statements = None if network.tune else statement_vectors(everything, network.encoder)

    def collate(packs: list[list[int]]) -> dict[str, Any]:
        chosen = [everything[i] for pack in packs for i in pack]
        return network.inputs(chosen, [graphs[q.id] for q in chosen], vectors, statements)

    packs = [[i] for i in range(len(questions))]
    size = min(how.mini_batch or how.batch_size, how.batch_size)
    accumulate = max(1, round(how.batch_size / size))
    if how.edge_budget is not None:
        order = np.random.default_rng(how.seed).permutation(len(questions)).tolist()
        loads = [sum(g.messages for g in graphs[questions[i].id]) for i in order]
        packs = [[order[i] for i in places] for places in by_budget(loads, how.edge_budget)]
        accumulate = max(1, round(how.batch_size * len(packs) / max(1, len(questions))))
        size = 1
    per_epoch = max(1, math.ceil(math.ceil(len(packs) / size) / accumulate))
    held_out = [[len(questions) + i] for i in range(len(validation))]
    callbacks = [Thaw(network, round(how.frozen_epochs * per_epoch))] if network.tune else []
    return fit(
        network,
        QuestionPacks(packs),
        QuestionPacks(held_out) if held_out else None,
        out=out,
        epochs=how.epochs,
        batch_size=size,
        accumulate=accumulate,
        learning_rate=how.learning_rate,
        schedule="constant",
        clip=how.clip,
        seed=how.seed,
        save_every=per_epoch,
        collate=collate,
        optimizer=lambda module: radam(module, how),
        callbacks=callbacks,
        label="pipenet",
    )
