"""Three learning rates, and the check that every trainable tensor is in the optimizer and has a gradient.

In the released code the visual prompts match no group and stay at their random start. Here that is an error.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from etude.methods.tmpt.settings import Training

Group: TypeAlias = dict[str, Any]
_PROMPTS = ("prompts.", "prompt_encoder.", "lora_")


def rate_of(name: str, how: Training) -> float:
    """The learning rate of a parameter by its name."""
    if any(mark in name for mark in _PROMPTS):
        return how.prompt_rate
    return how.encoder_rate if name.startswith("text.model.") else how.linear_rate


def optimizer_groups(network: nn.Module, how: Training) -> list[Group]:
    """AdamW's groups: a rate by name; decay on matrices, not on biases, norms, prompts, the gate."""
    groups: dict[tuple[float, float], Group] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim < 2 or any(mark in name for mark in _PROMPTS)
        key = (rate_of(name, how), 0.0 if plain else how.weight_decay)
        groups.setdefault(key, {"params": [], "lr": key[0], "weight_decay": key[1]})["params"].append(
            parameter
        )
    return list(groups.values())


def check_every_tensor_learns(network: nn.Module, groups: list[Group], batch: dict[str, Tensor]) -> None:
    """One backward pass, without a step: every trainable tensor is in one group and gets a gradient.

    Args:
        network: In training mode after; its weights, statistics and the random state stay as they were.
        groups: Of the optimizer.
        batch: With labels.

    Raises:
        RuntimeError: A tensor would never move; that is a fault of the code, not of the user.
    """
    held = [id(p) for group in groups for p in group["params"]]
    trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
    lost = [name for name, p in trainable.items() if held.count(id(p)) != 1]
    buffers = {name: b.clone() for name, b in network.named_buffers()}
    device = next(network.parameters()).device
    with torch.random.fork_rng():
        network.train()
        network(**{name: tensor.to(device) for name, tensor in batch.items()})["loss"].backward()
    still = [name for name, p in trainable.items() if p.grad is None]
    network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])
    if lost or still:
        raise RuntimeError(f"not in the optimizer: {lost[:5]}; without a gradient: {still[:5]}")


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Trained parameters, and all that the network holds."""
    every = list(network.parameters())
    return sum(p.numel() for p in every if p.requires_grad), sum(p.numel() for p in every)
