"""The text encoder and what of it moves: everything, soft tokens, LoRA, or nothing."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from etude.methods.tmpt.settings import TMPTConfig
from etude.methods.tmpt.text_prompt import Readout
from etude.models import Encoder, load_encoder, model_directory
from etude.runs import read_json

_FILLS_MASKS = ("MaskedLM", "ForPreTraining")


@lru_cache(maxsize=2)
def load_text(name: str) -> Encoder:
    """A text encoder without its pooler, whose output nothing reads.

    Raises:
        EtudeError: No such model, or it is no encoder.
    """
    encoder = load_encoder(name)
    model: Any = encoder.model
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    model.requires_grad_(False)
    return encoder


def default_readout(encoder: Encoder) -> Readout:
    """`mask` for an encoder that learned to fill masks, else `mean`: its mask state means nothing."""
    architectures = read_json(model_directory(encoder.name) / "config.json").get("architectures") or []
    return "mask" if any(a.endswith(_FILLS_MASKS) for a in architectures) else "mean"


class GivenText(nn.Module):
    """Text vectors of a frozen encoder, computed before."""

    def forward(self, text: Tensor) -> Tensor:
        """(B, d_T) as it is."""
        return text


class TunedText(nn.Module):
    """A text encoder of which something moves.

    Args:
        encoder: The encoder; a copy of it is tuned.
        config: `text_tuning` and the sizes of soft tokens and LoRA.
        readout: Where it is read.
    """

    def __init__(self, encoder: Encoder, config: TMPTConfig, readout: Readout) -> None:
        super().__init__()
        self.readout = readout
        self.soft_tokens = 0
        model: Any = copy.deepcopy(encoder.model)
        if config.text_tuning == "full":
            model.requires_grad_(True)
        elif config.text_tuning == "lora":
            model = _with_lora(model, config.lora_rank)
        else:
            model = _with_soft_tokens(model, config.text_tokens)
            self.soft_tokens = config.text_tokens
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, mask_at: Tensor) -> Tensor:
        """Tokens to vectors.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T).
            mask_at: Place of the mask in each row, (B,).

        Returns:
            (B, d_T).
        """
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return read_states(states[:, self.soft_tokens :], attention_mask, mask_at, self.readout)


def read_states(states: Tensor, attention_mask: Tensor, mask_at: Tensor, readout: Readout) -> Tensor:
    """One vector of a text: its state at the mask, its mean over tokens, or its first state.

    Args:
        states: (B, T, d).
        attention_mask: (B, T).
        mask_at: (B,).
        readout: Which.
    """
    if readout == "mask":
        return states[torch.arange(len(states), device=states.device), mask_at]
    if readout == "cls":
        return states[:, 0]
    weights = attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def text_branch(config: TMPTConfig, encoder: Encoder, readout: Readout) -> nn.Module:
    """The text branch that a configuration asks for."""
    return GivenText() if config.text_tuning == "frozen" else TunedText(encoder, config, readout)


def _with_lora(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN

    targets = None if model.config.model_type in KNOWN else "all-linear"
    settings = LoraConfig(
        task_type="FEATURE_EXTRACTION", r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets
    )
    return get_peft_model(model, settings)


def _with_soft_tokens(model: Any, count: int) -> Any:
    from peft import PromptTuningConfig, get_peft_model

    return get_peft_model(model, PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=count))
