"""Checkpoints of the trained tensors alone, marked when they are whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback, TrainingArguments

_WEIGHTS = "trained.safetensors"
_COMPLETE = "complete"


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


class MarkComplete(TrainerCallback):
    """Marks a checkpoint once all its files are written: one without the mark was cut off by a kill."""

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the mark."""
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()


def last_whole_checkpoint(out: Path) -> Path | None:
    """The last checkpoint that is whole; others are removed."""
    whole: list[Path] = []
    for folder in out.glob("checkpoint-*"):
        if (folder / _COMPLETE).exists():
            whole.append(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
