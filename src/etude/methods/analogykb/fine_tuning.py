"""Fine-tuning of a pretrained model on rows, a share of which is held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Subset

from etude.methods.analogykb.scorers import Recipe, held_out


def fine_tune(
    model: nn.Module,
    rows: Sequence[Any],
    recipe: Recipe,
    out: Path,
    *,
    collate: Callable[[Sequence[Any]], dict[str, Tensor]],
    label: str,
) -> dict[str, Any]:
    """Train with a warm-up; the weights with the lowest loss on the held-out rows are kept.

    Args:
        model: What is trained; gives a loss for a batch.
        rows: Questions or examples.
        recipe: How.
        out: Folder of its checkpoints.
        collate: Rows to a batch.
        label: What progress is called.

    Returns:
        Steps, training loss and validation loss.
    """
    from etude.training import fit

    train, validation = held_out(len(rows), recipe)
    result = fit(
        model, Subset(rows, train.tolist()),  # type: ignore[arg-type]
        Subset(rows, validation.tolist()) if len(validation) else None,  # type: ignore[arg-type]
        out=out, epochs=recipe.epochs, batch_size=recipe.batch_size, learning_rate=recipe.learning_rate,
        warmup=0.1, seed=recipe.seed, patience=recipe.patience, collate=collate, label=label,
    )  # fmt: skip
    return {
        "steps": result.steps,
        "train_loss": result.train_loss,
        "validation_loss": result.best_eval_loss,
    }
