"""Continuous integrate-and-fire (Dong & Xu 2020): weights add up, and a vector is fired at each whole one.

Frame t covers the stretch from the sum before it to the sum after it; vector k is the sum of the frames
weighted by how much of their stretch lies between k and k + 1, which splits a frame at the boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.speech_translation.length_adapters import LengthAdapter, register_length_adapter
from etude.methods.speech_translation.lengths import length_mask


def integrate_and_fire(x: Tensor, alpha: Tensor, counts: Tensor) -> Tensor:
    """Fire vectors.

    Args:
        x: (B, T, d).
        alpha: Weights, (B, T), zero behind each length.
        counts: How many vectors to fire, (B,).

    Returns:
        (B, max(counts), d).
    """
    after = alpha.cumsum(1)  # (B, T)
    before = after - alpha
    k = torch.arange(int(counts.max()), device=x.device)[None, :, None]
    share = torch.minimum(after[:, None], k + 1.0) - torch.maximum(before[:, None], k.to(alpha.dtype))
    return share.clamp(min=0) @ x  # (B, N, T) @ (B, T, d)


@register_length_adapter("cif")
class IntegrateAndFire(LengthAdapter):
    """Weights from a convolution, scaled in training so that as many vectors fire as units are spoken.

    Args:
        width: d of the features.
        unit: What a vector stands for: `character` or `word` of the transcript.
        kernel: Frames that the convolution sees.
        weight: Of the quantity loss, the mean of |sum of weights - units| per unit.
    """

    needs_transcripts = True

    def __init__(
        self,
        width: int,
        unit: Literal["character", "word"] = "character",
        kernel: int = 5,
        weight: float = 0.3,
    ) -> None:
        super().__init__(width)
        if unit not in ("character", "word"):
            raise EtudeError(f"the length adapter 'cif' has no unit {unit!r}", "character or word.")
        self.unit, self.weight = unit, weight
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.score = nn.Linear(width, 1)

    def weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """alpha_t = sigmoid(linear(relu(conv(x)))), (B, T), zero behind each length."""
        real = length_mask(lengths, x.shape[1])
        states = torch.relu(self.conv((x * real.unsqueeze(-1)).transpose(1, 2))).transpose(1, 2)
        alpha: Tensor = self.score(states).squeeze(-1).sigmoid()
        return alpha * real

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As many vectors as the weights sum to (a rest of a half or more fires too), at least one."""
        alpha = self.weights(x, lengths)
        counts = torch.minimum((alpha.sum(1) + 0.5).floor().long().clamp(min=1), lengths)
        return integrate_and_fire(x, alpha, counts), counts

    def supervised(
        self, x: Tensor, lengths: Tensor, transcripts: Sequence[str | None]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Exactly one vector per unit, and the quantity loss."""
        alpha = self.weights(x, lengths)
        units = [len(t or "") if self.unit == "character" else len((t or "").split()) for t in transcripts]
        counts = torch.minimum(torch.tensor(units, device=x.device).clamp(min=1), lengths)
        total = alpha.sum(1)
        quantity = ((total - counts).abs() / counts).mean()
        scaled = alpha * (counts / total.clamp(min=1e-6)).unsqueeze(1)
        return integrate_and_fire(x, scaled, counts), counts, self.weight * quantity
