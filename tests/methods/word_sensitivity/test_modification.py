"""Context modification: the identities against explicit interpolation, and what the theorem forbids."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.word_sensitivity import (
    RandomAttentionFeatures,
    RandomFeatures,
    context_modification,
    modify,
)
from etude.methods.word_sensitivity.interpolation import Learner, MinNormFit
from etude.methods.word_sensitivity.modification import ModificationTask
from etude.methods.word_sensitivity.perturbation import generator, rescale


def features(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=generator(seed), dtype=torch.float64)


@pytest.mark.parametrize("learner", ["fine_tuned", "retrained"])
def test_the_identity_predicts_what_the_learned_weights_predict(learner: Learner) -> None:
    phi, y = features(12, 40), torch.tensor([1.0, -1.0] * 6, dtype=torch.float64)
    new, changed, label = features(1, 40, 1)[0], features(1, 40, 2)[0], -1.0
    fit = MinNormFit(phi, y)
    assert torch.allclose(fit.theta, torch.linalg.pinv(phi) @ y)
    if learner == "fine_tuned":
        theta = fit.theta + new * (label - new @ fit.theta) / new.square().sum()
    else:
        theta = torch.linalg.pinv(torch.cat([phi, new[None]])) @ torch.cat(
            [y, torch.tensor([label]).double()]
        )
    share = changed @ fit.alignment_vector(new, learner)
    predicted = changed @ fit.theta + share * (label - new @ fit.theta)
    assert float(predicted) == pytest.approx(float(changed @ theta))
    assert float(new @ theta) == pytest.approx(label)  # the new text is learned exactly


def test_the_projection_is_beside_every_training_text() -> None:
    phi = features(10, 25)
    fit = MinNormFit(phi, torch.tensor([1.0, -1.0] * 5))
    vector = features(1, 25, 3)[0]
    explicit = (torch.eye(25).double() - torch.linalg.pinv(phi) @ phi) @ vector
    assert torch.allclose(fit.beside(vector), explicit)
    assert float((phi @ fit.beside(vector)).abs().max()) < 1e-12


def texts(count: int, n: int, d: int, seed: int = 0) -> tuple[Tensor, list[float]]:
    x = rescale(torch.randn(count, n, d, generator=generator(seed, n, d)))
    return x, [1.0 - 2 * (i % 2) for i in range(count)]


@pytest.mark.parametrize("learner", ["fine_tuned", "retrained"])
def test_random_features_cannot_beat_the_bound_by_more_than_five_percent(learner: Learner) -> None:
    x, y = texts(66, 24, 24)
    found = context_modification(
        RandomFeatures(24, 24, 3000), x, y, n_train=60, learner=learner, starts=4, steps=60
    )
    assert (found.gammas < 2).all()
    assert (found.errors >= 0.95 * found.bound).all()
    assert found.errors.mean() > 1.0


def test_attention_features_can_be_told_apart() -> None:
    x, y = texts(46, 12, 48)
    found = context_modification(RandomAttentionFeatures(48), x, y, n_train=40)
    assert np.median(found.errors) < 1e-3 and found.errors.mean() < 0.1


def test_a_penalty_forbids_the_flip_of_the_old_predictor() -> None:
    x, y = texts(46, 12, 48)
    task = ModificationTask(RandomAttentionFeatures(48), x, y, n_train=40)
    free, held = (task.minimize("fine_tuned", penalty=p, steps=80) for p in (0.0, 1.0))
    assert held.gammas.mean() < free.gammas.mean()
    cost = [np.mean(f.errors + f.gammas**2) for f in (held, free)]
    assert cost[0] < cost[1]


def test_the_feature_objectives_pull_their_own_alignment_down() -> None:
    x, y = texts(34, 10, 32)
    task = ModificationTask(RandomAttentionFeatures(32), x, y, n_train=30)
    own = task.minimize("fine_tuned", "features").alignments.mean()
    assert own < task.minimize("fine_tuned", "loss").alignments.mean()
    beside = task.minimize("retrained", "feature_alignment").alignments.mean()
    assert beside < task.minimize("retrained", "loss").alignments.mean()
    rf = ModificationTask(RandomFeatures(10, 32, 2000), x, y, n_train=30)
    assert rf.minimize("fine_tuned", "features").alignments.mean() > 0.7  # the map hardly moves


def test_what_is_reported_is_what_the_found_change_does() -> None:
    x, y = texts(23, 8, 10)
    map_ = RandomAttentionFeatures(10, "relu")
    task = ModificationTask(map_, x, y, n_train=20, positions=[3])
    for text in task.minimize("retrained").texts:
        assert text.gamma == pytest.approx(abs(text.f0_xd - text.f0_x))
        assert abs(text.f1_x) == 1.0
        assert text.f1_xd == pytest.approx(text.f0_xd + text.alignment * (text.f1_x - text.f0_x))
        assert text.error == pytest.approx((text.f1_xd + text.f1_x) ** 2)


def test_a_map_of_ones_own_works_by_the_dense_path() -> None:
    x, y = texts(13, 4, 6)
    own = context_modification(
        lambda text: torch.cat([text, text**2], 1), x, y, n_train=10, starts=2, steps=10
    )
    assert len(own.errors) == 3


def test_modify_writes_a_row_for_every_text_and_resumes(
    llama_folder: str, reviews: Path, tmp_path: Path
) -> None:
    arguments = {
        "texts": reviews, "embeddings": llama_folder, "n_train": 12, "tokens": 8, "tests": 3, "steps": 10,
        "starts": 2, "out": tmp_path / "m",
    }  # fmt: skip
    found = modify("raf", **arguments)
    table = pl.read_parquet(tmp_path / "m" / "modification.parquet")
    assert table.height == 2 * 3 * 3
    assert {"map", "learner", "objective", "n", "d", "N", "seed", "text_id", "f0_x", "f0_xd", "f1_x", "f1_xd",
            "alignment", "gamma", "error"} <= set(table.columns)  # fmt: skip
    assert modify("raf", **arguments).rows == found.rows
    assert (tmp_path / "m" / "report.html").exists()


def test_more_texts_than_can_be_interpolated_are_refused_with_the_miss() -> None:
    phi = features(30, 10)
    with pytest.raises(
        EtudeError, match=r"30 labels cannot be interpolated: the features have rank 10(.|\n)*misses"
    ):
        MinNormFit(phi, torch.tensor([1.0, -1.0] * 15))


def test_the_same_text_with_two_labels_is_refused_and_with_one_is_not() -> None:
    phi = features(4, 10)
    twice = torch.cat([phi, phi[:1]])
    with pytest.raises(EtudeError, match="misses a label by 1"):
        MinNormFit(twice, torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0]))
    assert MinNormFit(twice, torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])).rank == 4


def test_a_new_text_within_the_span_of_the_old_cannot_be_retrained() -> None:
    fit = MinNormFit(features(6, 10), torch.tensor([1.0, -1.0] * 3))
    with pytest.raises(EtudeError, match="span of the training features"):
        fit.alignment_vector(fit.features[0] + fit.features[1], "retrained")


def test_labels_of_one_kind_or_of_three_are_refused(gaussian: Callable[..., Tensor]) -> None:
    x, _ = texts(6, 4, 5)
    for labels in ([1.0] * 6, [1.0, -1.0, 0.0, 1.0, -1.0, 1.0], [0.0, 1.0] * 3):
        with pytest.raises(EtudeError, match="labels"):
            context_modification(RandomAttentionFeatures(5), x, labels, n_train=4)
    with pytest.raises(EtudeError, match="leave some texts"):
        context_modification(RandomAttentionFeatures(5), x, [1.0, -1.0] * 3, n_train=6)
