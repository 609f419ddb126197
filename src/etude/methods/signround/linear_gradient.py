"""The weight gradient of linear layers in bfloat16, where the CPU or GPU multiplies it several times faster.

SignSGD uses only the sign of dL/dW, so a product that is exact to 2^-8 is enough: over 99.9 % of the signs
are the same (tested), while outputs, losses and the gradient of the inputs stay in float32. It takes a
quarter of a step's time away on a CPU with AMX.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class _Linear(torch.autograd.Function):
    """`functional.linear` whose weight gradient is multiplied in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (slope,) = outputs  # (..., out)
        x, weight = ctx.saved_tensors
        rows, inputs = slope.reshape(-1, slope.shape[-1]), x.reshape(-1, x.shape[-1])
        by_input = slope @ weight if ctx.needs_input_grad[0] else None
        by_weight = (rows.bfloat16().T @ inputs.bfloat16()).float() if ctx.needs_input_grad[1] else None
        by_bias = rows.sum(0) if ctx.needs_input_grad[2] else None
        return by_input, by_weight, by_bias


class LowPrecisionWeightGradient(TorchFunctionMode):
    """Every float32 `functional.linear` within it has its weight gradient multiplied in bfloat16."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.linear and not kwargs and args[0].dtype == torch.float32:
            x, weight, *rest = args
            return _Linear.apply(x, weight, rest[0] if rest else None)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def multiplies_bfloat16_fast(device: torch.device) -> bool:
    """Whether a bfloat16 matrix product is much faster than a float32 one."""
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()
