"""Tuned rounding of one weight: V, alpha, beta, their analytic gradient, and one SignSGD step.

`weight_q` is a plain leaf tensor that the block runs with. One ordinary backward gives gW = dL/dW~, and
everything else follows without an autograd graph over the quantizer. With u = W/s and r = round(u + V),
straight-through:

    inside the clip range   dW~/dV = s          dW~/ds = r - u
    outside                 dW~/dV = 0          dW~/ds = (q - z) - beta*m/s  and dW~/d(beta*m) = 1
    (asymmetric)
                                                dW~/ds = q - z                                     (symmetric)
    asymmetric   ds/dalpha = M/N                ds/dbeta = -m/N
    symmetric    ds/dalpha = +-M/2^(B-1) where alpha*M is the larger side, else ds/dbeta = +-m/2^(B-1)

A step is elementwise over all weights and several passes long, so it runs over slices of rows that stay in
cache.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from etude.methods.signround.grid import (
    Extremes,
    Grid,
    QuantizedLinear,
    encode,
    extremes,
    from_groups,
    make_grid,
    pack,
    to_groups,
)
from etude.methods.signround.schemes import SCALE_FLOOR, QuantScheme

SLICE_ELEMENTS = 1 << 16  # weights per slice: five float buffers of this size fit a 2 MB second-level cache


class TunedWeight:
    """The rounding parameters of one weight (out, in) and the fake-quantized weight they give.

    Attributes:
        weight_q: W~, (out, in), a leaf that requires grad; the block is run with it in place of its own
            weight.
        offset: V, (out, groups, g).
        alpha, beta: Clipping of the group's maximum and minimum, (out, groups, 1).
        touched: Whether any gradient was ever nonzero (an expert that saw no token stays at RTN).
    """

    def __init__(self, weight: Tensor, scheme: QuantScheme, v_limit: float | None = 0.5) -> None:
        self.scheme = scheme
        self.v_limit = v_limit
        self.in_features = weight.shape[1]
        self.groups = to_groups(weight.detach().float(), scheme)  # W, (out, groups, g)
        self.limits = extremes(self.groups)
        self.offset = torch.zeros_like(self.groups)
        self.alpha = torch.ones_like(self.limits.low)
        self.beta = torch.ones_like(self.limits.low)
        self.grid = self._make_grid()
        self.touched = False
        self.padded = self.groups.shape[1] * self.groups.shape[2] != self.in_features
        self.rows = max(1, SLICE_ELEMENTS // (self.groups.shape[1] * self.groups.shape[2]))
        self.scratch = torch.empty(3, self.rows, *self.groups.shape[1:], device=weight.device)
        self.weight_q = torch.empty_like(weight, dtype=torch.float32)
        self._refresh()
        self.weight_q.requires_grad_(True)

    def step(self, gradient: Tensor, v_rate: float, minmax_rate: float) -> None:
        """Move V, alpha and beta against the sign of their gradients, given dL/dW~ (out, in), and refresh W~.

        A rate of zero leaves that parameter alone.
        """
        slope = to_groups(gradient, self.scheme)  # (out, groups, g)
        by_scale = torch.empty_like(self.alpha)  # sum over a group of gW * dW~/ds
        by_low = torch.empty_like(self.alpha)  # sum over a group of gW outside the clip range
        with torch.no_grad():
            for rows in self._slices():
                by_scale[rows], by_low[rows] = self._slice_gradient(rows, slope[rows], v_rate)
            if minmax_rate:
                scale_by_alpha, scale_by_beta = scale_derivatives(
                    self.alpha, self.beta, self.limits, self.scheme
                )
                to_beta = by_scale * scale_by_beta
                if not self.scheme.sym:
                    to_beta += by_low * self.limits.low
                self.alpha.sub_((by_scale * scale_by_alpha).sign_(), alpha=minmax_rate).clamp_(0, 1)
                self.beta.sub_(to_beta.sign_(), alpha=minmax_rate).clamp_(0, 1)
                self.grid = self._make_grid()
            self.touched = self.touched or bool((by_scale != 0).any())
            self._refresh()

    def quantized(self) -> QuantizedLinear:
        """The codes and grid of the present parameters."""
        codes = encode(self.groups, self.grid, self.scheme, self.offset)
        return pack(codes, self.grid, self.scheme, self.in_features)

    def _slice_gradient(self, rows: slice, slope: Tensor, v_rate: float) -> tuple[Tensor, Tensor]:
        """Update V for these rows; the group sums that alpha and beta need, each (rows, groups, 1)."""
        scale, zero = self.grid.scale[rows], self.grid.zero[rows]
        offset = self.offset[rows]
        steps, rounded, levels = self.scratch[
            :, : len(slope)
        ]  # allocating these anew costs more than the sums
        torch.div(self.groups[rows], scale, out=steps)  # u
        torch.add(steps, offset, out=rounded).round_()  # r
        torch.add(rounded, zero, out=levels).clamp_(0, self.scheme.levels).sub_(zero)  # q - z
        inside = rounded.sub_(levels).eq_(0)  # 1.0 inside the clip range: a float mask multiplies much faster
        slope_inside = inside.mul_(slope)
        by_scale = levels.mul_(slope).sub_(steps.mul_(slope_inside)).sum(-1, keepdim=True)
        by_low = slope.sum(-1, keepdim=True) - slope_inside.sum(-1, keepdim=True)
        if not self.scheme.sym:
            by_scale -= by_low * (self.beta[rows] * self.limits.low[rows]) / scale
        if v_rate:
            direction = slope_inside.sign_()
            if self.scheme.sym and self.scheme.full_range:
                direction *= scale.sign()  # dW~/dV = s, which may be negative
            offset.sub_(direction, alpha=v_rate)
            if self.v_limit is not None:
                offset.clamp_(-self.v_limit, self.v_limit)
        return by_scale, by_low

    def _refresh(self) -> None:
        """W~ of the present parameters, written into `weight_q` slice by slice."""
        with torch.no_grad():
            for rows in self._slices():
                scale, zero = self.grid.scale[rows], self.grid.zero[rows]
                groups = self.groups[rows]
                levels = self.scratch[0, : len(groups)]
                encode(groups, Grid(scale, zero), self.scheme, self.offset[rows], out=levels).sub_(zero)
                if self.padded:
                    self.weight_q[rows] = from_groups(levels.mul_(scale), self.in_features)
                else:
                    torch.mul(levels, scale, out=self.weight_q[rows].view_as(groups))

    def _make_grid(self) -> Grid:
        return make_grid(self.beta * self.limits.low, self.alpha * self.limits.high, self.scheme)

    def _slices(self) -> Iterator[slice]:
        for start in range(0, self.groups.shape[0], self.rows):
            yield slice(start, start + self.rows)


def scale_derivatives(
    alpha: Tensor, beta: Tensor, limits: Extremes, scheme: QuantScheme
) -> tuple[Tensor, Tensor]:
    """ds/dalpha and ds/dbeta of each group, (out, groups, 1); zero where the scale sits on its floor."""
    high, low = alpha * limits.high, beta * limits.low
    if scheme.sym:
        above = high >= -low
        above_floor = torch.maximum(high, -low) / scheme.middle > SCALE_FLOOR
        sign = -1.0 if scheme.full_range else 1.0
        by_alpha = torch.where(above, sign * limits.high, 0.0) / scheme.middle
        by_beta = torch.where(above, 0.0, -limits.low) / scheme.middle
    else:
        above_floor = (high - low) / scheme.levels > SCALE_FLOOR
        by_alpha = limits.high / scheme.levels
        by_beta = -limits.low / scheme.levels
    return by_alpha * above_floor, by_beta * above_floor
