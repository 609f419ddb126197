"""The trained tensors of a model, alone, in a file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

_WEIGHTS = "trained.safetensors"


def save_trained(model: nn.Module, folder: Path) -> None:
    """Write the parameters that are trained."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(trained, folder / _WEIGHTS)


def restore(model: nn.Module, folder: Path) -> None:
    """Read them back."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in load_file(folder / _WEIGHTS).items():
            parameters[name].copy_(value)
