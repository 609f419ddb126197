"""A small transformer over the set of options: no positions, so the answer cannot depend on the order.

Lee et al., "Set Transformer", ICML 2019 (self-attention blocks over a set). With `attention=False` every
option is scored alone: the pointwise reranker.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 64
HEADS = 4
LAYERS = 2
DROPOUT = 0.1


class SetTransformer(nn.Module):
    """Features of options to one logit each.

    Args:
        features: Features of an option.
        attention: Whether options see each other.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, *, attention: bool = True) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.enter = nn.Sequential(nn.Linear(features, WIDTH), nn.GELU(), nn.Dropout(DROPOUT))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, "gelu", batch_first=True)
            if attention
            else _Alone()
            for _ in range(LAYERS)
        )
        self.leave = nn.Linear(WIDTH, 1)

    def standardize(self, values: Tensor, there: Tensor) -> None:
        """Take mean and spread of every feature from the training options."""
        real = values[there]
        self.mean.copy_(real.mean(0))
        self.spread.copy_(real.std(0).clamp(min=1e-3))

    def logits(self, values: Tensor, there: Tensor) -> Tensor:
        """One logit for each option, minus infinity for padding.

        Args:
            values: (questions, options, features).
            there: Which options are real, (questions, options).

        Returns:
            (questions, options).
        """
        states = self.enter((values - self.mean) / self.spread)
        for block in self.blocks:
            states = block(states, src_key_padding_mask=~there)
        found: Tensor = self.leave(states).squeeze(-1).masked_fill(~there, -torch.inf)
        return found

    def forward(self, values: Tensor, there: Tensor, gold: Tensor) -> dict[str, Tensor]:
        """Cross-entropy of the right option."""
        return {"loss": nn.functional.cross_entropy(self.logits(values, there), gold)}


class _Alone(nn.Module):
    """The same width of computation without looking at other options."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(2 * WIDTH, WIDTH)
        )
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, states: Tensor, src_key_padding_mask: Tensor) -> Tensor:
        """(questions, options, width) to the same shape."""
        found: Tensor = self.norm(states + self.inner(states))
        return found
