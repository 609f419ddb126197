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

from typing import Any

import torch
from torch import Tensor

_CPU_CHUNK = 2**19
"""Logits of a chunk on a processor: 2 MiB in float32, which stay in the cores' own cache."""

_GPU_CHUNK = 2**25
"""Logits of a chunk on a GPU: 128 MiB in float32, enough rows to fill the device."""


def chunk_rows(tokens: int, vocab_size: int, device: torch.device) -> int:
    """Rows of a chunk: as many as the device's budget of logits allows, at least one."""
    budget = _CPU_CHUNK if device.type == "cpu" else _GPU_CHUNK
    return max(1, min(tokens, budget // vocab_size))


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, chunk: int | None = None
) -> Tensor:
    """Mean cross-entropy of `hidden @ weight.T` against `targets`, in nats.

    Equal to `F.cross_entropy(hidden @ weight.T, targets)` in value and in both gradients.

    Args:
        hidden: (tokens, hidden), float32 or bfloat16; products are in its dtype, all sums in float32.
        weight: (vocabulary, hidden), float32; its gradient is float32.
        targets: (tokens,), int64 ids below the vocabulary.
        chunk: Rows of logits at a time; chosen for the device when left out.

    Returns:
        Scalar, float32.
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, chunk)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int | None) -> Tensor:
        tokens, vocab_size = hidden.shape[0], weight.shape[0]
        rows = chunk or chunk_rows(tokens, vocab_size, hidden.device)
        differentiate = any(context.needs_input_grad)
        with torch.autocast(hidden.device.type, enabled=False):
            projection = weight.to(hidden.dtype)  # (vocabulary, hidden)
            grad_hidden = torch.empty_like(hidden) if differentiate else None
            grad_weight = torch.zeros_like(weight) if differentiate else None
            losses = torch.empty(tokens, dtype=torch.float32, device=hidden.device)
            for start in range(0, tokens, rows):
                part = slice(start, min(start + rows, tokens))
                logits = torch.mm(hidden[part], projection.t()).float()  # (rows, vocabulary)
                label = targets[part].unsqueeze(1)
                chosen = logits.gather(1, label)
                highest = logits.amax(1, keepdim=True)
                torch.softmax(logits, 1, out=logits)
                # softmax of the highest logit is 1 / sum_j exp(logit_j - highest)
                losses[part] = (highest - chosen - logits.amax(1, keepdim=True).log()).squeeze(1)
                if grad_hidden is not None and grad_weight is not None:
                    logits.scatter_add_(1, label, logits.new_full((1, 1), -1.0).expand_as(label))
                    slope = logits.to(hidden.dtype)  # gradient of the logits, d loss / d (W x)
                    torch.mm(slope, projection, out=grad_hidden[part])
                    if slope.dtype == weight.dtype:
                        grad_weight.addmm_(slope.t(), hidden[part])
                    else:
                        grad_weight += slope.t() @ hidden[part]
        context.save_for_backward(grad_hidden, grad_weight)
        context.tokens = tokens
        return losses.mean()

    @staticmethod
    def backward(context: Any, grad_loss: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = context.saved_tensors
        scale = grad_loss / context.tokens
        return grad_hidden * scale.to(grad_hidden.dtype), grad_weight * scale, None, None
