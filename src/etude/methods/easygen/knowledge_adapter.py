"""The adapter that lets the language model's knowledge shape the text condition of a picture (paper v2).

y_sur = softmax((f_CLIP(y) W^Q) (m W^K)^T / sqrt(d)) m W^V,   m = MLP(f_LLM(y)),
y_0   = lambda y_sur + (1 - lambda) f_CLIP(y),

with two transformer encoder layers on the language model's states before the MLP. The MLP's last layer starts
at zero, weights and bias (ours), so that y_sur starts at zero; (1 - lambda) scales the CLIP states from the
start.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class KnowledgeAdapter(nn.Module):
    """Attention from the text condition to a language model's states.

    Args:
        dim: Width of the condition's states (CLIP: 768).
        llm_dim: Width of the language model's states.
        share: Lambda.
        hidden: Width between the MLP's layers; default: four times `dim` (3072).
    """

    def __init__(self, dim: int, llm_dim: int, share: float = 0.2, hidden: int | None = None) -> None:
        super().__init__()
        self.dim, self.llm_dim, self.share = dim, llm_dim, share
        heads = next(n for n in (8, 4, 2, 1) if llm_dim % n == 0)
        layer = nn.TransformerEncoderLayer(llm_dim, heads, 2048, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.widen = nn.Linear(llm_dim, hidden or 4 * dim)
        self.narrow = nn.Linear(hidden or 4 * dim, dim)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))

    def forward(self, states: Tensor, llm_states: Tensor, mask: Tensor) -> Tensor:
        """The condition's states with the language model's knowledge, (batch, tokens, dim).

        Args:
            states: f_CLIP(y), (batch, tokens, dim).
            llm_states: f_LLM(y), (batch, words, llm_dim).
            mask: 1 where there is a word, (batch, words).
        """
        padding = mask == 0
        known = self.layers(llm_states, src_key_padding_mask=padding)
        known = self.narrow(F.gelu(self.widen(known)))  # (batch, words, dim)
        scores = self.query(states) @ self.key(known).transpose(1, 2) / math.sqrt(self.dim)
        weights = torch.softmax(scores.masked_fill(padding[:, None], float("-inf")), dim=-1)
        mixed: Tensor = self.share * (weights @ self.value(known)) + (1 - self.share) * states
        return mixed
