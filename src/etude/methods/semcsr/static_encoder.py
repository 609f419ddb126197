"""`static`: a language model's token-embedding table, centered, PCA to 256, as a weighted mean of tokens.

- A token's weight, a / (a + p) with its share p of the corpus (Arora et al. 2017), is folded into its row,
  and a cosine does not see the length of a mean: so the encoder is one `StaticEmbedding` of
  sentence-transformers.
- Training moves only the rows of tokens that the corpus holds (`TokenTable`); tokens are dropped at random,
  which is also what makes two views of one sentence differ in unsupervised SimCSE.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import InputModule, StaticEmbedding
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.models import CausalLM

DIMENSION = 256
_COMMON = 1e-3  # the constant a


def static_embedding(lm: CausalLM, corpus: Sequence[str], dimension: int = DIMENSION) -> StaticEmbedding:
    """The untrained encoder.

    Args:
        lm: The language model whose input embeddings are used.
        corpus: Sentences that say which tokens occur and how often.
        dimension: Length of a vector.

    Raises:
        EtudeError: The dimension is larger than the model's.
    """
    table = lm.model.get_input_embeddings().weight.detach().float().cpu()  # type: ignore[operator]
    if not 1 <= dimension <= table.shape[1]:
        raise EtudeError(
            f"dimension {dimension}: {lm.name}'s embeddings have {table.shape[1]}", "Give a smaller one."
        )
    counts = torch.zeros(len(table))
    for ids in lm.tokenizer(list(corpus), add_special_tokens=False)["input_ids"]:
        counts.index_add_(0, torch.tensor(ids, dtype=torch.long), torch.ones(len(ids)))
    held = table[counts > 0] if int((counts > 0).sum()) > dimension else table
    center = held.mean(0)
    _, vectors = torch.linalg.eigh((held - center).T @ (held - center))  # columns, ascending
    weights = _COMMON / (_COMMON + counts / counts.sum().clamp(min=1))  # (vocabulary,)
    projected = (table - center) @ vectors[:, -dimension:] * weights[:, None]
    return StaticEmbedding(lm.tokenizer, projected.contiguous())


class TokenTable(InputModule):  # type: ignore[misc]
    """A `StaticEmbedding` in training: only the rows of the corpus's tokens are parameters.

    Args:
        static: The encoder to train.
        corpus: The training texts.
        dropout: Share of tokens left out at random in training; at least one of a text stays.
    """

    def __init__(self, static: StaticEmbedding, corpus: Sequence[str], dropout: float) -> None:
        super().__init__()
        self.static, self.dropout = static, dropout
        self.static.requires_grad_(False)
        table = static.embedding.weight.detach()
        encodings = static.tokenizer.encode_batch(list(corpus), add_special_tokens=False)
        self.known = {text: encoding.ids for text, encoding in zip(corpus, encodings, strict=True)}
        held = sorted({token for ids in self.known.values() for token in ids})
        self.register_buffer("tokens", torch.tensor(held, dtype=torch.long), persistent=False)
        place = torch.full((len(table),), -1, dtype=torch.long)
        place[self.tokens] = torch.arange(len(held))
        self.register_buffer("place", place, persistent=False)
        self.rows = nn.Parameter(table[self.tokens].clone())  # (trained tokens, dimension)

    def preprocess(self, inputs: list[str], prompt: str | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """Token ids of all texts in a row, and where each text begins; a text is tokenized once."""
        texts = [f"{prompt}{text}" for text in inputs] if prompt else inputs
        if new := [text for text in dict.fromkeys(texts) if text not in self.known]:
            encodings = self.static.tokenizer.encode_batch(new, add_special_tokens=False)
            self.known |= {text: encoding.ids for text, encoding in zip(new, encodings, strict=True)}
        rows = [self.known[text] for text in texts]
        offsets = torch.tensor([0, *(len(row) for row in rows[:-1])]).cumsum(0)
        return {
            "input_ids": torch.tensor([i for row in rows for i in row], dtype=torch.long),
            "offsets": offsets,
        }

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Adds `sentence_embedding`, (texts, dimension): the sum of each text's token rows."""
        ids, offsets = features["input_ids"], features["offsets"]
        place = self.place[ids]
        vectors = nn.functional.embedding(place.clamp(min=0), self.rows)  # (tokens, dimension)
        if bool((place < 0).any()):
            vectors = torch.where(place[:, None] < 0, self.static.embedding.weight[ids], vectors)
        ends = torch.cat([offsets[1:], offsets.new_tensor([len(ids)])])
        text = torch.repeat_interleave(torch.arange(len(offsets), device=ids.device), ends - offsets)
        if self.training and self.dropout > 0:
            draws = torch.rand(len(ids), device=ids.device)
            kept = draws >= self.dropout
            best = torch.zeros(len(offsets), device=ids.device).scatter_reduce(0, text, draws, "amax")
            kept |= draws == best[text]  # a text keeps its luckiest token
            vectors = vectors * kept[:, None]
        pooled = vectors.new_zeros(len(offsets), vectors.shape[1])
        features["sentence_embedding"] = pooled.index_add(0, text, vectors)
        return features

    def get_embedding_dimension(self) -> int:
        """Length of a vector."""
        return int(self.rows.shape[1])

    def merged(self) -> StaticEmbedding:
        """The trained encoder as a plain `StaticEmbedding`."""
        table = self.static.embedding.weight.detach().clone()
        table[self.tokens] = self.rows.detach()
        return StaticEmbedding(self.static.tokenizer, table)

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Written as the plain encoder."""
        self.merged().save(output_path, safe_serialization=safe_serialization)


class StaticEncoder:
    """The encoder's two forms: in training and finished.

    Args:
        plain: The untrained encoder.
        dropout: Share of tokens left out in training.
    """

    kind = "static"

    def __init__(self, plain: StaticEmbedding, dropout: float) -> None:
        self.static, self.dropout = plain, dropout

    def plain(self) -> SentenceTransformer:
        """The untrained encoder."""
        return SentenceTransformer(modules=[self.static], device="cpu")

    def training_model(self, texts: Sequence[str], work: Path) -> SentenceTransformer:
        """The encoder in training on these texts."""
        return SentenceTransformer(modules=[TokenTable(self.static, texts, self.dropout)], device="cpu")

    def finished(self, trained: SentenceTransformer) -> SentenceTransformer:
        """The trained encoder, of plain sentence-transformers modules."""
        return SentenceTransformer(modules=[trained[0].merged()], device="cpu")
