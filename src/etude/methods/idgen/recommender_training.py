"""Training a recommender: packed streams for a causal model, templates for one with an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from etude.errors import EtudeError
from etude.methods.idgen.backbones import Backbone
from etude.methods.idgen.histories import History
from etude.methods.idgen.packed_histories import NextTokenLoss, PackedHistories
from etude.methods.idgen.prompted_examples import PromptedExamples
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.templates import Template, TokenTemplate
from etude.methods.idgen.training_batches import EpochBatches, only


@dataclass(frozen=True)
class Training:
    """How a recommender is trained.

    Args:
        epochs: Passes (paper: 10 in each round).
        batch_size: Histories (packed) or examples (templates) of a batch (paper: 64).
        learning_rate: Peak of a one-cycle schedule (paper: 1e-3).
        weight_decay: AdamW's.
        targets: Positions of each history that an epoch samples for templates; 0 takes all.
        wordings: Templates sampled for each of them (paper: 3).
        seed: Of order, sampling and dropout.
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    targets: int = 2
    wordings: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """How it went.

    Args:
        steps: Optimizer steps.
        loss: Mean training loss at the end, in nats per token.
        resumed_from: The step from which a killed training went on, or None.
    """

    steps: int
    loss: float
    resumed_from: int | None


def fit_recommender(
    recommender: GenerativeRecommender,
    train: Sequence[History],
    how: Training,
    *,
    templates: Sequence[Template] = (),
    out: Path,
    report_to: str = "none",
) -> Trained:
    """Train the recommender's model in place; the same call on the same folder resumes after a kill.

    Args:
        recommender: Its ids are the targets.
        train: Histories without validation and test items.
        how: Epochs, batch, rate.
        templates: Wordings for a model with an encoder; those for training are used.
        out: Folder for checkpoints, one after each epoch.
        report_to: A tracker that transformers knows.

    Raises:
        EtudeError: No history has two items, or the loss is not finite.
    """
    from etude.training import fit

    if not any(len(history.items) > 1 for history in train):
        raise EtudeError(
            "no history has two training items, so there is nothing to predict",
            "Give histories of four events or more.",
        )
    data = training_data(recommender, train, how, templates)
    fitted = fit(
        trained_module(recommender.backbone),
        data,
        out=out,
        epochs=1,
        batch_size=1,
        learning_rate=how.learning_rate,
        weight_decay=how.weight_decay,
        schedule="onecycle",
        seed=how.seed,
        save_every=data.per_epoch,
        collate=only,
        report_to=report_to,
        label="recommender",
    )
    return Trained(fitted.steps, fitted.train_loss, fitted.resumed_from)


def training_data(
    recommender: GenerativeRecommender,
    train: Sequence[History],
    how: Training,
    templates: Sequence[Template] = (),
) -> EpochBatches:
    """The batches of all epochs, in the form that the model takes."""
    if not recommender.backbone.is_seq2seq:
        return PackedHistories(
            [[recommender.tokens[item] for item in history.items] for history in train],
            recommender.end,
            max_history=recommender.max_history,
            epochs=how.epochs,
            batch_size=how.batch_size,
            seed=how.seed,
            longest=recommender.backbone.longest,
        )
    tokenizer = recommender.backbone.tokenizer
    return PromptedExamples(
        train,
        recommender.tokens,
        {history.user_id: recommender.user_tokens(history.user_id) for history in train},
        [TokenTemplate(one, tokenizer, recommender.dataset) for one in templates if one.seen],
        end=recommender.end,
        padding=recommender.padding,
        targets=how.targets or None,
        wordings=how.wordings,
        max_history=recommender.max_history,
        epochs=how.epochs,
        batch_size=how.batch_size,
        seed=how.seed,
    )


def trained_module(backbone: Backbone) -> nn.Module:
    """The model with its loss."""
    model: nn.Module = backbone.model
    return model if backbone.is_seq2seq else NextTokenLoss(model)
