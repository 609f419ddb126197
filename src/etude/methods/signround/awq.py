"""AWQ (arXiv 2306.00978): scale up the inputs that matter before rounding, then search how far to clip.

Inputs of large magnitude get a larger share of the grid: W diag(s) is quantized, and diag(1/s) is folded into
whatever comes before, a norm's weight or the rows of an earlier linear layer. What can absorb the scale is
found by trying: the block's output must not change. Layers without such a predecessor are only clipped.

Two departures from the released code, both in its favor or neutral for the comparison: the error of the
search is that of the layers' own outputs (through the Gram matrix of the inputs, so that it needs no forward
passes), not of the attention's or the MLP's; and the inputs are those of the already quantized blocks, as for
the other methods.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from etude.methods.signround.blocks import Block, Slot
from etude.methods.signround.gptq import round_rest
from etude.methods.signround.grid import (
    QuantizedLinear,
    decode,
    encode,
    extremes,
    from_groups,
    make_grid,
    pack,
    to_groups,
)
from etude.methods.signround.schemes import QuantScheme
from etude.methods.signround.statistics import collect, input_groups

SCALE_EXPONENTS = [index / 20 for index in range(20)]
CLIP_FACTORS = [1 - index / 20 for index in range(11)]
UNCLIPPED = ("q_proj", "k_proj", "query", "key", "qkv", "c_attn")  # clipping these hurts (released code)


@dataclass(frozen=True)
class Absorber:
    """Parameters of the block that take on 1/s when a layer group takes on s, along their first axis."""

    parameters: tuple[str, ...]


@torch.no_grad()
def awq_block(
    block: Block, inputs: Tensor, schemes: dict[str, QuantScheme], batch_size: int
) -> tuple[dict[str, QuantizedLinear], dict[str, Tensor], list[str]]:
    """AWQ for a block's weights; the block's own parameters are rescaled in place (its function stays the
    same).

    Returns:
        {parameter: quantized weight}; {parameter: new value} of what absorbed a scale and is not itself
        quantized; the layers that no calibration token reached, which are RTN.
    """
    groups = input_groups(block, inputs[:1])
    statistics = collect(block, [slot for group in groups for slot in group], inputs, batch_size)
    absorbed: set[str] = set()
    for group in groups:
        members = [slot for slot in group if slot.parameter in schemes]
        if len(members) < len(group) or not all(statistics[slot.parameter].tokens for slot in members):
            continue
        absorber = find_absorber(block, group, inputs[:1])
        if absorber is None:
            continue
        scale = search_scale(
            [block.matrix(slot) for slot in group],
            [schemes[slot.parameter] for slot in group],
            statistics[group[0].parameter].gram,
            statistics[group[0].parameter].mean_abs,
        )
        rescale(block, group, absorber, scale)
        absorbed.update(absorber.parameters)
        for slot in group:
            statistics[slot.parameter].gram /= scale[:, None] * scale[None, :]
    done: dict[str, QuantizedLinear] = {}
    for slot in (slot for group in groups for slot in group):
        if slot.parameter in schemes and statistics[slot.parameter].tokens:
            weight, scheme = block.matrix(slot).float(), schemes[slot.parameter]
            clip = slot.layer.rsplit(".", 1)[-1] not in UNCLIPPED
            done[slot.parameter] = clip_and_round(weight, statistics[slot.parameter].gram, scheme, clip=clip)
    rest = round_rest(block, schemes, done)
    updates = {
        name: block.module.get_parameter(name).detach().clone()
        for name in sorted(absorbed)
        if name not in schemes
    }
    return done, updates, rest


def search_scale(weights: list[Tensor], schemes: list[QuantScheme], gram: Tensor, mean_abs: Tensor) -> Tensor:
    """The input scale s = mean|x|^a (in,), a in [0, 1), that makes the layers' output error least.

    Args:
        weights: The layers that share the input, each (out, in).
        schemes: Their schemes.
        gram: Second moments of the input, (in, in).
        mean_abs: Mean magnitude of each input, (in,).
    """
    best, best_error = torch.ones_like(mean_abs), float("inf")
    for exponent in SCALE_EXPONENTS:
        scale = mean_abs.clamp(min=1e-4) ** exponent
        scale = scale / (scale.max() * scale.min()).sqrt()
        error = 0.0
        for weight, scheme in zip(weights, schemes, strict=True):
            difference = fake_quantize(weight * scale, scheme) / scale - weight
            error += float(((difference @ gram) * difference).sum())
        if error < best_error:
            best, best_error = scale, error
    return best


def fake_quantize(weight: Tensor, scheme: QuantScheme) -> Tensor:
    """RTN and back, (out, in)."""
    groups = to_groups(weight, scheme)
    grid = make_grid(*extremes(groups), scheme)
    return from_groups(decode(encode(groups, grid, scheme), grid), weight.shape[1])


def clip_and_round(weight: Tensor, gram: Tensor, scheme: QuantScheme, *, clip: bool) -> QuantizedLinear:
    """Shrink each group's extremes by the factor that makes its share of the output error least, then round.

    Args:
        weight: (out, in).
        gram: Second moments of the inputs, (in, in); only its diagonal blocks are used.
        scheme: The scheme.
        clip: False keeps the extremes as they are.
    """
    groups = to_groups(weight, scheme)  # (out, groups, g)
    low, high = extremes(groups)
    width = groups.shape[-1]
    padded = torch.zeros(groups.shape[1] * width, groups.shape[1] * width, device=weight.device)
    padded[: gram.shape[0], : gram.shape[1]] = gram
    diagonal = torch.stack([padded[i : i + width, i : i + width] for i in range(0, len(padded), width)])
    best = make_grid(low, high, scheme)
    best_codes = encode(groups, best, scheme)
    best_error = torch.full_like(low, float("inf"))
    for factor in CLIP_FACTORS if clip else [1.0]:
        grid = make_grid(low * factor, high * factor, scheme)
        codes = encode(groups, grid, scheme)
        difference = (decode(codes, grid) - groups).transpose(0, 1)  # (groups, out, g)
        error = ((difference @ diagonal) * difference).sum(-1).T[..., None]  # (out, groups, 1)
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best = type(best)(
            torch.where(better, grid.scale, best.scale), torch.where(better, grid.zero, best.zero)
        )
        best_codes = torch.where(better, codes, best_codes)
    return pack(best_codes, best, scheme, weight.shape[1])


def find_absorber(block: Block, group: list[Slot], sample: Tensor) -> Absorber | None:
    """What can take on 1/s so that scaling the inputs of `group` by s leaves the block's output as it is.

    Candidates are one-dimensional weights (norms) with their biases, and linear layers, whose outputs are as
    many as the group's inputs; each is tried with a random scale.
    """
    features = group[0].in_features
    own = {slot.parameter for slot in group}
    slots = {slot.parameter: slot for slot in block.slots}
    generator = torch.Generator().manual_seed(0)
    scale = (0.5 + torch.rand(features, generator=generator)).to(sample.device)
    expected = block(sample)
    for name, parameter in block.module.named_parameters():
        if not name.endswith("weight") or name in own or (parameter.ndim == 2 and name not in slots):
            continue
        outputs = slots[name].to_matrix(parameter).shape[0] if name in slots else parameter.shape[0]
        if parameter.ndim > 2 or outputs != features:
            continue
        bias = name.removesuffix("weight") + "bias"
        has_bias = bias in dict(block.module.named_parameters())
        absorber = Absorber((name, bias) if has_bias else (name,))
        before = {
            key: block.module.get_parameter(key).detach().clone() for key in (*own, *absorber.parameters)
        }
        rescale(block, group, absorber, scale)
        unchanged = torch.allclose(
            block(sample), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
        )
        restore(block.module, before)
        if unchanged:
            return absorber
    return None


def rescale(block: Block, group: list[Slot], absorber: Absorber, scale: Tensor) -> None:
    """Multiply the inputs' columns of `group` by `scale` (in,) and divide the absorber's outputs by it."""
    slots = {slot.parameter: slot for slot in block.slots}
    for slot in group:
        block.put(slot, block.matrix(slot) * scale)
    for name in absorber.parameters:
        if name in slots:
            block.put(slots[name], block.matrix(slots[name]) / scale[:, None])
        else:
            block.module.get_parameter(name).div_(scale)


def restore(module: nn.Module, parameters: dict[str, Tensor]) -> None:
    """Write saved values back."""
    for name, value in parameters.items():
        module.get_parameter(name).copy_(value)
