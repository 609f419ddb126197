"""Contrastive generation (stage 1 of v2): what the wanted instruction says more than its opposite.

At each step the next token is chosen by l - ω·l̂: l are the logits under the wanted instruction, l̂ those
under the opposite one, both after the same sentence and the same words written so far. Only tokens with
p(l) ≥ 0.1 · max p(l) compete (the plausibility mask of contrastive decoding, Li et al. 2023; ours here).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import LogitsProcessor

OMEGA = 0.3
PLAUSIBILITY = 0.1


def contrast(wanted: Tensor, opposite: Tensor, omega: float, plausibility: float = PLAUSIBILITY) -> Tensor:
    """Scores of the next token.

    Args:
        wanted: Logits under the wanted instruction, (rows, vocabulary).
        opposite: Logits under the opposite one, the same shape.
        omega: Weight of the opposite, 0 or more; with 0 the likeliest token wins, as in greedy decoding.
        plausibility: Tokens less probable than this share of the likeliest one do not compete, in (0, 1].

    Returns:
        Scores, (rows, vocabulary); -inf where a token does not compete.
    """
    floor = wanted.amax(-1, keepdim=True) + math.log(plausibility)
    scores = wanted - omega * opposite if omega else wanted
    return scores.masked_fill(wanted < floor, -torch.inf)


class ContrastiveLogits(LogitsProcessor):
    """The same inside `transformers.generate`: a batch of 2B rows, the wanted streams, then their opposites.

    Both streams of a pair get the same scores, so greedy decoding gives both the same token, and one forward
    pass serves both.

    Args:
        omega: Weight of the opposite.
        plausibility: See `contrast`.
    """

    def __init__(self, omega: float, plausibility: float = PLAUSIBILITY) -> None:
        self.omega, self.plausibility = omega, plausibility

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Replace the logits, (2B, vocabulary), by the contrast, twice."""
        wanted, opposite = scores.chunk(2)
        return contrast(wanted, opposite, self.omega, self.plausibility).repeat(2, 1)
