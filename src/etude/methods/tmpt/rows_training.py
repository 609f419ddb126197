"""Training and asking a network on rows: batches by length, three rates, the epoch with the best macro-F1."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from etude.methods.tmpt.batches import BatchPlan
from etude.methods.tmpt.fusion import TMPTNetwork
from etude.methods.tmpt.metrics import macro_f1
from etude.methods.tmpt.optimizer_groups import check_every_tensor_learns, count_parameters, optimizer_groups
from etude.methods.tmpt.rows import Rows
from etude.methods.tmpt.settings import Training
from etude.runs import processes
from etude.training import fit

EVAL_BATCH = 128


@dataclass(frozen=True)
class FitOutcome:
    """How a training went.

    Attributes:
        epochs: Passes made.
        best_epoch: The one whose weights were kept; the last without validation rows.
        valid_macro_f1: There; None without validation rows.
        trained: Parameters trained.
        total: Parameters of the network.
        gate: The learned gate at the end, where there is one.
        seconds: Wall time of this process's part.
    """

    epochs: int
    best_epoch: int
    valid_macro_f1: float | None
    trained: int
    total: int
    gate: float | None
    seconds: float


def train_rows(
    network: nn.Module,
    rows: Rows,
    train: Sequence[int],
    valid: Sequence[int],
    how: Training,
    *,
    classes: int,
    seed: int,
    out: Path,
    label: str = "tmpt",
) -> FitOutcome:
    """Train a network in place; the same call on the same `out` after a kill goes on and ends the same.

    Args:
        network: Fresh.
        rows: All posts.
        train: Row numbers to train on.
        valid: Row numbers to select the epoch on; empty: the last epoch is kept.
        how: Epochs, rates, batches.
        classes: C.
        seed: Of order and dropout.
        out: Folder of checkpoints.
        label: Shown beside the progress.

    Raises:
        EtudeError: A loss that is not finite.
    """
    started = time.perf_counter()
    lengths = rows.lengths if how.sort_by_length else None
    plan = BatchPlan(train, how.batch_size, how.epochs, seed, lengths)
    devices = max(processes(), torch.cuda.device_count())  # the Trainer gives each of them a batch
    epoch = math.ceil(plan.per_epoch / devices)
    groups = optimizer_groups(network, how)
    check_every_tensor_learns(network, groups, rows.batch(plan[0][:2], pad_to=how.pad_to))
    truth = rows.labels[np.asarray(valid, dtype=np.int64)]

    def score(model: nn.Module) -> float:
        return macro_f1(truth, ask_rows(model, rows, valid).logits.argmax(1), classes)

    result = fit(
        network,
        plan,
        out=out,
        steps=epoch * how.epochs,
        batch_size=1,
        warmup=how.warmup,
        schedule="linear",
        seed=seed,
        save_every=epoch if len(valid) else epoch * how.epochs,
        collate=lambda items: rows.batch([row for item in items for row in item], pad_to=how.pad_to),
        label=label,
        optimizer=lambda _: torch.optim.AdamW(groups),
        shuffle=False,
        score=score if len(valid) else None,
    )
    if isinstance(network, TMPTNetwork):
        _keep_means(network, rows, train)
    trained, total = count_parameters(network)
    gate = getattr(network, "gate", None)
    return FitOutcome(
        epochs=how.epochs,
        best_epoch=(result.best_step or result.steps) // epoch,
        valid_macro_f1=result.best_score,
        trained=trained,
        total=total,
        gate=None if gate is None else float(gate.detach()),
        seconds=round(time.perf_counter() - started, 3),
    )


@dataclass(frozen=True)
class Answers:
    """What a network says about rows; logits are (rows, C)."""

    logits: NDArray[np.float32]
    text_only: NDArray[np.float32]
    image_only: NDArray[np.float32]


def ask_rows(network: nn.Module, rows: Rows, chosen: Sequence[int]) -> Answers:
    """Ask a network, in evaluation mode, in batches of similar length.

    Args:
        network: Any of ours.
        rows: Posts.
        chosen: Row numbers.
    """
    lengths = rows.lengths
    order = list(range(len(chosen)))
    if lengths is not None:
        order.sort(key=lambda i: -int(lengths[chosen[i]]))
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        for start in range(0, len(order), EVAL_BATCH):
            batch = rows.batch([chosen[i] for i in order[start : start + EVAL_BATCH]])
            batch.pop("labels", None)
            found = network(**{name: tensor.to(device) for name, tensor in batch.items()})
            alone = network.alone(found) if isinstance(network, TMPTNetwork) else (found["logits"],) * 2
            parts.append((found["logits"], *alone))
    return Answers(*(_in_order([part[i] for part in parts], order) for i in range(3)))


def _in_order(parts: list[Tensor], order: list[int]) -> NDArray[Any]:
    stacked = torch.cat(parts).float().cpu().numpy()
    found = np.empty_like(stacked)
    found[order] = stacked
    return found


def _keep_means(network: TMPTNetwork, rows: Rows, train: Sequence[int]) -> None:
    """Store the mean projections over the training rows."""
    device = next(network.parameters()).device
    sums: dict[str, Tensor] = {}
    network.eval()
    with torch.no_grad():
        for start in range(0, len(train), EVAL_BATCH):
            batch = rows.batch(list(train[start : start + EVAL_BATCH]))
            batch.pop("labels", None)
            found = network(**{name: tensor.to(device) for name, tensor in batch.items()})
            for name in ("z_text", "z_image"):
                if name in found:
                    sums[name] = sums.get(name, torch.zeros(())) + found[name].sum(0).cpu()
        for name, buffer in (("z_text", network.text_mean), ("z_image", network.image_mean)):
            if name in sums:
                buffer.copy_((sums[name] / len(train)).to(device))
