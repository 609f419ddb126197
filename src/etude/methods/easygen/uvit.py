"""The noise network: one transformer with long skips over picture, CLIP vector and text together (U-ViT).

The input is a row of tokens `[t_image, t_text, (data type), text..., (CLIP), picture patches...]`; each input
gets its own estimate back. The layout is UniDiffuser's (Bao et al. 2023), so that its weights fit
(`unidiffuser_weights`). Times are integers: 0 says that an input is clean, T that it is absent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from etude.errors import EtudeError

Wanted = Literal["both", "image", "text"]


@dataclass(frozen=True)
class UViTConfig:
    """The shape of a network.

    Args:
        image_size: Height and width of the picture grid: pixels, or cells of a VAE's latent.
        image_channels: Channels of that grid.
        patch: Side of a patch, in cells.
        text_tokens: Text latents of one caption.
        text_dim: Their width.
        clip_dim: Width of the CLIP picture vector; 0 for a network without one.
        width: Of the tokens.
        depth: Blocks besides the middle one: half of them before it, half behind, joined by skips.
        heads: Attention heads.
        qkv_bias: Whether queries, keys and values have a bias.
        data_type: Whether there is a data-type token (UniDiffuser-v1 has one).
    """

    image_size: int
    image_channels: int = 3
    patch: int = 8
    text_tokens: int = 8
    text_dim: int = 32
    clip_dim: int = 0
    width: int = 128
    depth: int = 4
    heads: int = 4
    qkv_bias: bool = False
    data_type: bool = False

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be."""
        if self.image_size % self.patch:
            raise EtudeError(
                f"a picture grid of {self.image_size} cells cannot be cut into patches of {self.patch}",
                "Choose a patch that divides it.",
            )
        if self.width % self.heads or self.width % 4 or self.depth % 2:
            raise EtudeError(
                f"width {self.width}, {self.heads} heads, depth {self.depth}",
                "The width is a multiple of the heads and of 4, the depth is even.",
            )

    @property
    def patches(self) -> int:
        """Picture tokens."""
        return (self.image_size // self.patch) ** 2

    @property
    def head_tokens(self) -> int:
        """Tokens before the text: the two times, and the data type."""
        return 2 + self.data_type


class Estimate(NamedTuple):
    """What the network says about each input; None for one that was not wanted or is not there.

    Args:
        image: (batch, channels, size, size).
        clip: (batch, 1, clip_dim).
        text: (batch, text_tokens, text_dim).
    """

    image: Tensor | None
    clip: Tensor | None
    text: Tensor | None


class UViT(nn.Module):
    """U-ViT with a separate time for each side (UniDiffuser, section 4; its weights are post-LayerNorm)."""

    def __init__(self, config: UViTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        patch_dim = config.image_channels * config.patch**2
        self.image_in = nn.Linear(patch_dim, width)
        self.text_in = nn.Linear(config.text_dim, width)
        self.clip_in = nn.Linear(config.clip_dim, width) if config.clip_dim else None
        self.data_type = nn.Embedding(2, width) if config.data_type else None
        tokens = config.head_tokens + config.text_tokens + bool(config.clip_dim) + config.patches
        self.positions = nn.Parameter(torch.zeros(1, tokens, width))
        self.down = nn.ModuleList([Block(config) for _ in range(config.depth // 2)])
        self.middle = Block(config)
        self.skips = nn.ModuleList([Skip(width) for _ in range(config.depth // 2)])
        self.up = nn.ModuleList([Block(config) for _ in range(config.depth // 2)])
        self.norm = nn.LayerNorm(width)
        self.image_out = nn.Linear(width, patch_dim)
        self.text_out = nn.Linear(width, config.text_dim)
        self.clip_out = nn.Linear(width, config.clip_dim) if config.clip_dim else None
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(
        self,
        image: Tensor,
        clip: Tensor | None,
        text: Tensor,
        t_image: Tensor,
        t_text: Tensor,
        *,
        data_type: int = 1,
        wanted: Wanted = "both",
    ) -> Estimate:
        """Estimate what was added to each input (or the clean input; the noise schedule says which).

        Args:
            image: (batch, channels, size, size).
            clip: (batch, 1, clip_dim), or None for a network without CLIP vectors.
            text: (batch, text_tokens, text_dim).
            t_image: Time of picture and CLIP vector, (batch,): 0 clean, T absent.
            t_text: Time of the text, (batch,).
            data_type: Row of the data-type embedding, where there is one.
            wanted: Which estimates to compute: the last block and the heads skip the rest.
        """
        config = self.config
        parts = [
            time_embedding(t_image, config.width)[:, None],
            time_embedding(t_text, config.width)[:, None],
        ]
        if self.data_type is not None:
            parts.append(self.data_type.weight[data_type].expand(len(image), 1, -1))
        parts.append(self.text_in(text))
        if self.clip_in is not None:
            parts.append(self.clip_in(clip))
        parts.append(self.image_in(patches(image, config.patch)))
        x = torch.cat(parts, dim=1) + self.positions  # (batch, tokens, width)
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
        x = self.middle(x)
        first, last = 0, x.shape[1]
        if wanted == "text":
            first, last = config.head_tokens, config.head_tokens + config.text_tokens
        elif wanted == "image":
            first = config.head_tokens + config.text_tokens
        for number, (skip, block) in enumerate(zip(self.skips, self.up, strict=True), start=1):
            x = skip(x, kept.pop())
            x = block(x, slice(first, last) if number == len(self.up) else None)
        return self._heads(self.norm(x), wanted)

    def _heads(self, x: Tensor, wanted: Wanted) -> Estimate:
        config = self.config
        if wanted == "text":
            return Estimate(None, None, self.text_out(x))
        text = None
        if wanted == "both":
            text = self.text_out(x[:, config.head_tokens : config.head_tokens + config.text_tokens])
        rest = x[:, -config.patches - bool(config.clip_dim) :]
        clip = self.clip_out(rest[:, :1]) if self.clip_out is not None else None
        image = unpatch(self.image_out(rest[:, -config.patches :]), config)
        return Estimate(image, clip, text)


class Block(nn.Module):
    """Self-attention and MLP (ratio 4, GELU), each followed by a LayerNorm on the residual path."""

    def __init__(self, config: UViTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias)
        self.out = nn.Linear(config.width, config.width)
        self.norm_attention = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, 4 * config.width)
        self.narrow = nn.Linear(4 * config.width, config.width)
        self.norm_mlp = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, rows: slice | None = None) -> Tensor:
        """All tokens attend to all; with `rows` only those tokens are computed and returned.

        Args:
            x: (batch, tokens, width).
            rows: Tokens to keep.
        """
        batch, tokens, width = x.shape
        if rows is None:
            q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        else:
            weight, bias = self.qkv.weight, self.qkv.bias
            at, rest = x[:, rows], None if bias is None else bias[width:]
            q = F.linear(at, weight[:width], None if bias is None else bias[:width])
            q = q.view(batch, at.shape[1], self.heads, -1).transpose(1, 2)
            k, v = (
                F.linear(x, weight[width:], rest)
                .view(batch, tokens, 2, self.heads, -1)
                .permute(2, 0, 3, 1, 4)
            )
            x = at
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        x = self.norm_attention(self.out(mixed) + x)
        mlp: Tensor = self.norm_mlp(self.narrow(F.gelu(self.widen(x))) + x)
        return mlp


class Skip(nn.Module):
    """Joins the tokens of a late block with those of its early partner."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, early: Tensor) -> Tensor:
        """(batch, tokens, width) twice to once."""
        joined: Tensor = self.norm(self.linear(torch.cat([x, early], dim=-1)))
        return joined


def patches(image: Tensor, patch: int) -> Tensor:
    """(batch, channels, size, size) to (batch, patches, channels * patch * patch), row by row."""
    return F.unfold(image, patch, stride=patch).transpose(1, 2)


def unpatch(tokens: Tensor, config: UViTConfig) -> Tensor:
    """Tokens whose features run (row in patch, column in patch, channel) to a grid; UniDiffuser's order."""
    side, patch = config.image_size // config.patch, config.patch
    grid = tokens.reshape(-1, side, side, patch, patch, config.image_channels)
    return torch.einsum("bhwpqc->bchpwq", grid).reshape(-1, config.image_channels, side * patch, side * patch)


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoids of times, (batch,) to (batch, width): cosines, then sines, of t 10000^(-i/(width/2))."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=t.device, dtype=torch.float32) * (-math.log(10000.0) / half))
    angles = t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)
