"""SASRec with full softmax cross-entropy: one vector per item, causal attention over the last items.

Kang and McAuley 2018 (arXiv 1808.09781). They sample one negative per positive; with the softmax over all
items, as here, it is a much stronger baseline (Klenitskiy and Vasilev 2023, arXiv 2309.07602). Settings are
chosen on validation questions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from etude.methods.idgen.baselines import Scorer
from etude.methods.idgen.packed_histories import LATER, PackedItems
from etude.methods.idgen.rank_metrics import rank_metrics, ranks_by_score
from etude.methods.idgen.training_batches import IGNORED, only, pad_rows


@dataclass(frozen=True)
class SASRecSettings:
    """Shape and training.

    Args:
        width: Of vectors.
        layers: Of attention.
        heads: Of attention.
        dropout: On embeddings and in blocks.
        learning_rate: Peak of a one-cycle schedule.
        epochs: Passes.
        batch_size: Windows of a batch.
        max_history: The most items that are read.
    """

    width: int = 64
    layers: int = 2
    heads: int = 2
    dropout: float = 0.2
    learning_rate: float = 3e-3
    epochs: int = 20
    batch_size: int = 64
    max_history: int = 20


class SASRec(nn.Module):
    """The network.

    Args:
        items: How many there are.
        settings: Shape.
    """

    def __init__(self, items: int, settings: SASRecSettings) -> None:
        super().__init__()
        width, dropout = settings.width, settings.dropout
        self.items, self.max_history = items, settings.max_history
        self.item = nn.Embedding(items + 1, width, padding_idx=items)
        self.position = nn.Embedding(settings.max_history + LATER * 2, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, settings.heads, 4 * width, dropout, batch_first=True, norm_first=True
            )
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(width)
        for table in (self.item, self.position):
            nn.init.normal_(table.weight, std=0.02)

    def states(self, items: Tensor, positions: Tensor | None = None) -> Tensor:
        """What is known after each item, (rows, length, width); padding must come last.

        Args:
            items: Item numbers, `self.items` for padding, int64 (rows, length).
            positions: Their places, int64 (rows, length); 0, 1, ... by default.
        """
        length = items.shape[1]
        places = self.position.weight[:length] if positions is None else self.position(positions)
        x = self.dropout(self.item(items) + places)
        ahead = nn.Transformer.generate_square_subsequent_mask(length, device=items.device)
        for block in self.blocks:
            x = block(x, src_mask=ahead, is_causal=True)
        normed: Tensor = self.norm(x)
        return normed

    def forward(self, input_ids: Tensor, labels: Tensor, position_ids: Tensor) -> dict[str, Tensor]:
        """Mean cross-entropy over all items of each next item, in nats."""
        kept = labels != IGNORED
        logits = self.states(input_ids, position_ids)[kept] @ self.item.weight[: self.items].T
        total = F.cross_entropy(logits, labels[kept], reduction="sum")
        return {"loss": total / kept.sum().clamp(min=1)}  # windows of one item have no next one

    @torch.inference_mode()
    def score(self, histories: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Logits of all items after each history, (histories, items)."""
        self.eval()
        device, rows = self.item.weight.device, []
        for start in range(0, len(histories), 512):
            part = [history[-self.max_history :] for history in histories[start : start + 512]]
            tokens, mask = pad_rows(part, self.items)
            states = self.states(tokens.to(device))
            last = states[torch.arange(len(part)), mask.sum(1) - 1]
            rows.append((last @ self.item.weight[: self.items].T).float().cpu().numpy())
        return np.concatenate(rows).astype(np.float64)


def train_sasrec(
    train: Sequence[Sequence[int]],
    items: int,
    settings: SASRecSettings,
    *,
    out: Path,
    seed: int = 0,
    report_to: str = "none",
) -> SASRec:
    """Train on the training histories; the same call resumes after a kill.

    Args:
        train: Item numbers per user.
        items: How many items there are.
        settings: Shape and training.
        out: Folder for checkpoints.
        seed: Of weights, order and dropout.
        report_to: A tracker that transformers knows.
    """
    from etude.training import fit

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SASRec(items, settings)
    data = PackedItems(
        train,
        items,
        max_history=settings.max_history,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=seed,
    )
    fit(
        model,
        data,
        out=out,
        epochs=1,
        batch_size=1,
        learning_rate=settings.learning_rate,
        schedule="onecycle",
        weight_decay=0.01,
        seed=seed,
        save_every=data.per_epoch * 5,
        collate=only,
        report_to=report_to,
        label="SASRec",
    )
    return model.eval()


GRID: tuple[SASRecSettings, ...] = tuple(
    SASRecSettings(dropout=dropout, epochs=epochs) for dropout in (0.2, 0.5) for epochs in (10, 20)
)
"""What is tried."""


def tuned_sasrec(
    train: Sequence[Sequence[int]],
    items: int,
    validation: tuple[Sequence[Sequence[int]], Sequence[int]],
    *,
    out: Path,
    seed: int = 0,
    grid: Sequence[SASRecSettings] = GRID,
) -> tuple[Scorer, dict[str, Any]]:
    """The settings with the best validation NDCG@10, trained.

    Args:
        train: Item numbers per user.
        items: How many items there are.
        validation: Histories and what came next.
        out: Folder for checkpoints.
        seed: Of every trial.
        grid: Settings to try.

    Returns:
        The best one's scores, and what was tried with its validation NDCG@10.
    """
    trials: list[tuple[float, SASRec, SASRecSettings]] = []
    for number, settings in enumerate(grid):
        model = train_sasrec(train, items, settings, out=out / f"trial-{number}", seed=seed)
        ranks = ranks_by_score(validation[1], model.score(validation[0]))
        trials.append((rank_metrics(ranks)["NDCG@10"], model, settings))
    best = max(range(len(trials)), key=lambda number: trials[number][0])
    tried = [{**asdict(settings), "validation NDCG@10": score} for score, _, settings in trials]
    return trials[best][1].score, {"chosen": tried[best], "tried": tried}
