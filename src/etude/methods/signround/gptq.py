"""GPTQ (arXiv 2210.17323): quantize column by column, spreading each error over the columns not yet
quantized.

With act-order the columns of largest input energy go first. The groups' scales and zero points are then fixed
beforehand from the original weight (static groups), so the stored layout is that of any other method: no
g_idx at inference. Without act-order each group's grid is made from the weights as updated when its first
column is reached.
"""

import torch
from torch import Tensor

from etude.methods.signround.blocks import Block
from etude.methods.signround.grid import (
    Grid,
    QuantizedLinear,
    encode,
    extremes,
    make_grid,
    pack,
    round_to_nearest,
    to_groups,
)
from etude.methods.signround.schemes import QuantScheme
from etude.methods.signround.statistics import collect, input_groups

DAMPING = 0.01  # of the mean diagonal of the Hessian, as in the paper
LAZY_COLUMNS = 128  # columns whose updates are applied to the rest of the matrix at once


@torch.no_grad()
def gptq(weight: Tensor, gram: Tensor, scheme: QuantScheme, *, act_order: bool = True) -> QuantizedLinear:
    """Quantize one weight (out, in) given the second moments of its inputs (in, in)."""
    columns = weight.shape[1]
    width = scheme.group_width(columns)
    grid = make_grid(*extremes(to_groups(weight.float(), scheme)), scheme)  # (out, groups, 1)
    scale, zero = grid.scale[..., 0].clone(), grid.zero[..., 0].clone()  # (out, groups)
    energy = gram.diagonal()
    order = (
        energy.argsort(descending=True, stable=True)
        if act_order
        else torch.arange(columns, device=weight.device)
    )
    work = weight.float().T[order].contiguous()  # (in, out): a column of W is a row here
    dead = energy[order] == 0
    factor = inverse_factor(gram[order][:, order], dead)  # (in, in), upper triangular
    codes = torch.empty_like(work)
    for start in range(0, columns, LAZY_COLUMNS):
        stop = min(start + LAZY_COLUMNS, columns)
        errors = torch.empty_like(work[start:stop])
        for index in range(start, stop):
            group = int(order[index]) // width
            if not act_order and index % width == 0:
                ahead = work[index : index + width].clone()  # the group as it stands, with lazy updates due
                ahead[stop - index :] -= factor[start:index, stop : index + width].T @ errors[: index - start]
                fresh = make_grid(ahead.amin(0).clamp(max=0), ahead.amax(0).clamp(min=0), scheme)
                scale[:, group], zero[:, group] = fresh.scale, fresh.zero
            column, step, centre = work[index], scale[:, group], zero[:, group]
            codes[index] = encode(column, Grid(step, centre), scheme)
            error = (column - (codes[index] - centre) * step) / factor[index, index]
            work[index:stop].addr_(factor[index, index:stop], error, alpha=-1)
            errors[index - start] = error
        work[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    codes = codes[order.argsort()].T
    return pack(
        to_groups(codes.contiguous(), scheme), Grid(scale[..., None], zero[..., None]), scheme, columns
    )


def inverse_factor(gram: Tensor, dead: Tensor) -> Tensor:
    """Upper Cholesky factor of the damped Hessian's inverse; damping grows tenfold until it exists."""
    hessian = gram.clone()
    diagonal = hessian.diagonal()
    diagonal[dead] = 1.0
    mean = float(diagonal.mean())
    damping = DAMPING
    while True:
        diagonal += damping * mean
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if not failed:
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(factor), upper=True)
            if not failed:
                assert isinstance(upper, Tensor)
                return upper
        damping *= 10


def gptq_block(
    block: Block, inputs: Tensor, schemes: dict[str, QuantScheme], batch_size: int, *, act_order: bool = True
) -> tuple[dict[str, QuantizedLinear], list[str]]:
    """GPTQ for a block's weights, layer group after layer group, each with the inputs the earlier ones now
    give.

    Returns:
        {parameter: quantized weight} and the layers that no calibration token reached, which are RTN.
    """
    done: dict[str, QuantizedLinear] = {}
    for group in input_groups(block, inputs[:1]):
        members = [slot for slot in group if slot.parameter in schemes]
        if not members:
            continue
        present = {name: weight.dequantize() for name, weight in done.items()}
        statistics = collect(block, members, inputs, batch_size, present)
        for slot in members:
            found = statistics[slot.parameter]
            if found.tokens:
                done[slot.parameter] = gptq(
                    block.matrix(slot), found.gram, schemes[slot.parameter], act_order=act_order
                )
    return done, round_rest(block, schemes, done)


def round_rest(block: Block, schemes: dict[str, QuantScheme], done: dict[str, QuantizedLinear]) -> list[str]:
    """RTN for the weights of a block that are not in `done` yet; returns their layers."""
    rest = [slot for slot in block.slots if slot.parameter in schemes and slot.parameter not in done]
    for slot in rest:
        done[slot.parameter] = round_to_nearest(block.matrix(slot), schemes[slot.parameter])
    return [slot.layer for slot in rest]
