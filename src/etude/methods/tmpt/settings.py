"""What a model is and how it is trained; the released configuration's grid stands beside each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from etude.errors import EtudeError
from etude.methods.tmpt.text_prompt import Readout

Tuning: TypeAlias = Literal["full", "prompt", "lora", "frozen"]
Depth: TypeAlias = Literal["shallow", "deep"]
Branches: TypeAlias = Literal["both", "text", "image"]
Gate: TypeAlias = Literal["learned", "none"]
PAPER_SEEDS = (42, 67, 2022, 31, 15)


@dataclass(frozen=True)
class TMPTConfig:
    """Shape of a model.

    Attributes:
        branches: What it reads; `text` and `image` are the single-modality baselines.
        text_tuning: What of the text encoder moves: all (the released code), soft tokens, LoRA, nothing.
        text_readout: Where it is read; None: the mask where the encoder learned to fill it, else the mean.
        text_tokens: Soft tokens P_T of `prompt`.
        lora_rank: Rank of `lora`.
        max_length: Most tokens of text and prompt (released: 400; 128 for KEBERT).
        targeted: False leaves the target out of the prompt, as a control.
        visual_prompts: P (grid: 5, 7, 10); 0 reads the picture without prompts.
        visual_prompt_depth: Prompts at the first prompted block only, or fresh ones at each.
        visual_prompt_start: Block k at which prompts enter; blocks before it are computed once.
        visual_prompt_target: Add a map of the target's sentence embedding to every visual prompt.
        prompt_dropout: On visual prompts (grid: 0, 0.2, 0.4).
        width: Fusion width m (grid: 300, 512, the smaller encoder's).
        gate: A learned factor on the visual half, from 0.1, or none as in the paper.
        modality_dropout: Share of training rows whose picture is hidden from the classifier.
        adapter_width: Of the grid adapter's block.
        adapter_heads: Of the grid adapter's block.
        image_size: Side in pixels; None: the vision encoder's own.
        split_tags: Cut hashtags and mentions into words.
        ocr: Append the text read in the picture.
    """

    branches: Branches = "both"
    text_tuning: Tuning = "full"
    text_readout: Readout | None = None
    text_tokens: int = 20
    lora_rank: int = 8
    max_length: int = 400
    targeted: bool = True
    visual_prompts: int = 7
    visual_prompt_depth: Depth = "shallow"
    visual_prompt_start: int = 1
    visual_prompt_target: bool = False
    prompt_dropout: float = 0.0
    width: int = 300
    gate: Gate = "learned"
    modality_dropout: float = 0.0
    adapter_width: int = 128
    adapter_heads: int = 4
    image_size: int | None = None
    split_tags: bool = False
    ocr: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name, low in (("visual_prompts", 0), ("text_tokens", 1), ("lora_rank", 1), ("width", 1),
                          ("visual_prompt_start", 1), ("max_length", 8)):  # fmt: skip
            if getattr(self, name) < low:
                raise EtudeError(f"{name} is {getattr(self, name)}", f"It is at least {low}.")
        for name in ("prompt_dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise EtudeError(f"{name} is {getattr(self, name)}", "It lies in [0, 1).")
        if self.adapter_width % self.adapter_heads:
            raise EtudeError(
                f"adapter_width {self.adapter_width} is no multiple of {self.adapter_heads} heads",
                "Choose widths that divide.",
            )


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        epochs: Paper: 20 in-target, 15 zero-shot.
        batch_size: Posts a step (paper: 64).
        encoder_rate: Of the text encoder (grid: 5e-5, 1e-5, 5e-6).
        linear_rate: Of projections, adapter and classifier (grid: 1e-3, 1e-4, 1e-5).
        prompt_rate: Of soft tokens, LoRA and visual prompts (grid: 1e-3, 1e-4, 1e-5).
        weight_decay: Of matrices (grid: 1e-5 to 1e-2).
        warmup: Share of the steps (grid: 0, 0.3); the rate then falls linearly to 0.
        sort_by_length: Batches of posts of similar length, padded to their own longest.
        pad_to: Pad every text to this length instead, as the released code does (400); None: to the longest.
    """

    epochs: int = 20
    batch_size: int = 64
    encoder_rate: float = 1e-5
    linear_rate: float = 1e-3
    prompt_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.0
    sort_by_length: bool = True
    pad_to: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.epochs < 1 or self.batch_size < 2 or not 0 <= self.warmup < 1:
            raise EtudeError(
                f"epochs {self.epochs}, batch size {self.batch_size}, warm-up {self.warmup} cannot be",
                "At least 1 epoch, 2 posts a batch (the projections normalize over it), warm-up in [0, 1).",
            )
