"""How fast the machine multiplies matrices of the model's shapes, and what share a training reaches."""

from __future__ import annotations

import time

import torch

from etude.methods.teenytinyllama.configs import ModelConfig, parameters


def gemm_peak(
    config: ModelConfig, tokens: int, *, dtype: torch.dtype, device: torch.device, repetitions: int = 5
) -> float:
    """Floating-point operations a second of the model's own matrix products, forward only.

    One block's four products and the vocabulary's, each timed by itself (best of some), weighted as a step
    uses them. It is the limit for a step that did nothing else.

    Args:
        config: The model.
        tokens: Rows of the activations, at most 4,096 of which are used.
        dtype: Of the products.
        device: Where.
        repetitions: Timings of each product, after one to warm up.
    """
    rows = min(tokens, 4096)
    keys = config.key_heads * config.head_size
    shapes = [
        (config.hidden, config.hidden + 2 * keys, config.layers),
        (config.hidden, config.hidden, config.layers),
        (config.hidden, 2 * config.mlp, config.layers),
        (config.mlp, config.hidden, config.layers),
        (config.hidden, config.vocab_size, 1),
    ]
    work = seconds = 0.0
    for inner, outer, count in shapes:
        part = (
            min(rows, max(128, 2**25 // outer))
            if device.type == "cuda"
            else min(rows, max(64, 2**19 // outer))
        )
        left = torch.randn(part, inner, dtype=dtype, device=device)
        right = torch.randn(outer, inner, dtype=dtype, device=device)
        out = torch.empty(part, outer, dtype=dtype, device=device)
        best = min(_timed(left, right, out) for _ in range(repetitions + 1))
        work += count * 2.0 * inner * outer
        seconds += count * best / part
    return work / seconds


def utilization(tokens_per_second: float, config: ModelConfig, peak: float) -> float:
    """tokens/s x 6 N / peak: the share of the machine's matrix rate that the training reached (its MFU).

    N counts all parameters, 2 N operations a token forward and 4 N backward; attention's own products are
    left out, as usual.
    """
    return tokens_per_second * 6 * parameters(config) / peak


def _timed(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> float:
    _wait(left.device)
    began = time.perf_counter()
    torch.mm(left, right.t(), out=out)
    _wait(left.device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
