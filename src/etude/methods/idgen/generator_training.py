"""A tiny id generator of one's own: a T5 that learns to write given ids from items' texts.

The official code starts from a T5 that was tuned to write tags of articles. Without such a model this gives
alternation a generator to start from: it copies the keyword ids, and writes ids of its own from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from etude.methods.idgen.backbones import Backbone
from etude.methods.idgen.items import Item
from etude.methods.idgen.through_recommender import text_tokens_of
from etude.methods.idgen.training_batches import IGNORED, EpochBatches, only, pad_rows
from etude.methods.idgen.trie import token_rows


class NamedTexts(EpochBatches):
    """Items' texts, and the ids to write.

    Args:
        texts: Tokens of each item's text.
        ids: Tokens of each item's id, without the end.
        end: The token that ends an id.
        padding: The token of padding.
        epochs: Passes.
        batch_size: Items of a batch.
        seed: Of the order.
    """

    def __init__(
        self,
        texts: Sequence[Sequence[int]],
        ids: Sequence[Sequence[int]],
        *,
        end: int,
        padding: int,
        epochs: int,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        self.texts, self.ids, self.end, self.padding = texts, ids, end, padding
        super().__init__(epochs=epochs, batch_size=batch_size, seed=seed)

    def draw(self, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each item once, in any order."""
        rows = np.arange(len(self.texts), dtype=np.int64)
        return rows, np.array([len(text) for text in self.texts], dtype=np.int64)

    def batch(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Texts and masked labels, int64 (rows, longest) each."""
        tokens, mask = pad_rows([self.texts[row] for row in rows], self.padding)
        labels, real = pad_rows([[*self.ids[row], self.end] for row in rows], self.padding)
        return {"input_ids": tokens, "attention_mask": mask, "labels": labels.masked_fill(real == 0, IGNORED)}


def teach_ids(
    generator: Backbone,
    items: Mapping[str, Item],
    ids: Mapping[str, str],
    *,
    epochs: int,
    learning_rate: float = 5e-3,
    text_tokens: int = 256,
    seed: int = 0,
    out: Path,
) -> float:
    """Train a generator in place to write the given ids, and return its last training loss in nats a token.

    Args:
        generator: A sequence-to-sequence model whose tokenizer knows the words of the ids.
        items: The catalogue.
        ids: Item id to textual id.
        epochs: Passes.
        learning_rate: Peak of a one-cycle schedule.
        text_tokens: Tokens of an item's text that are read.
        seed: Of order and dropout.
        out: Folder for checkpoints.
    """
    from etude.training import fit

    tokenizer = generator.tokenizer
    data = NamedTexts(
        text_tokens_of([items[name] for name in ids], tokenizer, text_tokens),
        token_rows(ids, tokenizer),
        end=int(tokenizer.eos_token_id),
        padding=int(tokenizer.pad_token_id),
        epochs=epochs,
        seed=seed,
    )
    fitted = fit(
        generator.model,
        data,
        out=out,
        epochs=1,
        batch_size=1,
        learning_rate=learning_rate,
        schedule="onecycle",
        seed=seed,
        save_every=data.per_epoch,
        collate=only,
        label="id generator",
    )
    return fitted.train_loss
