"""What GPTQ and AWQ need to know about the inputs of each linear layer of a block."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from etude.methods.signround.blocks import Block, Slot


@dataclass
class InputStatistics:
    """Second moments of one layer's inputs.

    Attributes:
        gram: X^T X / tokens, (in, in).
        mean_abs: Mean magnitude of each input, (in,).
        tokens: How many tokens reached the layer.
    """

    gram: Tensor
    mean_abs: Tensor
    tokens: int


def linear_slots(block: Block) -> list[Slot]:
    """Slots that are layers with an input of their own; of stacked experts no hook sees the tokens."""
    return [slot for slot in block.slots if not slot.stacked]


@torch.no_grad()
def input_groups(block: Block, sample: Tensor) -> list[list[Slot]]:
    """Layers in the order in which they run, those that read the same input together.

    Args:
        block: The block.
        sample: Inputs of the block, (1, seqlen, hidden). Layers it does not reach come last, each alone.
    """
    groups: list[tuple[Tensor, list[Slot]]] = []

    def note(slot: Slot) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
            for seen, members in groups:
                if seen is arguments[0]:
                    members.append(slot)
                    return
            groups.append((arguments[0], [slot]))

        return hook

    slots = linear_slots(block)
    handles = [
        block.module.get_submodule(slot.module).register_forward_pre_hook(note(slot)) for slot in slots
    ]
    try:
        block(sample)
    finally:
        for handle in handles:
            handle.remove()
    reached = {slot.parameter for _, members in groups for slot in members}
    return [members for _, members in groups] + [[slot] for slot in slots if slot.parameter not in reached]


@torch.no_grad()
def collect(
    block: Block,
    layers: Iterable[Slot],
    inputs: Tensor,
    batch_size: int,
    weights: Mapping[str, Tensor] | None = None,
) -> dict[str, InputStatistics]:
    """Statistics of the inputs of some layers over all samples, {parameter: statistics}.

    Args:
        block: The block, run with `weights` in place of its own.
        layers: The layers to watch; those of one input group share their statistics.
        inputs: Calibration inputs, (samples, seqlen, hidden).
        batch_size: Samples per forward.
        weights: {parameter: matrix}.
    """
    layers = list(layers)
    found = {
        slot.parameter: InputStatistics(
            torch.zeros(slot.in_features, slot.in_features, device=inputs.device),
            torch.zeros(slot.in_features, device=inputs.device),
            0,
        )
        for slot in layers
    }

    def watch(statistics: InputStatistics) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
            x = arguments[0].reshape(-1, arguments[0].shape[-1]).float()  # (tokens, in)
            statistics.gram.addmm_(x.T, x)
            statistics.mean_abs.add_(x.abs().sum(0))
            statistics.tokens += len(x)

        return hook

    handles = [
        block.module.get_submodule(slot.module).register_forward_pre_hook(watch(found[slot.parameter]))
        for slot in layers
    ]
    try:
        for start in range(0, len(inputs), batch_size):
            block(inputs[start : start + batch_size], weights)
    finally:
        for handle in handles:
            handle.remove()
    for statistics in found.values():
        statistics.gram /= max(1, statistics.tokens)
        statistics.mean_abs /= max(1, statistics.tokens)
    return found
