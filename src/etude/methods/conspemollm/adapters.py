"""What of a model is trained: LoRA adapters on all projections, the last two layers, or everything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from etude.errors import EtudeError
from etude.methods.conspemollm.settings import Tuning
from etude.runs import atomic_path

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
RANK, ALPHA, DROPOUT = 16, 32, 0.05
"""The release's LoRA option."""


def make_trainable(model: Any, tuning: Tuning, seed: int) -> Any:
    """Mark what is trained; with `lora`, put adapters into the model in place.

    Args:
        model: A transformers model.
        tuning: `last2`, `lora` or `full`.
        seed: Of the adapters' first weights.

    Returns:
        The PEFT model around it for `lora`, else the model.

    Raises:
        EtudeError: `last2`, and the layers of this model cannot be told by name.
    """
    if tuning == "full":
        model.requires_grad_(True)
        return model
    model.requires_grad_(False)
    if tuning == "last2":
        numbered = {
            name: int(found.group(1))
            for name, _ in model.named_parameters()
            if (found := re.search(r"(?:layers?|blocks?|h)\.(\d+)\.", name))
        }
        if not numbered:
            raise EtudeError("the layers of this encoder have no numbers", "Use --tuning lora or full.")
        last = max(numbered.values())
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(numbered.get(name, -1) >= last - 1)
        return model
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    names = {name.rpartition(".")[2] for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    targets: Any = [name for name in PROJECTIONS if name in names] or "all-linear"
    return get_peft_model(
        model, LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=targets)
    )


def save_trained(model: nn.Module, path: Path) -> None:
    """Write the trainable tensors, in one step: what stage B goes on from after a kill."""
    tensors = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)


def load_trained(model: nn.Module, path: Path) -> None:
    """Read what `save_trained` wrote into the same model."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in load_file(path).items():
            parameters[name].copy_(value)
