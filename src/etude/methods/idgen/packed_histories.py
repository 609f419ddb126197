"""Packed training of a causal model: a history is one stream of ids, and every token of it is a target.

    </s> id </s> id </s> id </s>

A history of n items costs one row instead of n - 1 rows of growing prefixes. A history that is longer than
the window is cut into windows at a place that changes with the epoch, so every event is a target once an
epoch, after at most `max_history` items. A history at test time is two items longer than in training, so rows
begin at a random position up to two items from the first: no position is met untrained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from etude.methods.idgen.training_batches import IGNORED, EpochBatches, pad_rows

LATER = 2
"""Items by which a history grows from training to test."""


class PackedHistories(EpochBatches):
    """Windows of histories as rows of tokens.

    Args:
        streams: For each user the tokens of each item's id, without ends; training part only.
        end: The token that ends an id.
        max_history: Items that precede the last one of a window.
        epochs: Passes.
        batch_size: Windows of a batch.
        seed: Of order and cuts.
        longest: Tokens of a window at most; what is beyond is cut off.
    """

    def __init__(
        self,
        streams: Sequence[Sequence[Sequence[int]]],
        end: int,
        *,
        max_history: int = 20,
        epochs: int = 1,
        batch_size: int = 64,
        seed: int = 0,
        longest: int | None = None,
    ) -> None:
        self.longest = longest
        self.streams = [stream for stream in streams if len(stream)]
        self.end, self.window = end, max_history + 1
        self._widest = max((len(item) + 1 for stream in self.streams for item in stream), default=1)
        self._places = [np.cumsum([0, *(len(item) + 1 for item in stream)]) for stream in self.streams]
        super().__init__(epochs=epochs, batch_size=batch_size, seed=seed)

    def draw(self, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Windows as (history, first item, one more than the last, first position).

        A long history begins with a part of a window.
        """
        rows = []
        for number, stream in enumerate(self.streams):
            spare = -len(stream) % self.window  # so many places of its windows would stay empty
            first = -int(generator.integers(spare + 1)) if len(stream) > self.window else 0
            for start in range(first, len(stream), self.window):
                rows.append((number, max(start, 0), min(start + self.window, len(stream))))
        lengths = [self._places[n][stop] - self._places[n][start] for n, start, stop in rows]
        sizes = np.array(lengths, dtype=np.int64)
        most = np.full_like(sizes, LATER * self._widest)
        if self.longest is not None:
            most = np.clip(self.longest - sizes, 0, most)
        shifts = generator.integers(0, most + 1)
        return np.column_stack([np.array(rows, dtype=np.int64), shifts]), sizes

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Streams, what follows each token, and positions, padded on the right, int64 (rows, longest - 1)."""
        streams = []
        for number, start, stop, _ in rows.tolist():
            stream = [self.end]
            for item in self.streams[number][start:stop]:
                stream += [*item, self.end]
            streams.append(stream[: None if self.longest is None else self.longest + 1])
        tokens, mask = pad_rows(streams, self.end)
        return next_token_batch(tokens, mask, rows[:, 3])


def next_token_batch(tokens: Tensor, mask: Tensor, shifts: NDArray[np.int64]) -> dict[str, Tensor]:
    """Inputs, labels and positions of rows that are padded on the right, int64 (rows, length - 1) each."""
    labels = tokens[:, 1:].masked_fill(mask[:, 1:] == 0, IGNORED)
    first = torch.from_numpy(shifts)[:, None]
    last = first + mask.sum(1, keepdim=True) - 2  # of the last input that has a label
    positions = torch.minimum(first + torch.arange(tokens.shape[1] - 1), last.clamp(min=0))
    return {"input_ids": tokens[:, :-1], "labels": labels, "position_ids": positions}


class NextTokenLoss(nn.Module):
    """A causal model with its loss on every token that is not padding.

    No attention mask is needed: padding comes last, where causal attention never looks.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, labels: Tensor, position_ids: Tensor) -> dict[str, Tensor]:
        """Mean cross-entropy in nats; only rows with a label are projected to the vocabulary."""
        states = self.model.base_model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        kept = labels != IGNORED
        logits = self.model.get_output_embeddings()(states[kept])  # (targets, vocabulary)
        return {"loss": F.cross_entropy(logits.float(), labels[kept])}


class PackedItems(PackedHistories):
    """Windows of histories as rows of item numbers, for models with one vector per item.

    Args:
        histories: Item numbers per user, training part only.
        items: How many there are; this number is padding.
        max_history: Items that precede the last one of a window.
        epochs: Passes.
        batch_size: Windows of a batch.
        seed: Of order and cuts.
    """

    def __init__(
        self,
        histories: Sequence[Sequence[int]],
        items: int,
        *,
        max_history: int = 20,
        epochs: int = 1,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(
            [[[item] for item in history] for history in histories],
            items,
            max_history=max_history,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
        )

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Items, what follows each, and positions, padded on the right, int64 (rows, longest - 1) each."""
        windows = [[item for (item,) in self.streams[n][start:stop]] for n, start, stop, _ in rows.tolist()]
        items, mask = pad_rows(windows, self.end)
        if items.shape[1] == 1:  # histories of one item have nothing that follows
            items, mask = F.pad(items, (0, 1), value=self.end), F.pad(mask, (0, 1))
        return next_token_batch(items, mask, rows[:, 3])
