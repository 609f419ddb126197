"""AdamW whose decay goes by shape, and the learning rate's course: a linear rise, then a cosine to zero.

The official code lists what shall not decay by name ("bias", "layer_norm.weight"), names that Llama does not
have, so its norms decay. Here a tensor with one dimension does not decay, whatever it is called.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def build_adamw(
    network: nn.Module,
    *,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.AdamW:
    """AdamW in one fused pass over each parameter (paper: betas 0.9 and 0.999, eps 1e-8, decay 0.01).

    Args:
        network: Its matrices decay, its vectors do not.
        weight_decay: Of the matrices.
        betas: Decay of the first and the second moment.
        eps: Added to the root of the second moment.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps, fused=True)


def learning_rate_at(step: int, *, peak: float, warmup: int, steps: int) -> float:
    """The rate of a step (from 0): (step + 1) / warmup of the peak, then half a cosine to 0 at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors: `exp_avg.NAME`, `exp_avg_sq.NAME`, `step.NAME`."""
    return {
        f"{kind}.{name}": value
        for name, parameter in network.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def load_moments(network: nn.Module, optimizer: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    """Take over what `moments` gave."""
    for name, parameter in network.named_parameters():
        kinds = {key.partition(".")[0] for key in saved if key.partition(".")[2] == name}
        optimizer.state[parameter] = {
            kind: saved[f"{kind}.{name}"].to(parameter.device).clone() for kind in sorted(kinds)
        }
