"""Maps whose word sensitivity is known exactly, and the laws the paper proves."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from etude.methods.word_sensitivity import (
    DeepRandomFeatures,
    RandomAttentionFeatures,
    RandomFeatures,
    Vocabulary,
    rescale,
    sensitivity,
)
from etude.methods.word_sensitivity.ascent import ascend, project
from etude.methods.word_sensitivity.perturbation import generator


@pytest.mark.parametrize("n", [1, 4, 25])
def test_the_identity_has_one_over_root_n(gaussian: Callable[..., Tensor], n: int) -> None:
    found = sensitivity(lambda x: x, gaussian(n, 6), positions="all", steps=3)
    assert found.value == pytest.approx(n**-0.5, rel=1e-6)


def test_mean_pooling_has_the_radius_over_n_times_the_mean(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(7, 5)
    found = sensitivity(lambda x: x.mean(0), x, radius=0.5, steps=3)
    assert found.value == pytest.approx(0.5 * 5**0.5 / 7 / float(x.mean(0).norm()), rel=1e-6)


def test_a_constant_map_has_none(gaussian: Callable[..., Tensor]) -> None:
    assert sensitivity(lambda x: torch.ones(3), gaussian(4, 5)).value == 0.0


def test_the_first_row_is_held_by_the_first_position_alone(gaussian: Callable[..., Tensor]) -> None:
    found = sensitivity(lambda x: x[0], gaussian(5, 4), positions="all", steps=3)
    assert (found.position, found.value) == (0, pytest.approx(1.0))
    assert [f.value for f in found.positions[1:]] == [0.0] * 4


def test_a_linear_map_has_the_largest_singular_value_of_the_worst_block(
    gaussian: Callable[..., Tensor],
) -> None:
    x = gaussian(4, 6)
    matrix = torch.randn(10, 24, generator=generator(5), dtype=torch.float64)
    found = sensitivity(lambda x: matrix @ x.flatten(), x, positions="all", steps=300)
    tops = [float(torch.linalg.svdvals(matrix[:, 6 * i : 6 * i + 6])[0]) for i in range(4)]
    best = int(np.argmax(tops))
    assert found.position == best
    assert found.value == pytest.approx(6**0.5 * tops[best] / float((matrix @ x.flatten()).norm()), rel=1e-3)


def test_a_linear_random_feature_map_reaches_its_singular_value(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(4, 6)
    around = RandomFeatures(4, 6, 40, "identity").perturbed(x, 2)
    top = float(torch.linalg.svdvals(around.block)[0])
    found = sensitivity(RandomFeatures(4, 6, 40, "identity"), x, positions=[2], steps=400)
    assert found.value == pytest.approx(6**0.5 * top / around.norm, rel=1e-3)


@pytest.mark.parametrize(("n", "d", "k"), [(20, 30, 400), (40, 16, 1000)])
def test_relu_features_lie_below_their_upper_bound_and_near_the_typical_law(
    gaussian: Callable[..., Tensor], n: int, d: int, k: int
) -> None:
    found = sensitivity(RandomFeatures(n, d, k), gaussian(n, d, dtype=torch.float32))
    law = (1 + (d / k) ** 0.5) / n**0.5
    assert found.bound_kind == "upper"
    assert found.bound == pytest.approx(2**0.5 * law, rel=0.1)
    assert found.bound is not None and found.value < found.bound
    assert 0.75 * law < found.value < 1.25 * law
    assert found.typical < found.value


def test_attention_is_lifted_far_above_random_features(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(24, 128, dtype=torch.float32)
    raf = sensitivity(RandomAttentionFeatures(128), x)
    rf = sensitivity(RandomFeatures(24, 128, 1000), x)
    assert raf.bound_kind == "lower" and raf.bound is not None
    assert raf.value >= raf.bound > 3 * rf.value


def test_an_ascent_never_ends_below_the_closed_form(gaussian: Callable[..., Tensor]) -> None:
    for seed in range(5):
        x, map_ = gaussian(12, 10, seed), RandomAttentionFeatures(10, seed=seed)
        climbed = sensitivity(map_, x, steps=1, starts=1)
        assert all(f.bound is not None and f.value >= f.bound - 1e-12 for f in climbed.positions)


def test_the_answer_is_what_its_delta_does(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(8, 12)
    for map_ in (RandomAttentionFeatures(12), RandomAttentionFeatures(12, "relu")):
        found = sensitivity(map_, x, steps=20)
        changed = x.clone()
        changed[found.position] += torch.from_numpy(found.delta)
        assert np.linalg.norm(found.delta) == pytest.approx(12**0.5)
        moved = float((map_(changed) - map_(x)).norm() / map_(x).norm())
        assert found.value == pytest.approx(moved, rel=1e-6)


def test_many_random_points_do_not_beat_the_ascent(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(6, 3)
    for map_ in (RandomAttentionFeatures(3), RandomFeatures(6, 3, 50), DeepRandomFeatures(6, 3, 50, depth=3)):
        around = map_.perturbed(x, 2)
        drawn = torch.randn(20_000, 3, generator=generator(1), dtype=torch.float64)
        grid = around.squared_distances(drawn * (3**0.5 / drawn.norm(dim=1, keepdim=True)))
        found = sensitivity(map_, x, positions=[2], steps=100, starts=16)
        assert found.value >= 0.995 * float(grid.max().sqrt()) / around.norm


def test_the_worst_token_is_the_one_brute_force_finds(gaussian: Callable[..., Tensor]) -> None:
    x, table, map_ = gaussian(6, 8), gaussian(30, 8, seed=4), RandomAttentionFeatures(8)
    words = Vocabulary(table, tuple(range(30)), tuple(f"w{i}" for i in range(30)))
    found = sensitivity(map_, x, positions="all", method="vocabulary", vocabulary=words)
    brute = {}
    for i in range(6):
        for token in range(30):
            changed = x.clone()
            changed[i] = table[token]
            brute[i, token] = float((map_(changed) - map_(x)).norm() / map_(x).norm())
    worst = max(brute, key=lambda key: brute[key])
    assert (found.position, found.token) == (worst[0], f"w{worst[1]}")
    assert found.value == pytest.approx(brute[worst])


def test_the_same_seed_gives_the_same_answer(gaussian: Callable[..., Tensor]) -> None:
    x = gaussian(10, 6)
    first, second = (sensitivity(RandomAttentionFeatures(6, seed=2), x, seed=5) for _ in range(2))
    assert first.value == second.value and first.trace == second.trace


def test_the_conditional_gradient_rises_at_every_step_on_a_convex_map(
    gaussian: Callable[..., Tensor],
) -> None:
    around = RandomFeatures(5, 8, 60, "identity").perturbed(gaussian(5, 8), 0)
    found = ascend(
        around.with_gradients, around.starts(1, 2.0, generator(0)), radius=2.0, steps=15, rule="conditional"
    )
    assert all(later >= sooner for sooner, later in zip(found.trace, found.trace[1:], strict=False))


def test_projection_keeps_the_inside_of_the_ball_only_when_asked() -> None:
    points = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    assert torch.allclose(project(points, 1.0, sphere=True).norm(dim=1), torch.ones(2))
    assert torch.allclose(project(points, 1.0, sphere=False).norm(dim=1), torch.tensor([1.0, 0.5]))


def test_rows_are_rescaled_to_root_d() -> None:
    rows = torch.randn(3, 5, 7, generator=generator(0))
    assert torch.allclose(rescale(rows).norm(dim=-1), torch.full((3, 5), 7**0.5))
