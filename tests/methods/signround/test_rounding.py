"""The grids and the analytic gradient, against autograd and against their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from etude.methods.signround.grid import (
    encode,
    extremes,
    from_groups,
    make_grid,
    round_to_nearest,
    to_groups,
)
from etude.methods.signround.rounding import TunedWeight, scale_derivatives
from etude.methods.signround.schemes import SCALE_FLOOR, QuantScheme

SCHEMES = [
    QuantScheme(bits, 32, sym, full_range=full)
    for bits in (2, 3, 4, 8)
    for sym, full in ((False, True), (True, True), (True, False))
]


def straight_through(x: Tensor, value: Tensor) -> Tensor:
    return x + (value - x).detach()


def fake_quantize(groups: Tensor, v: Tensor, alpha: Tensor, beta: Tensor, scheme: QuantScheme) -> Tensor:
    """The paper's expression with straight-through rounding, for autograd; written apart from the package."""
    high = alpha * groups.amax(-1, keepdim=True).clamp(min=0)
    low = beta * groups.amin(-1, keepdim=True).clamp(max=0)
    if scheme.sym:
        scale = torch.maximum(high, -low).div(2 ** (scheme.bits - 1)).clamp(min=SCALE_FLOOR)
        if scheme.full_range:
            scale = torch.where(high >= -low, -scale, scale)
        scale = straight_through(scale, scale.half().float())
        zero = torch.full_like(scale, 2 ** (scheme.bits - 1))
    else:
        scale = ((high - low) / (2**scheme.bits - 1)).clamp(min=SCALE_FLOOR)
        scale = straight_through(scale, scale.half().float())
        zero = straight_through(-low / scale, (-low / scale).round())
    steps = groups / scale + v
    codes = (straight_through(steps, steps.round()) + zero).clamp(0, 2**scheme.bits - 1)
    return scale * (codes - zero)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.name}{'' if s.full_range else '-plain'}")
def test_the_analytic_gradient_is_that_of_autograd_on_the_straight_through_expression(
    scheme: QuantScheme,
) -> None:
    generator = torch.Generator().manual_seed(scheme.bits)
    weight = torch.randn(64, 128, generator=generator) * 0.05
    tuned = TunedWeight(weight, scheme)
    for _ in range(
        30
    ):  # somewhere in the middle of a run: weights outside the clip range, alpha and beta below 1
        tuned.step(torch.randn(64, 128, generator=generator), 0.02, 0.02)
    slope = torch.randn(64, 128, generator=generator)

    v, alpha, beta = (x.clone().requires_grad_() for x in (tuned.offset, tuned.alpha, tuned.beta))
    expected = fake_quantize(tuned.groups, v, alpha, beta, scheme)
    torch.testing.assert_close(from_groups(expected, 128), tuned.weight_q, rtol=0, atol=1e-7)
    expected.backward(to_groups(slope, scheme))

    everything = slice(0, 64)
    tuned.rows, tuned.scratch = 64, torch.empty(3, *tuned.groups.shape)
    by_scale, by_low = tuned._slice_gradient(everything, to_groups(slope, scheme), 0.0)
    by_alpha, by_beta = scale_derivatives(tuned.alpha, tuned.beta, tuned.limits, scheme)
    to_alpha, to_beta = by_scale * by_alpha, by_scale * by_beta
    if not scheme.sym:
        to_beta = to_beta + by_low * tuned.limits.low
    torch.testing.assert_close(to_alpha, alpha.grad, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(to_beta, beta.grad, rtol=1e-3, atol=1e-6)

    before = tuned.offset.clone()
    tuned.v_limit = None
    tuned.step(slope, 1e-3, 0.0)
    moved = before - tuned.offset
    assert torch.equal(moved.sign(), v.grad.sign())


@given(
    st.integers(2, 8), st.sampled_from([-1, 5, 16, 32]), st.booleans(), st.booleans(), st.integers(0, 1000)
)
@settings(max_examples=60, deadline=None)
def test_rounding_to_nearest_is_off_by_at_most_half_a_step_inside_the_clip_range(
    bits: int, group: int, sym: bool, full: bool, seed: int
) -> None:
    scheme = QuantScheme(bits, group, sym, full_range=full)
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(seed))
    layer = round_to_nearest(weight, scheme)
    error = (layer.dequantize() - weight).abs()
    width = scheme.group_width(40)
    step = layer.scale.float().abs().repeat_interleave(width, 1)[:, :40]
    inside = (layer.codes > 0) & (layer.codes < scheme.levels)
    assert (error[inside] <= 0.5001 * step[inside]).all()
    assert layer.codes.max() <= scheme.levels
    assert layer.scale.shape == (6, scheme.groups(40))


def test_a_full_range_symmetric_grid_puts_the_larger_side_on_the_lowest_code() -> None:
    weight = torch.tensor([[0.7, -0.1, 0.2, 0.0], [-0.7, 0.1, 0.2, 0.0]])
    layer = round_to_nearest(weight, QuantScheme(4, 4, sym=True))
    assert layer.codes[:, 0].tolist() == [0, 0]
    assert layer.scale[:, 0].sign().tolist() == [-1, 1]
    torch.testing.assert_close(layer.dequantize()[:, 0], weight[:, 0], rtol=1e-3, atol=0)
    plain = round_to_nearest(weight, QuantScheme(4, 4, sym=True, full_range=False))
    assert (plain.scale > 0).all()
    assert plain.dequantize()[0, 0] < 0.63  # the positive side is clipped to 7/8 of its value
    torch.testing.assert_close(plain.dequantize()[1, 0], weight[1, 0], rtol=1e-3, atol=0)


def test_codes_are_made_with_the_scale_as_it_is_stored() -> None:
    weight = torch.linspace(-1.0, 1.03, 64).view(1, 64)
    scheme = QuantScheme(8, -1)
    layer = round_to_nearest(weight, scheme)
    grid = make_grid(*extremes(to_groups(weight, scheme)), scheme)
    assert torch.equal(grid.scale[..., 0], layer.scale.float())
    assert torch.equal(grid.scale, grid.scale.half().float())
    assert torch.equal(
        encode(to_groups(weight, scheme), grid, scheme).view(1, 64).to(torch.uint8), layer.codes
    )


def test_zero_is_always_exactly_representable() -> None:
    weight = torch.rand(8, 32) + 0.5
    weight[:, 3] = 0
    for scheme in SCHEMES:
        assert (round_to_nearest(weight, scheme).dequantize()[:, 3] == 0).all()


def test_the_last_short_group_is_padded_in_computation_only() -> None:
    weight = torch.randn(4, 70)
    layer = round_to_nearest(weight, QuantScheme(4, 32))
    assert layer.codes.shape == (4, 70)
    assert layer.scale.shape == (4, 3)
    tail = round_to_nearest(weight[:, 64:].contiguous(), QuantScheme(4, -1))
    assert torch.equal(layer.codes[:, 64:], tail.codes)


def test_v_never_leaves_its_range_and_alpha_and_beta_stay_in_zero_to_one() -> None:
    tuned = TunedWeight(torch.randn(16, 64), QuantScheme(3, 32))
    for _ in range(50):
        tuned.step(torch.randn(16, 64), 0.1, 0.1)
    assert tuned.offset.abs().max() <= 0.5
    for clipping in (tuned.alpha, tuned.beta):
        assert clipping.min() >= 0 and clipping.max() <= 1
