"""Training examples of a sequence-to-sequence model: a template filled with a prefix, and the next id.

The official way reads every prefix of every history in every epoch. Here an epoch samples some positions of
each history and a wording for each, so that the encoder reads a few prefixes per user instead of all, in
batches of near-equal length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from etude.methods.idgen.histories import History
from etude.methods.idgen.templates import TokenTemplate
from etude.methods.idgen.training_batches import IGNORED, EpochBatches, pad_rows


class PromptedExamples(EpochBatches):
    """Prefixes in templates, and their targets.

    Args:
        histories: Training part only.
        tokens: Tokens of each item's textual id, without the end.
        users: Tokens of each user's id.
        templates: Wordings for training.
        end: The token that ends an id.
        padding: The token of padding.
        targets: Positions sampled from each history in an epoch; None takes all (the official way).
        wordings: Templates sampled for each position (paper: 3).
        max_history: The most items that are read.
        epochs: Passes.
        batch_size: Examples of a batch.
        seed: Of order and sampling.
    """

    def __init__(
        self,
        histories: Sequence[History],
        tokens: Mapping[str, Sequence[int]],
        users: Mapping[str, Sequence[int]],
        templates: Sequence[TokenTemplate],
        *,
        end: int,
        padding: int,
        targets: int | None = 1,
        wordings: int = 1,
        max_history: int = 20,
        epochs: int = 1,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        long = [history for history in histories if len(history.items) > 1]
        self.streams = [[list(tokens[item]) for item in history.items] for history in long]
        self.users = [list(users.get(history.user_id, ())) for history in long]
        self.templates = list(templates)
        self.end, self.padding = end, padding
        self.targets, self.wordings, self.max_history = targets, wordings, max_history
        self._places = [np.cumsum([0, *(len(item) + 1 for item in stream)]) for stream in self.streams]
        super().__init__(epochs=epochs, batch_size=batch_size, seed=seed)

    def draw(self, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Examples as (history, position of the target, template)."""
        rows, lengths = [], []
        for number, stream in enumerate(self.streams):
            possible = len(stream) - 1
            count = possible if self.targets is None else min(self.targets, possible)
            places = self._places[number]
            for position in 1 + generator.choice(possible, count, replace=False):
                length = places[position] - places[max(position - self.max_history, 0)]
                some = min(self.wordings, len(self.templates))
                for template in generator.choice(len(self.templates), some, replace=False):
                    rows.append((number, position, template))
                    lengths.append(length)
        return np.array(rows, dtype=np.int64).reshape(-1, 3), np.array(lengths, dtype=np.int64)

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Prompts and masked labels, int64 (rows, longest) each."""
        prompts, labels = [], []
        for number, position, template in rows.tolist():
            history = self.streams[number][max(position - self.max_history, 0) : position]
            prompts.append(self.templates[template].fill(history, self.users[number])[0])
            labels.append([*self.streams[number][position], self.end])
        tokens, mask = pad_rows(prompts, self.padding)
        targets, real = pad_rows(labels, self.padding)
        return {
            "input_ids": tokens,
            "attention_mask": mask,
            "labels": targets.masked_fill(real == 0, IGNORED),
        }
