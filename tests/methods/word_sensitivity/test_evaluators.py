"""The fast evaluators are the map itself: equal to the dense step under autograd, in value and gradient."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from etude.methods.word_sensitivity import DeepRandomFeatures, RandomAttentionFeatures, RandomFeatures
from etude.methods.word_sensitivity.attention_features import relu_weights
from etude.methods.word_sensitivity.perturbation import (
    DensePerturbation,
    Perturbation,
    generator,
    on_sphere,
    rescale,
)


def agree(fast: Perturbation, dense: Perturbation, tolerance: float, seed: int = 0) -> None:
    deltas = on_sphere(5, fast.row, 1.3 * float(fast.row.norm()), generator(seed))
    value, gradient = fast.with_gradients(deltas)
    true, slope = dense.with_gradients(deltas)
    scale = float(true.abs().max().clamp(min=1))
    assert torch.allclose(value, true, atol=tolerance * scale, rtol=tolerance)
    assert torch.allclose(gradient, slope, atol=tolerance * float(slope.abs().max().clamp(min=1)))
    assert fast.norm == pytest.approx(dense.norm, rel=tolerance)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 12), d=st.integers(1, 9), position=st.integers(0, 100), seed=st.integers(0, 10_000),
    kernel=st.sampled_from(("softmax", "relu")),
)  # fmt: skip
def test_attention_rows_and_columns_are_updated_exactly(
    n: int, d: int, position: int, seed: int, kernel: Literal["softmax", "relu"]
) -> None:
    x = rescale(torch.randn(n, d, generator=generator(seed), dtype=torch.float64))
    map_, i = RandomAttentionFeatures(d, kernel, seed=seed), position % n
    agree(map_.perturbed(x, i), DensePerturbation(map_, x, i), 1e-10, seed)


@pytest.mark.parametrize("kernel", ["softmax", "relu"])
def test_in_single_precision_value_and_gradient_agree_to_1e_5(
    gaussian: Callable[..., Tensor], kernel: Literal["softmax", "relu"]
) -> None:
    x, map_ = gaussian(40, 64, dtype=torch.float32), RandomAttentionFeatures(64, kernel)
    dense = DensePerturbation(map_, x.double(), 7)
    fast = map_.perturbed(x, 7)
    deltas = on_sphere(6, x[7], 8.0, generator(3))
    value, gradient = fast.with_gradients(deltas)
    true, slope = dense.with_gradients(deltas.double())
    assert float(((value - true) / true).abs().max()) < 1e-5
    assert float((gradient.double() - slope).norm() / slope.norm()) < 1e-5


def test_a_tiny_change_loses_no_digits(gaussian: Callable[..., Tensor]) -> None:
    x, map_ = gaussian(30, 16, dtype=torch.float32), RandomAttentionFeatures(16)
    deltas = on_sphere(4, x[3], 1e-3, generator(0))
    fast = map_.perturbed(x, 3).squared_distances(deltas)
    true = DensePerturbation(map_, x.double(), 3).squared_distances(deltas.double())
    assert float(((fast - true) / true).abs().max()) < 1e-3


@pytest.mark.parametrize("kernel", ["softmax", "relu"])
def test_inner_products_with_changed_features_agree(
    gaussian: Callable[..., Tensor], kernel: Literal["softmax", "relu"]
) -> None:
    x, map_ = gaussian(9, 7), RandomAttentionFeatures(7, kernel)
    vectors = torch.randn(3, 63, generator=generator(1), dtype=torch.float64)
    deltas = on_sphere(4, x[2], 2.0, generator(2))
    fast = map_.perturbed(x, 2).linear_forms(vectors)(deltas)
    assert torch.allclose(fast, DensePerturbation(map_, x, 2).linear_forms(vectors)(deltas), atol=1e-10)


def test_a_row_of_negative_scores_stays_zero_under_relu() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    scores = torch.tensor([[-1.0, -2.0], [3.0, 1.0]])
    assert relu_weights(scores).tolist() == [[0.0, 0.0], [0.75, 0.25]]
    map_ = RandomAttentionFeatures(2, "relu")
    map_.__dict__["weights"] = -torch.eye(2)
    assert float(map_(x)[0].norm()) > 0  # x_0 attends to x_1 alone, and not to itself
    agree(map_.perturbed(x, 1), DensePerturbation(map_, x, 1), 1e-12)


def test_any_function_of_the_scores_is_an_attention(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(6, 5)
    same = RandomAttentionFeatures(5, lambda scores: torch.softmax(scores, -1))
    agree(same.perturbed(x, 1), RandomAttentionFeatures(5).perturbed(x, 1), 1e-10)
    assert same.name.endswith("-raf")


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("activation", ["relu", "tanh", torch.nn.functional.gelu])
def test_random_features_need_only_one_block_of_their_weights(
    gaussian: Callable[..., Tensor], depth: int, activation: str
) -> None:
    x = gaussian(5, 6)
    map_ = DeepRandomFeatures(5, 6, 30, activation, depth=depth, lazy=False)
    agree(map_.perturbed(x, 4), DensePerturbation(map_, x, 4), 1e-10)
    vectors = torch.randn(2, 30, generator=generator(1), dtype=torch.float64)
    deltas = on_sphere(3, x[4], 1.0, generator(2))
    fast = map_.perturbed(x, 4).linear_forms(vectors)(deltas)
    assert torch.allclose(fast, DensePerturbation(map_, x, 4).linear_forms(vectors)(deltas))


def test_weights_drawn_in_blocks_are_those_of_the_whole_matrix(
    gaussian: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etude.methods.word_sensitivity.random_features._BLOCK", 24 * 5)
    map_ = RandomFeatures(4, 6, 23)
    dense = torch.cat([rows.double() for rows in map_._rows()])
    assert dense.shape == (23, 24)
    x = gaussian(4, 6)
    assert torch.allclose(map_(x), torch.relu(dense @ x.flatten()))
    _, blocks = map_.project(x[None], (2,))
    assert torch.equal(blocks[2], dense[:, 12:18])


def test_drawing_from_the_law_gives_what_reading_the_weights_gives(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(8, 5, dtype=torch.float32)
    lazy, read = (RandomFeatures(8, 5, 20_000, lazy=flag).perturbed(x, 3) for flag in (True, False))
    delta = on_sphere(1, x[3], 5**0.5, generator(7))
    values = [float(p.squared_distances(delta).sqrt()) / p.norm for p in (lazy, read)]
    assert values[0] == pytest.approx(values[1], rel=0.02)
    assert lazy.norm == pytest.approx(read.norm, rel=0.02)
    assert float(lazy.base.std()) == pytest.approx(float(read.base.std()), rel=0.02)


def test_he_scaling_keeps_the_norm_through_depth(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(10, 8, dtype=torch.float32)
    norms = [float(DeepRandomFeatures(10, 8, 1500, depth=depth)(x).norm()) for depth in (1, 2, 4)]
    assert max(norms) / min(norms) < 1.1
