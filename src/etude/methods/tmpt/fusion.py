"""Projection, gate and classifier (paper section 4.3), and the whole network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from etude.methods.tmpt.settings import TMPTConfig
from etude.methods.tmpt.text_branch import text_branch
from etude.methods.tmpt.text_prompt import Readout
from etude.methods.tmpt.visual_prompts import image_branch
from etude.models import Encoder, VisionEncoder

GATE = 0.1
"""Where the learned gate starts: a weak visual branch that is let in whole hurts."""


class Projection(nn.Module):
    """Linear, batch norm, LeakyReLU(0.2): (B, d) to (B, m)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, width), nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) to (B, m)."""
        return F.leaky_relu(self.norm(self.linear(x)), 0.2)


class TMPTNetwork(nn.Module):
    """Both branches, projected, fused and classified.

    Attributes:
        text_mean: Mean of the projected texts over the training rows, (m,); what stands for a text when only
            the picture is asked.
        image_mean: The same of the pictures.
    """

    text_mean: Tensor
    image_mean: Tensor

    def __init__(
        self, config: TMPTConfig, text: Encoder, vision: VisionEncoder | None, readout: Readout, classes: int
    ) -> None:
        super().__init__()
        self.branches, self.modality_dropout = config.branches, config.modality_dropout
        m = config.width
        if config.branches != "image":
            self.text = text_branch(config, text, readout)
            self.text_projection = Projection(text.dimension, m)
        if config.branches != "text":
            assert vision is not None
            image: Any = image_branch(config, vision, text.dimension)
            self.image = image
            self.image_projection = Projection(int(image.width), m)
        both = config.branches == "both"
        self.gate = nn.Parameter(torch.tensor(GATE)) if both and config.gate == "learned" else None
        self.classifier = nn.Linear(2 * m if both else m, classes)
        self.register_buffer("text_mean", torch.zeros(m))
        self.register_buffer("image_mean", torch.zeros(m))

    def forward(
        self,
        image: Tensor | None = None,
        target: Tensor | None = None,
        labels: Tensor | None = None,
        text: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        mask_at: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Classify posts.

        Args:
            image: Stored states of pictures, (B, ...).
            target: Embeddings of the target's phrase, (B, d_T).
            labels: (B,).
            text: Vectors of a frozen text encoder, (B, d_T); otherwise tokens:
            input_ids: (B, T).
            attention_mask: (B, T).
            mask_at: Place of the mask, (B,).

        Returns:
            `logits` (B, C); `loss` where there are labels; `z_text`, `z_image`, (B, m), where there are
            branches.
        """
        found: dict[str, Tensor] = {}
        if self.branches != "image":
            found["z_text"] = self.text_projection(
                self.text(text) if text is not None else self.text(input_ids, attention_mask, mask_at)
            )
        if self.branches != "text":
            assert image is not None
            found["z_image"] = self.image_projection(self.image(image, target))
        found["logits"] = self.classify(found.get("z_text"), self._hide_some(found.get("z_image")))
        if labels is not None:
            found["loss"] = F.cross_entropy(found["logits"], labels)
        return found

    def classify(self, z_text: Tensor | None, z_image: Tensor | None) -> Tensor:
        """Projections (B, m) to logits (B, C); the picture's half is scaled by the gate."""
        if z_text is None or z_image is None:
            alone = z_text if z_image is None else z_image
            return self.classifier(alone)  # type: ignore[no-any-return]
        if self.gate is not None:
            z_image = self.gate * z_image
        return self.classifier(torch.cat([z_text, z_image], dim=-1))  # type: ignore[no-any-return]

    def alone(self, found: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits from the text alone and from the picture alone: the other at its mean, (B, C) each."""
        if self.branches != "both":
            return found["logits"], found["logits"]
        text, image = found["z_text"], found["z_image"]
        return (
            self.classify(text, self.image_mean.expand_as(image)),
            self.classify(self.text_mean.expand_as(text), image),
        )

    def _hide_some(self, z_image: Tensor | None) -> Tensor | None:
        if z_image is None or not self.training or not self.modality_dropout:
            return z_image
        kept = torch.rand(len(z_image), 1, device=z_image.device) >= self.modality_dropout
        return z_image * kept


def build_network(
    config: TMPTConfig,
    text: Encoder,
    vision: VisionEncoder | None,
    readout: Readout,
    classes: int,
    seed: int,
) -> TMPTNetwork:
    """A fresh network, drawn from its seed; the random state of the process stays as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TMPTNetwork(config, text, vision, readout, classes)
