"""Training the bi-encoder (paper: retriever; InfoNCE with in-batch and mined negatives).

L = -1/B Σ log( e^{s(m_i,p_i)/τ} / (e^{s(m_i,p_i)/τ} + Σ_negatives e^{s(m_i,n)/τ}) )

Negatives of a pair are the batch's names of *other* ids and the hard negatives mined for it: the best names
of other ids in the current top-k, mined again before every epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from etude.errors import EtudeError
from etude.methods.bioelqa.bi_encoder import BiEncoder
from etude.methods.bioelqa.normalization import normalize
from etude.methods.bioelqa.vocabulary import Vocabulary
from etude.models.encoder import pool
from etude.training import FitResult, fit


@dataclass(frozen=True)
class ContrastiveSettings:
    """How the bi-encoder is trained; the paper's own values were not found.

    Args:
        epochs: Passes over the pairs.
        batch_size: B.
        temperature: τ.
        hard_negatives: Mined names for each pair.
        learning_rate: Of AdamW.
    """

    epochs: int = 1
    batch_size: int = 64
    temperature: float = 0.05
    hard_negatives: int = 8
    learning_rate: float = 2e-5


def contrastive_loss(
    mentions: Tensor, names: Tensor, mention_ids: Tensor, name_ids: Tensor, temperature: float
) -> Tensor:
    """The loss of one batch; name i of the first B is the positive of mention i.

    Args:
        mentions: Unit vectors, (B, d).
        names: Unit vectors, (B + hard negatives, d).
        mention_ids: Entity of each mention, (B,).
        name_ids: Entity of each name, (B + hard negatives,).
        temperature: τ.
    """
    logits = mentions @ names.T / temperature  # (B, names)
    rows = torch.arange(len(mentions), device=logits.device)
    same = mention_ids[:, None] == name_ids[None, :]
    same[rows, rows] = False  # the positive itself stays
    return nn.functional.cross_entropy(logits.masked_fill(same, -torch.inf), rows)


class _Pairs(Dataset[Any]):
    def __init__(self, items: list[tuple[str, str, int, list[tuple[str, int]]]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class _Contrast(nn.Module):
    """Encoder with the loss."""

    def __init__(self, retriever: BiEncoder, temperature: float) -> None:
        super().__init__()
        self.encoder: Any = retriever.encoder.model
        self.pooling = retriever.encoder.pooling
        self.temperature = temperature

    def forward(self, mentions: Any, names: Any, mention_ids: Tensor, name_ids: Tensor) -> dict[str, Tensor]:
        first, second = self._vectors(mentions), self._vectors(names)
        return {"loss": contrastive_loss(first, second, mention_ids, name_ids, self.temperature)}

    def _vectors(self, tokens: Any) -> Tensor:
        states = self.encoder(**tokens).last_hidden_state
        return nn.functional.normalize(pool(states, tokens["attention_mask"], self.pooling), dim=-1)


def train_bi_encoder(
    retriever: BiEncoder,
    vocabulary: Vocabulary,
    pairs: Sequence[tuple[str, str]],
    *,
    out: Path,
    settings: ContrastiveSettings | None = None,
    seed: int = 0,
) -> FitResult:
    """Train the retriever in place; a killed training goes on from its last epoch.

    Args:
        retriever: The encoder to train.
        vocabulary: Without learned names.
        pairs: (mention, id), ids in the vocabulary.
        out: Folder for checkpoints, one for each epoch.
        settings: How.
        seed: Of order, dropout and the choice of positives.

    Raises:
        EtudeError: No pair has an id of the vocabulary.
    """
    how = settings or ContrastiveSettings()
    known = [(normalize(m), vocabulary.place[i]) for m, i in pairs if i in vocabulary and normalize(m)]
    if not known:
        raise EtudeError("no training pair has an id of the vocabulary", "Check ids and vocabulary.")
    table = vocabulary.names
    first_row = np.searchsorted(table.owners, np.arange(len(vocabulary) + 1))
    model = _Contrast(retriever, how.temperature)
    result: FitResult | None = None
    for epoch in range(how.epochs):
        hard = mine_hard_negatives(retriever, vocabulary, known, how.hard_negatives)
        generator = np.random.default_rng([seed, epoch])
        items = []
        for (mention, place), negatives in zip(known, hard, strict=True):
            row = int(generator.integers(first_row[place], first_row[place + 1]))
            items.append((mention, table.texts[row], place, negatives))
        result = fit(
            model,
            _Pairs(items),
            out=out / f"epoch-{epoch}",
            epochs=1,
            batch_size=how.batch_size,
            learning_rate=how.learning_rate,
            schedule="constant",
            seed=seed + epoch,
            collate=_Collate(copy.copy(retriever.encoder.tokenizer), retriever.encoder.max_length),
            label=f"retriever, epoch {epoch + 1} of {how.epochs}",
        )
    model.eval()
    retriever.trained = True
    assert result is not None
    return result


def mine_hard_negatives(
    retriever: BiEncoder, vocabulary: Vocabulary, pairs: Sequence[tuple[str, int]], count: int
) -> list[list[tuple[str, int]]]:
    """For each (mention, place of its entity) the best names of other entities under the current encoder."""
    if not count:
        return [[] for _ in pairs]
    retriever.encoder.model.train(False)
    table = vocabulary.names
    index = retriever.index(retriever.encode(table.texts), table.owners)
    tops = index.top(retriever.encode([mention for mention, _ in pairs]), count + 1)
    return [
        [
            (table.texts[row], int(owner))
            for owner, row in zip(top.owners, top.rows, strict=True)
            if owner != place
        ][:count]
        for (_, place), top in zip(pairs, tops, strict=True)
    ]


class _Collate:
    """Items to token batches: mentions, then positives followed by all hard negatives."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length

    def __call__(self, items: list[Any]) -> dict[str, Any]:
        hard = [negative for item in items for negative in item[3]]
        names = [item[1] for item in items] + [name for name, _ in hard]
        places = [item[2] for item in items]
        return {
            "mentions": self._tokens([item[0] for item in items]),
            "names": self._tokens(names),
            "mention_ids": torch.tensor(places),
            "name_ids": torch.tensor(places + [place for _, place in hard]),
        }

    def _tokens(self, texts: list[str]) -> dict[str, Tensor]:
        made = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        return dict(made)
