"""What the Trainer lacks to resume exactly: whole checkpoints, patience that counts on, knowing the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from etude.models.quiet import quiet_transformers

_COMPLETE = "complete"
_COUNTER = "early_stopping_patience_counter"


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


class EarlyStopping(EarlyStoppingCallback):
    """Early stopping whose count goes on where a killed training was; the Trainer's starts at 0 again."""

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the count of the checkpoint."""
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        self.early_stopping_patience_counter = _count(state)


def train_or_resume(trainer: Trainer, out: Path) -> Path | None:
    """Train, or go on from the last whole checkpoint below a folder.

    A training that had come to its end takes no further step, as the Trainer would.

    Returns:
        The checkpoint, if there was one.
    """
    checkpoint = last_whole_checkpoint(out)
    if checkpoint is not None:
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        if _is_over(trainer, state):
            best = state.best_model_checkpoint
            trainer.state = state
            trainer._load_from_checkpoint(str(out / Path(best).name if best else checkpoint))
            return checkpoint
    with quiet_transformers():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return checkpoint


def _is_over(trainer: Trainer, state: TrainerState) -> bool:
    steps = trainer.args.max_steps if trainer.args.max_steps > 0 else state.max_steps
    patience = [
        one.early_stopping_patience
        for one in trainer.callback_handler.callbacks
        if isinstance(one, EarlyStopping)
    ]
    return state.global_step >= steps or any(_count(state) >= one for one in patience)


def _count(state: TrainerState) -> int:
    held: Any = state.stateful_callbacks
    return int(held[EarlyStopping.__name__]["attributes"][_COUNTER]) if EarlyStopping.__name__ in held else 0
