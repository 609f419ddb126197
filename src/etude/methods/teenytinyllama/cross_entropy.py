"""Cross-entropy of a linear projection without ever holding (tokens, vocabulary) in memory.

For hidden states x (tokens, hidden), a projection W (vocabulary, hidden) and targets y, the loss is
sum_i [logsumexp(W x_i) - (W x_i)[y_i]] and its gradient with respect to the logits is softmax - onehot. A
chunk of rows is projected, turned into that gradient in place, and at once multiplied into the gradients of x
and W. The logits of one chunk are all that exists at a time, nothing is computed twice, and backward only
scales.

Peak memory is chunk x vocabulary numbers in float32 beside the gradients of x and W, where the usual way
holds tokens x vocabulary two to four times (logits, log-probabilities, their gradients, a float32 copy).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_CPU_CHUNK = 2**18
"""Logits of a chunk for each core: 1 MiB in float32, which stays in the core's own cache."""

_GPU_CHUNK = 2**25
"""Logits of a chunk on a GPU: 128 MiB in float32, enough rows to fill the device."""

_LEAST_ROWS = 64
"""Below so many rows, the gradient of W would be read and written more than it is computed."""


def chunk_rows(tokens: int, vocab_size: int, device: torch.device) -> int:
    """Rows of a chunk: as many as the device's budget of logits allows, but enough to work on."""
    budget = _GPU_CHUNK if device.type == "cuda" else _CPU_CHUNK * torch.get_num_threads()
    return max(1, min(tokens, max(_LEAST_ROWS, budget // vocab_size)))


@torch.compiler.disable  # type: ignore[untyped-decorator]
def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk: int | None = None, fuse: bool = False
) -> Tensor:
    """Mean cross-entropy of `hidden @ weight.T` against `targets`, in nats.

    Equal to `F.cross_entropy(hidden @ weight.T, targets)` in value and in both gradients.

    Args:
        hidden: (tokens, hidden), float32 or bfloat16; products are in its dtype, all sums in float32.
        weight: (vocabulary, hidden), float32; its gradient is float32.
        targets: (tokens,), int64 ids below the vocabulary.
        chunk: Rows of logits at a time; chosen for the device when left out.
        fuse: Let torch.compile make one kernel of the passes over a chunk.

    Returns:
        Scalar, float32.
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, chunk, fuse)  # type: ignore[no-untyped-call]
    return loss


def exponentiate(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Turn a chunk of logits into sum_j e_j times their gradient, in place.

    With e = exp(logit - highest) and s = sum_j e_j, the loss is highest + log s - logit[label] and its
    gradient (e - s onehot) / s. The division is left to the caller, who does it on fewer numbers.

    Args:
        logits: (rows, vocabulary), float32.
        label: (rows, 1).

    Returns:
        The losses and s, both (rows, 1).
    """
    chosen = logits.gather(1, label)
    highest = logits.amax(1, keepdim=True)
    logits.sub_(highest).exp_()
    total = logits.sum(1, keepdim=True)
    logits.scatter_add_(1, label, -total)
    return highest + total.log() - chosen, total


@cache
def _fused_exponentiate() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return torch.compile(exponentiate, dynamic=False)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int | None, fuse: bool
    ) -> Tensor:
        tokens, vocab_size = hidden.shape[0], weight.shape[0]
        rows = chunk or chunk_rows(tokens, vocab_size, hidden.device)
        differentiate = any(context.needs_input_grad)
        prepare = _fused_exponentiate() if fuse else exponentiate
        with torch.autocast(hidden.device.type, enabled=False):
            projection = weight.to(hidden.dtype)  # (vocabulary, hidden)
            # processors multiply by a contiguous right side faster, which repays the copy
            right = projection.t() if hidden.device.type == "cuda" else projection.t().contiguous()
            grad_hidden = torch.empty_like(hidden) if differentiate else None
            grad_weight = torch.zeros_like(weight) if differentiate else None
            losses = torch.empty((tokens, 1), dtype=torch.float32, device=hidden.device)
            for start in range(0, tokens, rows):
                part = slice(start, min(start + rows, tokens))
                logits = torch.mm(hidden[part], right).float()  # (rows, vocabulary)
                losses[part], total = prepare(logits, targets[part].unsqueeze(1))
                if grad_hidden is None or grad_weight is None:
                    continue
                slope, some = logits.to(hidden.dtype), hidden[part] / total
                torch.mm(slope, projection, out=grad_hidden[part]).div_(total)
                if slope.dtype == weight.dtype:
                    grad_weight.addmm_(slope.t(), some)
                else:
                    grad_weight += slope.t() @ some.to(slope.dtype)
        context.save_for_backward(grad_hidden, grad_weight)
        context.tokens = tokens
        return losses.mean()

    @staticmethod
    def backward(context: Any, grad_loss: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_weight = context.saved_tensors
        scale = grad_loss / context.tokens
        return grad_hidden * scale.to(grad_hidden.dtype), grad_weight * scale, None, None, None
