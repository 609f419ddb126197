"""The step of a supremum search on attention features, against the dense step.

The peer is the step that the paper's published scripts take, written here from its description: autograd
through softmax(X W X^T / sqrt(d)) X with one row of X changed, one start at a time. Ours is the same value
and gradient by updating one row and one column of the scores, for one start and for eight at once. Both are
checked against each other first. Also counted: the memory of a random-features step that never holds V.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks._comparison import Comparison, Figure
from etude.methods.word_sensitivity import RandomAttentionFeatures, RandomFeatures
from etude.methods.word_sensitivity.perturbation import DensePerturbation, generator, on_sphere, rescale

PEERS = ()
TRAFFIC = "The limit is the memory traffic of the stacked (4n, d) matrix, which every step passes twice."
STARTS = 8
TARGETS = {(250, 768): (10.0, 30.0)}  # single start, eight starts


def seconds(step: Callable[[], object], repetitions: int) -> float:
    """Wall seconds of one call: the fastest of `repetitions`, since other work can only add."""
    taken = []
    for _ in range(repetitions):
        began = time.perf_counter()
        step()
        taken.append(time.perf_counter() - began)
    return min(taken)


def compare(n: int, d: int, rounds: int, repetitions: int) -> tuple[list[Figure], dict[str, Any]]:
    """Interleaved rounds of the dense step and ours on one text; medians over rounds."""
    x = rescale(torch.randn(n, d, generator=generator(n, d)))
    map_ = RandomAttentionFeatures(d)
    naive, ours = DensePerturbation(map_, x, n // 2), map_.perturbed(x, n // 2)
    many = on_sphere(STARTS, x[n // 2], d**0.5, generator(1))
    one = many[:1].contiguous()
    true, slope = naive.with_gradients(many)
    value, gradient = ours.with_gradients(many)
    exact, exact_slope = DensePerturbation(map_, x.double(), n // 2).with_gradients(many.double())
    times: dict[str, list[float]] = {"naive": [], "one": [], "eight": []}
    for _ in range(rounds):
        times["naive"].append(seconds(lambda: naive.with_gradients(one), max(2, repetitions // 5)))
        times["one"].append(seconds(lambda: ours.with_gradients(one), repetitions))
        times["eight"].append(seconds(lambda: ours.with_gradients(many), repetitions) / STARTS)
    ratios = {
        name: [a / b for a, b in zip(times["naive"], times[name], strict=True)] for name in ("one", "eight")
    }
    work = f"a step of the search, {n} tokens, {d} wide"
    single, batched = TARGETS.get((n, d), (None, None))
    name = "autograd through the whole map, as published"
    figures = [
        Figure(f"{work}, one start", name, "wall seconds", tuple(ratios["one"]), single, if_missed=TRAFFIC),
        Figure(f"{work}, eight starts", name, "wall seconds a start", tuple(ratios["eight"]), batched,
               if_missed=TRAFFIC),
    ]  # fmt: skip
    return figures, {
        "n": n,
        "d": d,
        "naive ms": 1e3 * statistics.median(times["naive"]),
        "ours ms": 1e3 * statistics.median(times["one"]),
        "ours ms a start, eight at once": 1e3 * statistics.median(times["eight"]),
        "value, relative error": float(((value - exact) / exact).abs().max()),
        "value, relative error of naive": float(((true - exact) / exact).abs().max()),
        "gradient, relative error": float((gradient.double() - exact_slope).norm() / exact_slope.norm()),
        "gradient, relative error of naive": float(
            (slope.double() - exact_slope).norm() / exact_slope.norm()
        ),
    }


def profile(n: int, d: int, repetitions: int) -> list[dict[str, Any]]:
    """Where one of our steps with one start spends its time."""
    x = rescale(torch.randn(n, d, generator=generator(n, d)))
    ours = RandomAttentionFeatures(d).perturbed(x, n // 2)
    delta = on_sphere(1, x[n // 2], d**0.5, generator(1))
    column, stacked = delta.T.contiguous(), torch.randn(4 * n, 1)
    parts = {
        "stack (4n, d) times Δ": lambda: ours.stack @ column,
        "its transpose times (4n, 1)": lambda: ours.stack.T @ stacked,
        "symmetric part of W (d, d) times Δ": lambda: ours.terms.symmetric @ column,
        "XXᵀ (n, n) times q": lambda: ours.terms.gram @ stacked[:n],
        "the whole step": lambda: ours.with_gradients(delta),
    }
    for part in parts.values():
        part()
    return [{"part": name, "ms": 1e3 * seconds(part, repetitions)} for name, part in parts.items()]


def features_memory(n: int, d: int, k: int) -> dict[str, Any]:
    """Bytes that a step on random features holds, against those of the dense V."""
    x = rescale(torch.randn(n, d, generator=generator(n, d)))
    around = RandomFeatures(n, d, k).perturbed(x, 0)
    held = around.block.nbytes + around.base.nbytes
    return {"n": n, "d": d, "k": k, "held MB": held / 1e6, "dense V, float64, GB": 8 * k * n * d / 1e9}


def main(*, full: bool, repetitions: int) -> Comparison:
    """Ratios are naive ÷ ours, each the fastest of twenty steps."""
    del full
    sizes = [(250, 768), (120, 768), (250, 192)]
    figures, rows = list[Figure](), list[dict[str, Any]]()
    for n, d in sizes:
        more, row = compare(n, d, repetitions, 20)
        figures += more
        rows.append(row)
    details = {
        "attention step": rows,
        "profile": profile(*sizes[0], 20),
        "random features": [features_memory(150, 768, 4096)],
        "dense V of the paper's largest setting, GB": 8 * (150 * 768) ** 2 / 1e9,
    }
    return Comparison(figures, (), details)
