"""Curves: the fitted exponent, its interval, and the laws on synthetic inputs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import linregress
from torch import Tensor

from etude.methods.word_sensitivity import RandomAttentionFeatures, Shape, curve
from etude.methods.word_sensitivity.results import best_per_text, fit_power_law, fit_rows


def test_the_fit_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    lengths = [10, 20, 50, 100, 250]
    values = np.exp(-0.5 * np.log(lengths) + rng.normal(0, 0.1, (4, 3, 5)))
    found = fit_power_law(lengths, values)
    true = linregress(np.log(lengths), np.log(values).mean((0, 1)))
    assert found.exponent == pytest.approx(true.slope)
    assert found.r2 == pytest.approx(true.rvalue**2)
    assert found.low is not None and found.high is not None
    assert found.low < found.exponent < found.high


def test_the_interval_covers_the_true_exponent_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    lengths = np.array([16, 32, 64, 128])
    covered = 0
    for _ in range(60):
        slopes = -0.5 + rng.normal(0, 0.1, (20, 1, 1))
        found = fit_power_law(list(lengths), np.exp(slopes * np.log(lengths)))
        assert found.low is not None and found.high is not None
        covered += found.low <= -0.5 <= found.high
    assert covered >= 48


def test_one_text_with_one_seed_has_no_interval_and_one_text_with_many_seeds_has() -> None:
    values = np.array([[[1.0, 0.5]]])
    assert fit_power_law([10, 20], values).interval == "–"
    assert fit_power_law([10, 20], np.array([[[1.0, 0.5], [1.0, 0.6], [0.9, 0.5]]])).low is not None


def test_the_best_position_of_each_text_counts() -> None:
    rows = [
        {"text_id": t, "seed": 0, "n": n, "value": v, "typical": v}
        for t, n, v in (("a", 4, 1.0), ("a", 4, 3.0), ("a", 8, 2.0), ("b", 4, 5.0), ("b", 8, 1.0))
    ]
    assert best_per_text(rows, "n").tolist() == [[[3.0, 2.0]], [[5.0, 1.0]]]
    assert fit_rows(rows[:2], "n") is None


def test_random_features_decay_as_one_over_root_n_and_attention_does_not() -> None:
    settings = {"embeddings": "gaussian", "d": 128, "seeds": 2, "count": 3, "positions": "sample:1"}
    rf = curve("rf", None, [8, 16, 32, 64], k=600, starts=2, steps=15, **settings)
    raf = curve("raf", None, [8, 16, 32, 64], **settings)
    relu = curve("relu-raf", None, [8, 16, 32, 64], **settings)
    assert rf.exponent == pytest.approx(-0.5, abs=0.06)
    assert raf.exponent is not None and raf.exponent > -0.15
    assert relu.exponent is not None and relu.exponent < -0.3
    assert raf.fit is not None and raf.fit.typical[-1] < 0.2 * raf.fit.means[-1]


def test_attention_decays_where_n_exceeds_d_and_says_so() -> None:
    found = curve(
        "raf", None, [16, 64, 256], embeddings="gaussian", d=16, seeds=2, count=5, positions="sample:1"
    )
    assert found.exponent is not None and found.exponent < -0.15
    assert any("n > d at n = 64, 256" in notice for notice in found.notices)


def test_along_width_attention_grows_and_along_features_little_changes() -> None:
    wide = curve("raf", None, 32, axis="d", values="8,32,128", embeddings="gaussian", seeds=1, count=3)
    assert wide.exponent is not None and wide.exponent > 0.2
    many = curve("rf", None, "16", axis="k", values=[200, 800], d=8, embeddings="gaussian", seeds=1, count=3)
    assert many.exponent == pytest.approx(0, abs=0.15)
    deep = curve(
        "drf", None, "16", axis="depth", values=[1, 2, 4], k=128, d=8, embeddings="gaussian", seeds=1, count=2
    )
    assert deep.fit is not None and deep.fit.lengths == (1, 2, 4)
    assert deep.fit.means[2] > deep.fit.means[0]  # the C^L of the theorem


def test_a_map_of_ones_own_and_an_array_of_ones_own_are_enough(gaussian: Callable[..., Tensor]) -> None:
    texts = torch.stack([gaussian(16, 6, seed=s) for s in range(3)]).numpy()
    identity = curve(lambda shape, seed: lambda x: x, texts, [4, 8, 16], seeds=1, steps=2, starts=1)
    assert identity.exponent == pytest.approx(-0.5, abs=1e-6)

    def sigmoid(shape: Shape, seed: int) -> RandomAttentionFeatures:
        return RandomAttentionFeatures(shape.d, lambda s: torch.sigmoid(s) / s.shape[-1], seed=seed)

    assert curve(sigmoid, texts, [4, 8], seeds=1, steps=3, starts=1).exponent is not None


def test_a_curve_writes_its_table_fit_plot_and_page(llama_folder: str, reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    found = curve("raf", reviews, "8,16", embeddings=llama_folder, seeds=2, count=2, out=out)
    table = pl.read_parquet(out / "sensitivity.parquet")
    assert table.columns[:19] == [
        "map", "site", "head", "source", "n", "d", "k", "depth", "seed", "text_id", "position", "method",
        "radius", "value", "bound", "norm", "steps", "token_id", "token",
    ]  # fmt: skip
    assert table.height == 2 * 2 * 2 * 4 == len(found.rows)
    fit = json.loads((out / "fits.json").read_text())["raf"]
    assert {"exponent", "low", "high", "r2", "lengths"} <= set(fit)
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    again = curve("raf", reviews, "8,16", embeddings=llama_folder, seeds=2, count=2, out=out)
    assert again.rows == found.rows


def test_the_closed_form_alone_is_a_curve_too() -> None:
    bound = curve("raf", None, [8, 32], embeddings="gaussian", d=64, seeds=1, count=2, method="bound")
    climbed = curve("raf", None, [8, 32], embeddings="gaussian", d=64, seeds=1, count=2)
    assert bound.fit is not None and climbed.fit is not None
    assert all(b <= c + 1e-9 for b, c in zip(bound.fit.means, climbed.fit.means, strict=True))
