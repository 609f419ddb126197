"""The fused loss against F.cross_entropy: values, gradients, and what it holds in memory."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from etude.methods.teenytinyllama.cross_entropy import chunk_rows, linear_cross_entropy


def draw(tokens: int, hidden: int, vocab: int, scale: float, dtype=torch.float32):
    generator = torch.Generator().manual_seed(tokens * 7 + vocab)
    x = (torch.randn(tokens, hidden, generator=generator) * scale).to(dtype).requires_grad_()
    w = torch.randn(vocab, hidden, generator=generator).requires_grad_()
    return x, w, torch.randint(0, vocab, (tokens,), generator=generator)


@given(
    tokens=st.integers(1, 40),
    vocab=st.integers(2, 60),
    chunk=st.one_of(st.none(), st.integers(1, 50)),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
)
@settings(max_examples=40, deadline=None)
def test_value_and_gradients_equal_those_of_cross_entropy(tokens, vocab, chunk, scale) -> None:
    x, w, y = draw(tokens, 8, vocab, scale)
    loss = linear_cross_entropy(x, w, y, chunk=chunk)
    gradients = torch.autograd.grad(loss * 3.0, (x, w))
    x64, w64 = x.double().detach().requires_grad_(), w.double().detach().requires_grad_()
    expected = F.cross_entropy(x64 @ w64.T, y)
    wanted = torch.autograd.grad(expected * 3.0, (x64, w64))
    assert torch.allclose(loss.double(), expected, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(gradients, wanted, strict=True):
        assert torch.allclose(mine.double(), theirs, rtol=1e-4, atol=1e-5 * max(1.0, scale))


def test_logits_of_hundreds_do_not_overflow() -> None:
    x, w, y = draw(4, 8, 30, 300.0)
    loss = linear_cross_entropy(x, w, y)
    assert torch.isfinite(loss)
    assert torch.allclose(loss, F.cross_entropy(x @ w.T, y), rtol=1e-5)


def test_bfloat16_products_stay_near_the_exact_loss() -> None:
    x, w, y = draw(64, 32, 100, 0.3, torch.bfloat16)
    loss = linear_cross_entropy(x, w, y)
    loss.backward()
    exact = F.cross_entropy(x.detach().float() @ w.detach().T, y)
    assert abs(float(loss.detach() - exact)) < 0.02
    assert w.grad.dtype == torch.float32 and x.grad.dtype == torch.bfloat16


class _Largest(TorchDispatchMode):
    """Notes the largest result of any operation."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return result


def test_no_operation_ever_holds_tokens_times_vocabulary() -> None:
    tokens, vocab = 512, 1000
    x, w, y = draw(tokens, 8, vocab, 1.0)
    with _Largest() as seen:
        linear_cross_entropy(x, w, y, chunk=64).backward()
    assert seen.largest == 64 * vocab
    with _Largest() as usual:
        F.cross_entropy(x @ w.T, y)
    assert usual.largest == tokens * vocab


@pytest.mark.parametrize("vocab", [100, 4096, 32_000, 10_000_000])
def test_chunks_are_as_large_as_the_budget_and_never_empty(vocab: int) -> None:
    rows = chunk_rows(8192, vocab, torch.device("cpu"))
    assert 64 <= rows <= 8192
    assert chunk_rows(3, vocab, torch.device("cpu")) == 3
