"""Packed training beside one example per position: tokens, and seconds to the same validation NDCG.

One example per position is the official way, and OpenP5's. Both train the same model on the same made-up
histories with the same trainer, rate and schedule. The examples are the growing prefixes of each history,
with the loss on the target alone. They are given 1, 2, 3, ... passes, each a whole training of its own, until
their validation NDCG@10 is that of the packed training.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from etude.methods.idgen.backbones import Backbone, build_backbone
from etude.methods.idgen.histories import History
from etude.methods.idgen.leave_one_out import SeqSplit
from etude.methods.idgen.packed_histories import NextTokenLoss
from etude.methods.idgen.rank_metrics import rank_metrics
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.recommender_training import Training, training_data
from etude.methods.idgen.training_batches import IGNORED, EpochBatches, only, pad_rows
from etude.render import console
from etude.training import fit

RATE, MOST_PASSES = 6e-3, 12


class ExpandedExamples(EpochBatches):
    """One row per position: a prefix and its target, which alone has a loss."""

    def __init__(self, streams: list[list[list[int]]], end: int, *, epochs: int, batch_size: int) -> None:
        self.streams, self.end = streams, end
        super().__init__(epochs=epochs, batch_size=batch_size, seed=0)

    def draw(self, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = [(n, p) for n, stream in enumerate(self.streams) for p in range(1, len(stream))]
        return np.array(rows), np.array([p for _, p in rows])

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        tokens, labels = [], []
        for number, position in rows.tolist():
            stream = self.streams[number][max(position - 20, 0) : position + 1]
            row = [self.end, *(token for item in stream for token in (*item, self.end))]
            tokens.append(row)
            target = len(stream[-1]) + 1
            labels.append([IGNORED] * (len(row) - target) + row[-target:])
        ids, _ = pad_rows(tokens, self.end)
        wanted, real = pad_rows(labels, IGNORED)
        positions = torch.arange(ids.shape[1] - 1).expand(len(ids), -1)
        masked = wanted.masked_fill(real == 0, IGNORED)[:, 1:]
        return {"input_ids": ids[:, :-1], "labels": masked, "position_ids": positions}


def packed_training() -> dict[str, Any]:
    """Tokens and seconds of one pass, and seconds to equal validation NDCG@10."""
    split, ids = made_up_histories(600)
    epochs = 6
    packed = _trained(split, ids, epochs, expanded=False)
    console().print(f"packed: {packed}")
    for passes in range(1, MOST_PASSES + 1):
        expanded = _trained(split, ids, passes, expanded=True)
        console().print(f"expanded, {passes} passes: {expanded}")
        if expanded["validation NDCG@10"] >= packed["validation NDCG@10"]:
            break
    reached = expanded["validation NDCG@10"] >= packed["validation NDCG@10"]
    return {
        "packed": {"passes": epochs, **packed},
        "expanded": {"passes": passes, "reached the same NDCG": reached, **expanded},
        "tokens of a pass, ratio": expanded["tokens of a pass"] / packed["tokens of a pass"],
        "targets a second, ratio": packed["targets a second"] / expanded["targets a second"],
        "seconds to equal NDCG, ratio": expanded["seconds"] / packed["seconds"],
    }


def made_up_histories(users: int, seed: int = 0) -> tuple[SeqSplit, dict[str, str]]:
    """Histories of 6 to 30 events that walk among neighbors in a ring of 300 items with ids of 3 words."""
    rng = np.random.default_rng(seed)
    ids = {f"i{n:03d}": f"a{n // 30} b{n // 5 % 6} c{n % 5}x{n // 30}" for n in range(300)}
    histories = []
    for user in range(users):
        place, items = int(rng.integers(300)), []
        for _ in range(int(rng.integers(6, 31))):
            items.append(f"i{place:03d}")
            place = int(place + rng.choice([1, 2, 3, -1, 40])) % 300
        histories.append(History(user_id=f"u{user}", items=items))
    return SeqSplit.leave_one_out(histories), ids


def _trained(split: SeqSplit, ids: dict[str, str], epochs: int, *, expanded: bool) -> dict[str, float]:
    words = [word for one in ids.values() for word in one.split()]
    backbone: Backbone = build_backbone("causal-tiny", words, longest=96)
    recommender = GenerativeRecommender(backbone, ids)
    data: EpochBatches
    if expanded:
        streams = [[recommender.tokens[item] for item in history.items] for history in split.train]
        data = ExpandedExamples(streams, recommender.end, epochs=epochs, batch_size=64)
    else:
        data = training_data(recommender, split.train, Training(epochs=epochs, batch_size=32))
    first = [data[number] for number in range(data.per_epoch)]
    tokens = sum(batch["input_ids"].numel() for batch in first)
    targets = sum(len(history.items) - (1 if expanded else 0) for history in split.train)
    module: nn.Module = NextTokenLoss(backbone.model)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        fit(
            module,
            data,
            out=Path(folder),
            epochs=1,
            batch_size=1,
            learning_rate=RATE,
            weight_decay=0.01,
            schedule="onecycle",
            save_every=len(data),
            collate=only,
        )
        seconds = time.perf_counter() - started
    ranks = replace(recommender, normalize="allowed").ranks(split.validation)
    return {
        "tokens of a pass": tokens,
        "tokens a second": tokens * epochs / seconds,
        "targets a second": targets * epochs / seconds,
        "seconds": seconds,
        "validation NDCG@10": rank_metrics(ranks)["NDCG@10"],
    }
