"""Checkpoints marked when they are whole: one without the mark was cut off by a kill."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

_COMPLETE = "complete"


class MarkComplete(TrainerCallback):
    """Marks a checkpoint once all its files are written; it has to be the last of the callbacks."""

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the mark, once every process has written its part."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()


def last_whole_checkpoint(out: Path) -> Path | None:
    """The last checkpoint below a folder that is whole; others are removed."""
    whole: list[Path] = []
    for folder in out.glob("checkpoint-*"):
        if (folder / _COMPLETE).exists():
            whole.append(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return max(whole, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
