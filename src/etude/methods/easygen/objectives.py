"""What the network is trained for: joint diffusion, BiDiffuser's two clean conditionals, or one of them.

Joint (UniDiffuser): both sides noised, each at a time of its own. BiDiffuser (EasyGen, section 3.1): one side
is clean and the other is noised,

    L_d = E |e_x - e^_x(x_t, y_0, t, 0)|^2 + alpha E |e_y - e^_y(x_0, y_t, 0, t)|^2,   t ~ U{1..T},

both directions in every batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from etude.methods.easygen.noise_schedule import NoiseSchedule
from etude.methods.easygen.uvit import UViT

Objective = Literal["joint", "bi", "i2t", "t2i"]


@dataclass(frozen=True)
class LossWeights:
    """How the parts of the loss are weighed.

    Args:
        alpha: Weight of the text beside the picture.
        latent: Weight of the picture grid beside the CLIP vector (the released script has 1.2).
        clean_side: Weight of the demand that the clean side be recognized as clean (0 in the paper, 1 in the
            released script).
    """

    alpha: float = 1.0
    latent: float = 1.0
    clean_side: float = 0.0


@dataclass(frozen=True)
class Latents:
    """A batch of pairs as the network sees them.

    Args:
        image: (batch, channels, size, size).
        clip: (batch, 1, clip_dim) or None.
        text: (batch, text_tokens, text_dim).
    """

    image: Tensor
    clip: Tensor | None
    text: Tensor


def diffusion_loss(
    network: UViT,
    schedule: NoiseSchedule,
    clean: Latents,
    objective: Objective,
    *,
    weights: LossWeights = LossWeights(),
    direction_mix: float = 0.5,
    high_noise: float = 1.0,
) -> Tensor:
    """The loss of a batch, a scalar.

    Args:
        network: The noise network.
        schedule: The noise.
        clean: The pairs.
        objective: `joint`, `bi`, `i2t` (pictures to text) or `t2i`.
        weights: Of the parts.
        direction_mix: With `bi`, the share of the batch that is trained from text to picture.
        high_noise: Times are T u^(1 / high_noise), u uniform: 1 is uniform, more prefers high noise.
    """
    batch = len(clean.text)
    t_image, t_text = draw_times(batch, schedule.steps, objective, direction_mix, high_noise)
    t_image, t_text = t_image.to(clean.text.device), t_text.to(clean.text.device)
    noise = Latents(
        torch.randn_like(clean.image),
        None if clean.clip is None else torch.randn_like(clean.clip),
        torch.randn_like(clean.text),
    )
    told = 1 - schedule.first_index  # what the network is told is below the time by this
    said = network(
        schedule.noised(clean.image, noise.image, t_image),
        None if clean.clip is None else schedule.noised(clean.clip, _there(noise.clip), t_image),
        schedule.noised(clean.text, noise.text, t_text),
        (t_image - told).clamp(min=0),
        (t_text - told).clamp(min=0),
    )

    def part(
        estimate: Tensor | None, side: Tensor, noise_of_side: Tensor, t: Tensor, weight: float
    ) -> Tensor:
        error = (
            F.mse_loss(_there(estimate), schedule.target(side, noise_of_side, t), reduction="none")
            .flatten(1)
            .mean(1)
        )  # (batch,)
        noised = (t > 0).float()
        return weight * (_mean(error, noised) + weights.clean_side * _mean(error, 1 - noised))

    loss = part(said.image, clean.image, noise.image, t_image, weights.latent)
    if clean.clip is not None:
        loss = loss + part(said.clip, clean.clip, _there(noise.clip), t_image, 1.0)
    return loss + part(said.text, clean.text, noise.text, t_text, weights.alpha)


def draw_times(
    batch: int, steps: int, objective: Objective, direction_mix: float, high_noise: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Times of the picture and of the text for each row, (batch,) twice: 0 on a clean side, else 1..T.

    In joint training one side of each row, by lot, prefers high noise and the other, its condition, has any.
    """
    preferred, uniform = (
        1 + (steps * torch.rand(batch) ** (1 / power)).long().clamp(max=steps - 1)
        for power in (high_noise, 1.0)
    )
    if objective == "joint":
        image_first = torch.rand(batch) < 0.5
        return torch.where(image_first, preferred, uniform), torch.where(image_first, uniform, preferred)
    t_image = t_text = preferred
    share = {"bi": direction_mix, "i2t": 0.0, "t2i": 1.0}[objective]
    drawn = torch.arange(batch) < round(share * batch)  # rows from text to picture: their text is clean
    return torch.where(drawn, t_image, 0), torch.where(drawn, 0, t_text)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the marked rows; 0 when there are none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _there(value: Tensor | None) -> Tensor:
    assert value is not None
    return value
