"""Visual prompts and the two networks that read them: a frozen ViT, and a small block over a CNN's cells.

Paper section 4.2: `[cls; p_1..p_P; e_1..e_N]` before the first block, without position embeddings; the
picture's vector is the mean of the P prompt positions after the final LayerNorm. Deep prompts: Jia et al.
2022 (VPT).
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from etude.errors import EtudeError
from etude.methods.tmpt.settings import TMPTConfig
from etude.models import VisionEncoder


class ImageBranch(Protocol):
    """From stored states of a picture to its vector."""

    width: int

    def __call__(self, states: Tensor, target: Tensor | None = None) -> Tensor:
        """Stored states (B, ...) and target embeddings (B, d_T) to (B, width)."""


class VisualPrompts(nn.Module):
    """P learnable vectors for each prompted block, uniform in ±√(6 / 2d).

    Args:
        count: P.
        width: d, of the states they lie among.
        blocks: 1 for shallow prompts.
        dropout: On the vectors.
        target_width: Length of target embeddings that are mapped and added; None: the prompts do not see the
            target, as in the released code. The map starts at zero.
    """

    def __init__(
        self,
        count: int,
        width: int,
        *,
        blocks: int = 1,
        dropout: float = 0.0,
        target_width: int | None = None,
    ) -> None:
        super().__init__()
        bound = math.sqrt(6.0 / (2 * width))
        self.vectors = nn.Parameter(torch.empty(blocks, count, width).uniform_(-bound, bound))
        self.from_target: nn.Linear | None = None
        if target_width is not None:
            self.from_target = nn.Linear(target_width, width, bias=False)
            nn.init.zeros_(self.from_target.weight)
        self.dropout = nn.Dropout(dropout)

    @property
    def count(self) -> int:
        """P."""
        return self.vectors.shape[1]

    def forward(self, block: int, batch: int, target: Tensor | None = None) -> Tensor:
        """The prompts of a block, (B, P, d).

        Args:
            block: Of the prompted blocks, from 0.
            batch: B.
            target: Target embeddings, (B, d_T).
        """
        prompts = self.vectors[block].expand(batch, -1, -1)
        if self.from_target is not None and target is not None:
            prompts = prompts + self.from_target(target).unsqueeze(1)
        return self.dropout(prompts)  # type: ignore[no-any-return]


class PlainImage(nn.Module):
    """The encoder's own vector of a picture, without prompts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, states: Tensor, target: Tensor | None = None) -> Tensor:
        """(B, width) as it is."""
        return states


class PromptedViT(nn.Module):
    """The blocks of a frozen ViT from the first prompted one on.

    Args:
        vit: A `ViTModel`; its weights never move.
        prompts: Their vectors; one set a block for deep prompts.
        start: The block k, from 1, at which prompts enter.
    """

    def __init__(self, vit: Any, prompts: VisualPrompts, start: int = 1) -> None:
        super().__init__()
        self.vit, self.prompts, self.start = vit, prompts, start
        self.width = int(vit.config.hidden_size)
        vit.requires_grad_(False)

    def train(self, mode: bool = True) -> PromptedViT:
        """Train the prompts; the ViT stays in evaluation mode."""
        super().train(mode)
        self.vit.eval()
        return self

    def forward(self, states: Tensor, target: Tensor | None = None) -> Tensor:
        """States before block k, (B, 1 + N, d), to (B, d)."""
        count, deep = self.prompts.count, len(self.prompts.vectors) > 1
        for number, block in enumerate(vit_blocks(self.vit)[self.start - 1 :]):
            if number == 0 or deep:
                rest = states[:, 1:] if number == 0 else states[:, 1 + count :]
                fresh = self.prompts(number, len(states), target)
                states = torch.cat([states[:, :1], fresh, rest], dim=1)
            states = run_block(block, states)
        read: Tensor = self.vit.layernorm(states)[:, 1 : 1 + count]
        return read.mean(1)


class GridAdapter(nn.Module):
    """One trained pre-norm attention block over the cells of a frozen feature map.

    `[cls; p_1..p_P; cells]` as in the ViT. Only the prompt positions are read, so only they are queries and
    only they go through the MLP; every position is a key and a value.

    Args:
        channels: Of a cell.
        width: Of the block.
        heads: Of its attention.
        prompts: Their vectors, of that width.
    """

    def __init__(self, channels: int, width: int, heads: int, prompts: VisualPrompts) -> None:
        super().__init__()
        self.width, self.heads, self.prompts = width, heads, prompts
        self.project = nn.Linear(channels, width)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.before_attention, self.before_mlp, self.final = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.attended = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, states: Tensor, target: Tensor | None = None) -> Tensor:
        """Cells (B, N, channels) to (B, width)."""
        batch = len(states)
        prompts = self.prompts(0, batch, target)
        tokens = torch.cat([self.cls.expand(batch, -1, -1), prompts, self.project(states)], dim=1)
        normed = self.before_attention(tokens)
        query = self._split(self.query(normed[:, 1 : 1 + self.prompts.count]))
        key, value = (self._split(part) for part in self.key_value(normed).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value)  # (B, heads, P, width / heads)
        x = prompts + self.attended(mixed.transpose(1, 2).flatten(2))
        x = x + self.mlp(self.before_mlp(x))
        read: Tensor = self.final(x)
        return read.mean(1)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def image_branch(config: TMPTConfig, vision: VisionEncoder, target_width: int) -> nn.Module:
    """The image branch that a configuration asks for.

    Raises:
        EtudeError: Deep prompts or a later start without a ViT, or a start behind its last block.
    """
    if config.visual_prompts == 0:
        return PlainImage(vision.width)
    target = target_width if config.visual_prompt_target else None
    if vision.kind == "grid":
        if config.visual_prompt_depth == "deep" or config.visual_prompt_start > 1:
            raise EtudeError(
                f"{vision.name} has no transformer blocks for deep or late visual prompts",
                "Use a ViT, or shallow prompts from block 1: the grid adapter has one block.",
            )
        prompts = VisualPrompts(
            config.visual_prompts, config.adapter_width, dropout=config.prompt_dropout, target_width=target
        )
        return GridAdapter(vision.width, config.adapter_width, config.adapter_heads, prompts)
    if vision.kind != "vit":
        raise EtudeError(
            f"{vision.name} is a CLIP model: a baseline here, not an encoder for prompts",
            "Give it as --clip-model, and a ViT or a CNN as --vision-model.",
        )
    blocks = len(vit_blocks(vision.model)) - config.visual_prompt_start + 1
    if blocks < 1:
        raise EtudeError(
            f"prompts from block {config.visual_prompt_start} on, but {vision.name} has "
            f"{blocks + config.visual_prompt_start - 1}",
            "Choose an earlier --visual-prompt-start.",
        )
    prompts = VisualPrompts(
        config.visual_prompts,
        vision.width,
        blocks=blocks if config.visual_prompt_depth == "deep" else 1,
        dropout=config.prompt_dropout,
        target_width=target,
    )
    return PromptedViT(vision.model, prompts, config.visual_prompt_start)


def vit_blocks(vit: Any) -> Any:
    """The blocks of a `ViTModel`, where this version of transformers keeps them."""
    return vit.layers if hasattr(vit, "layers") else vit.encoder.layer


def run_block(block: Any, states: Tensor) -> Tensor:
    """One block of a ViT, (B, T, d) to (B, T, d)."""
    found = block(states)
    return found if isinstance(found, Tensor) else found[0]


def vit_prefix(vision: VisionEncoder, pixels: Tensor, start: int) -> Tensor:
    """States before block `start`: embeddings with positions, then the blocks before it; (B, 1 + N, d)."""
    vit: Any = vision.model
    with torch.inference_mode():
        states: Tensor = vit.embeddings(vision.scale(pixels))
        for block in vit_blocks(vit)[: start - 1]:
            states = run_block(block, states)
        return states


def vit_vector(vision: VisionEncoder, pixels: Tensor) -> Tensor:
    """The class token after the last block, (B, d)."""
    vit: Any = vision.model
    with torch.inference_mode():
        states: Tensor = vit.layernorm(vit_prefix(vision, pixels, len(vit_blocks(vit)) + 1))
        return states[:, 0]
