"""The grid of one weight: scales, zero points, codes, and the weight they stand for (paper section 2).

A weight matrix W (out_features, in_features) is cut along its inputs into groups of g; group extremes are
m = min(0, min W) and M = max(0, max W). Codes are unsigned everywhere in this package, 0 ... 2^B - 1, and

    W~ = s * (q - z),   q = clip(round(W / s + V) + z, 0, 2^B - 1)

with, asymmetric, s = (alpha*M - beta*m) / (2^B - 1) and z = round(-beta*m / s); symmetric, z = 2^(B-1) and
|s| = max(alpha*M, -beta*m) / 2^(B-1), its sign chosen so that the larger side lands on code 0 (`full_range`).
The scale is rounded to its stored dtype before anything is divided by it: what is tuned is what is saved.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from etude.errors import EtudeError
from etude.methods.signround.schemes import SCALE_DTYPES, SCALE_FLOOR, QuantScheme


class Extremes(NamedTuple):
    """Smallest and largest weight of each group with zero included, (out, groups, 1)."""

    low: Tensor
    high: Tensor


class Grid(NamedTuple):
    """Scale (the value that is stored, as float32) and zero point of each group, (out, groups, 1)."""

    scale: Tensor
    zero: Tensor


@dataclass(frozen=True)
class QuantizedLinear:
    """Codes (out, in) uint8, scale (out, groups) as stored, zero point (out, groups) uint8."""

    codes: Tensor
    scale: Tensor
    zero: Tensor
    scheme: QuantScheme

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weight the codes stand for, (out, in)."""
        groups = to_groups(self.codes.float(), self.scheme)  # (out, groups, g)
        weight = (groups - self.zero.float()[..., None]) * self.scale.float()[..., None]
        return from_groups(weight, self.codes.shape[1]).to(dtype)

    @property
    def bits(self) -> float:
        """Bits this weight takes, scales and zero points included."""
        return self.codes.numel() * self.scheme.bits_per_weight(self.codes.shape[1])


def to_groups(weight: Tensor, scheme: QuantScheme) -> Tensor:
    """(out, in) -> (out, groups, g); a view when g divides in_features, else padded with zeros."""
    width = scheme.group_width(weight.shape[1])
    short = -weight.shape[1] % width
    if short:
        weight = functional.pad(weight, (0, short))
    return weight.reshape(weight.shape[0], -1, width)


def from_groups(groups: Tensor, in_features: int) -> Tensor:
    """(out, groups, g) -> (out, in_features), without the padding."""
    return groups.reshape(groups.shape[0], -1)[:, :in_features]


def extremes(groups: Tensor) -> Extremes:
    """The extremes m and M of each group, (out, groups, 1)."""
    return Extremes(groups.amin(-1, keepdim=True).clamp(max=0), groups.amax(-1, keepdim=True).clamp(min=0))


def make_grid(low: Tensor, high: Tensor, scheme: QuantScheme) -> Grid:
    """Scale and zero point for groups that reach from `low` <= 0 to `high` >= 0 (after alpha and beta)."""
    if scheme.sym:
        magnitude = torch.maximum(high, -low) / scheme.middle
        scale = store_scale(magnitude, scheme)
        if scheme.full_range:
            scale = torch.where(high >= -low, -scale, scale)
        return Grid(scale, torch.full_like(scale, scheme.middle))
    scale = store_scale((high - low) / scheme.levels, scheme)
    return Grid(scale, (-low / scale).round_().clamp_(0, scheme.levels))


def store_scale(scale: Tensor, scheme: QuantScheme) -> Tensor:
    """Floor a positive scale and round it to the dtype it will be stored in, back as float32."""
    return scale.clamp(min=SCALE_FLOOR).to(SCALE_DTYPES[scheme.scale_dtype]).float()


def encode(
    groups: Tensor, grid: Grid, scheme: QuantScheme, offset: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Codes of grouped weights as float, (out, groups, g), with an optional rounding offset V."""
    steps = torch.div(groups, grid.scale, out=out)
    if offset is not None:
        steps += offset
    return steps.round_().add_(grid.zero).clamp_(0, scheme.levels)


def decode(codes: Tensor, grid: Grid) -> Tensor:
    """Grouped weights of float codes."""
    return (codes - grid.zero).mul_(grid.scale)


def pack(codes: Tensor, grid: Grid, scheme: QuantScheme, in_features: int) -> QuantizedLinear:
    """Grouped float codes and their grid as a `QuantizedLinear`."""
    return QuantizedLinear(
        codes=from_groups(codes.to(torch.uint8), in_features).contiguous(),
        scale=grid.scale[..., 0].to(SCALE_DTYPES[scheme.scale_dtype]).contiguous(),
        zero=grid.zero[..., 0].to(torch.uint8).contiguous(),
        scheme=scheme,
    )


def round_to_nearest(weight: Tensor, scheme: QuantScheme) -> QuantizedLinear:
    """RTN: the grid of the group extremes, every weight on its nearest level."""
    groups = to_groups(weight.float(), scheme)
    grid = make_grid(*extremes(groups), scheme)
    return pack(encode(groups, grid, scheme), grid, scheme, weight.shape[1])


def check_weight(name: str, weight: Tensor, scheme: QuantScheme) -> None:
    """Refuse a weight that no grid of this scheme can hold.

    Raises:
        EtudeError: NaN or Inf in the weight; a group whose scale is under the floor or over the largest
        stored value.
    """
    if not torch.isfinite(weight).all():
        bad = int((~torch.isfinite(weight)).sum())
        raise EtudeError(
            f"layer {name}: {bad} of {weight.numel()} weights are NaN or infinite",
            "repair the checkpoint, leave the layer out with an override (--override 'REGEX=none'), "
            "or pass --nonfinite rtn to keep it unquantized and go on",
        )
    low, high = extremes(to_groups(weight.float(), scheme))
    spread = torch.maximum(high, -low) / scheme.middle if scheme.sym else (high - low) / scheme.levels
    small = int(((spread > 0) & (spread < SCALE_FLOOR)).sum())
    if small:
        raise EtudeError(
            f"layer {name}: {small} groups need a scale under the {scheme.scale_dtype} floor {SCALE_FLOOR:g} "
            f"(smallest {float(spread[spread > 0].min()):.2g}); their weights would all become zero",
            "use a larger group size, or leave the layer out with an override (--override 'REGEX=none')",
        )
    limit = torch.finfo(SCALE_DTYPES[scheme.scale_dtype]).max
    if float(spread.max()) > limit:
        raise EtudeError(
            f"layer {name}: a scale of {float(spread.max()):.3g} is over the {scheme.scale_dtype} limit",
            "store the scales in another dtype (--scale-dtype float32)",
        )
