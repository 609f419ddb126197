"""A Llama-2 decoder made for training: one projection for q, k and v, one for gate and up.

Its logits equal those of transformers' `LlamaForCausalLM` with the same weights; `llama_state` and
`load_llama_state` translate between the two layouts. Shapes: B sequences, T tokens, H heads, K heads of keys
and of values, D features a head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.teenytinyllama.configs import ModelConfig
from etude.methods.teenytinyllama.cross_entropy import linear_cross_entropy

INITIAL_STD = 0.02
"""Standard deviation of fresh weights, as in Llama."""


class RMSNorm(nn.Module):
    """x / rms(x) * weight, over the last dimension."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize in float32; the result has the dtype of `x`."""
        if torch.compiler.is_compiling() or x.dtype != torch.float32 or x.device.type == "cuda":
            return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)
        normal: Tensor = _RMSNorm.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
        return normal


class _RMSNorm(torch.autograd.Function):
    """RMSNorm whose gradient is a few passes; n = x / rms(x) is kept for it."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        rate = (
            torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        )
        normal: Tensor = x * rate
        context.save_for_backward(normal, weight, rate)
        return normal * weight

    @staticmethod
    def backward(context: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        normal, weight, rate = context.saved_tensors
        shared = grad * normal
        along = torch.matmul(shared, weight).unsqueeze(-1).div_(-normal.shape[-1])
        return (grad * weight).addcmul_(normal, along).mul_(rate), shared.flatten(0, -2).sum(0), None


class _Rotate(torch.autograd.Function):
    """Rotary positions for the fused projection: turns q and k, passes v, and gathers one gradient."""

    @staticmethod
    def forward(
        context: Any, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, key_heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        context.save_for_backward(cos, sin)
        context.heads = (heads, key_heads)
        turned = heads + key_heads
        out = torch.empty_like(qkv)  # (B, T, H + 2 K, D)
        _turn(qkv[:, :, :turned], cos, sin, out[:, :, :turned])
        out[:, :, turned:] = qkv[:, :, turned:]
        q, k, v = torch.split(out.transpose(1, 2), [heads, key_heads, key_heads], 1)  # (B, heads, T, D) each
        return q, k, v

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        cos, sin = context.saved_tensors
        heads, key_heads = context.heads
        q, k, v = (grad.transpose(1, 2) for grad in grads)
        out = q.new_empty(*q.shape[:2], heads + 2 * key_heads, q.shape[3])
        _turn(q, cos, -sin, out[:, :, :heads])
        _turn(k, cos, -sin, out[:, :, heads : heads + key_heads])
        out[:, :, heads + key_heads :] = v
        return out, None, None, None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Write x, turned by its position's angles, to `out`: features i and i + D/2 are a pair.

    Args:
        x: (B, T, heads, D).
        cos: (T, 1, D/2).
        sin: (T, 1, D/2).
        out: As x.
    """
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    torch.mul(first, cos, out=out[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out[..., half:]).addcmul_(first, sin)


class _SwiGLU(torch.autograd.Function):
    """silu(gate) * up of the fused projection, with one gradient for both halves."""

    @staticmethod
    def forward(context: Any, gate_up: Tensor) -> Tensor:
        context.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, -1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(context: Any, grad: Tensor) -> Tensor:
        (gate_up,) = context.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        out = torch.empty_like(gate_up)
        to_gate, to_up = out.chunk(2, -1)
        to_gate.copy_(torch.ops.aten.silu_backward(grad * up, gate))
        torch.mul(F.silu(gate), grad, out=to_up)
        return out


def rotate(
    qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, key_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split the fused projection into q, k, v, with q and k turned by their positions' angles.

    Args:
        qkv: (B, T, H + 2 K, D).
        cos: (T, 1, D/2).
        sin: (T, 1, D/2).
        heads: H.
        key_heads: K.

    Returns:
        q (B, H, T, D), k and v (B, K, T, D).
    """
    cos, sin = cos.to(qkv.dtype), sin.to(qkv.dtype)
    if not torch.compiler.is_compiling():
        return _Rotate.apply(qkv, cos, sin, heads, key_heads)  # type: ignore[no-untyped-call, no-any-return]
    q, k, v = torch.split(qkv.transpose(1, 2), [heads, key_heads, key_heads], 1)
    cos, sin = cos.transpose(0, 1), sin.transpose(0, 1)  # (1, T, D/2)

    def turn(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    return turn(q), turn(k), v


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up of the fused projection (..., 2 mlp)."""
    if not torch.compiler.is_compiling():
        return _SwiGLU.apply(gate_up)  # type: ignore[no-untyped-call, no-any-return]
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


class Block(nn.Module):
    """Attention and feed-forward layer, each behind an RMSNorm and added to the stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.key_heads, self.head_size = config.heads, config.key_heads, config.head_size
        self.attention_norm = RMSNorm(config.hidden, config.norm_eps)
        self.qkv = nn.Linear(
            config.hidden, (config.heads + 2 * config.key_heads) * config.head_size, bias=False
        )
        self.output = nn.Linear(config.hidden, config.hidden, bias=False)
        self.mlp_norm = RMSNorm(config.hidden, config.norm_eps)
        self.gate_up = nn.Linear(config.hidden, 2 * config.mlp, bias=False)
        self.down = nn.Linear(config.mlp, config.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, hidden) to the same; `mask` (B, 1, T, T) is True where a token may look."""
        size = (*x.shape[:2], self.heads + 2 * self.key_heads, self.head_size)
        qkv = self.qkv(self.attention_norm(x)).view(size)
        q, k, v = rotate(qkv, cos, sin, self.heads, self.key_heads)
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=self.key_heads != self.heads
        )
        x = x + self.output(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.down(swiglu(self.gate_up(self.mlp_norm(x))))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The language model.

    Args:
        config: Its shape.
        seed: Of the fresh weights: normal with `INITIAL_STD`, norms at one.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.compiled = False  # whether torch.compile may fuse the loss as well
        self.embedding = nn.Embedding(config.vocab_size, config.hidden)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.norm_eps)
        self.projection = None if config.tied else nn.Linear(config.hidden, config.vocab_size, bias=False)
        cos, sin = rotary_tables(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.dim() > 1 and not parameter.is_meta:
                nn.init.normal_(parameter, std=INITIAL_STD, generator=generator)

    @property
    def output_weight(self) -> Tensor:
        """The output projection, (vocabulary, hidden)."""
        return self.embedding.weight if self.projection is None else self.projection.weight

    def hidden_states(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Token ids (B, T) to the normalized last states (B, T, hidden)."""
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]
        x: Tensor = self.embedding(ids)
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        return self.norm(x)  # type: ignore[no-any-return]

    def forward(self, ids: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mean cross-entropy in nats of the targets (B, T), given the ids (B, T) up to each place."""
        states = self.hidden_states(ids, mask).flatten(0, 1)
        if torch.is_autocast_enabled(states.device.type):
            states = states.to(torch.get_autocast_dtype(states.device.type))
        loss: Tensor = linear_cross_entropy(states, self.output_weight, targets.flatten(), fuse=self.compiled)
        return loss

    def logits(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Token ids (B, T) to logits (B, T, vocabulary)."""
        return F.linear(self.hidden_states(ids, mask), self.output_weight)

    @torch.inference_mode()
    def greedy(self, ids: list[int], tokens: int, end: int) -> list[int]:
        """Continue `ids` with the likeliest tokens until `end`, `tokens` of them, or a full context."""
        made: list[int] = []
        while len(made) < tokens and len(ids) + len(made) < self.config.context:
            row = torch.tensor([ids + made], device=self.cos.device)
            likeliest = int(F.linear(self.hidden_states(row)[0, -1], self.output_weight).argmax())
            if likeliest == end:
                break
            made.append(likeliest)
        return made


def rotary_tables(config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Cosine and sine of position * theta^(-2i/D), each (context, 1, D/2), float32."""
    exponent = torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size
    angle = torch.arange(config.context, dtype=torch.float32)[:, None] / config.rope_theta**exponent
    return angle.cos()[:, None], angle.sin()[:, None]


def document_mask(ids: Tensor, end: int) -> Tensor:
    """Where a token may look when documents are packed: back, and not past its own document's start.

    Rotary positions are relative, so the positions need not start again in each document.

    Args:
        ids: (B, T).
        end: The token that closes a document; it belongs to the document that it closes.

    Returns:
        (B, 1, T, T), True where the row's token may look at the column's.
    """
    closed = (ids == end).cumsum(1)
    document = closed - (ids == end).to(closed.dtype)  # (B, T): documents closed before this token
    same = document[:, :, None] == document[:, None, :]
    return same.tril().unsqueeze(1)


def llama_state(network: Decoder) -> dict[str, Tensor]:
    """The weights under transformers' names; the tied projection is left out, as transformers does."""
    config = network.config
    keys = config.key_heads * config.head_size
    state = {"model.embed_tokens.weight": network.embedding.weight, "model.norm.weight": network.norm.weight}
    for number, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        q, k, v = torch.split(block.qkv.weight, [config.hidden, keys, keys])
        gate, up = block.gate_up.weight.chunk(2)
        named = {
            "self_attn.q_proj": q,
            "self_attn.k_proj": k,
            "self_attn.v_proj": v,
            "self_attn.o_proj": block.output.weight,
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": block.down.weight,
            "input_layernorm": block.attention_norm.weight,
            "post_attention_layernorm": block.mlp_norm.weight,
        }
        state |= {f"model.layers.{number}.{name}.weight": weight for name, weight in named.items()}
    if network.projection is not None:
        state["lm_head.weight"] = network.projection.weight
    return {name: weight.detach().contiguous().cpu() for name, weight in state.items()}


@torch.no_grad()
def load_llama_state(network: Decoder, state: Mapping[str, Tensor]) -> None:
    """Take over weights that have transformers' names.

    Raises:
        EtudeError: A weight is missing or has another shape.
    """
    wanted = llama_state(network)
    for name, mine in wanted.items():
        if name not in state:
            raise EtudeError(f"the model has no weight {name}", "Start from a Llama of the same shape.")
        if state[name].shape != mine.shape:
            raise EtudeError(
                f"{name} is {tuple(state[name].shape)}, expected {tuple(mine.shape)}",
                "Start from a Llama of the same shape and vocabulary.",
            )
    prefix = "model.layers."
    for number, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        part = {n: state[f"{prefix}{number}.{n}.weight"] for n in _BLOCK_NAMES}
        block.qkv.weight.copy_(torch.cat([part[f"self_attn.{p}_proj"] for p in "qkv"]))
        block.output.weight.copy_(part["self_attn.o_proj"])
        block.gate_up.weight.copy_(torch.cat([part["mlp.gate_proj"], part["mlp.up_proj"]]))
        block.down.weight.copy_(part["mlp.down_proj"])
        block.attention_norm.weight.copy_(part["input_layernorm"])
        block.mlp_norm.weight.copy_(part["post_attention_layernorm"])
    network.embedding.weight.copy_(state["model.embed_tokens.weight"])
    network.norm.weight.copy_(state["model.norm.weight"])
    if network.projection is not None:
        network.projection.weight.copy_(state["lm_head.weight"])


_BLOCK_NAMES = (
    *(f"self_attn.{p}_proj" for p in "qkvo"),
    *(f"mlp.{p}_proj" for p in ("gate", "up", "down")),
    "input_layernorm",
    "post_attention_layernorm",
)
