"""An exponential moving average of the trained weights, kept with every checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import TrainerCallback, TrainingArguments

_FILE = "moving_average.safetensors"


class MovingAverage(TrainerCallback):
    """Follows a network while `fit` trains it, by diffusers' `EMAModel`.

    Args:
        network: The network; its parameters are averaged.
        decay: Of the average; in the first steps it is lower, (1 + step) / (10 + step).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        from diffusers.training_utils import EMAModel

        self.network = network
        self.average: Any = EMAModel(network.parameters(), decay=decay)

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on from the average of the checkpoint that training goes on from."""
        path = _checkpoint(args, state) / _FILE
        if state.global_step and path.exists():
            with safe_open(path, framework="pt") as stored:
                self.average.shadow_params = [
                    stored.get_tensor(str(n)).to(p.device) for n, p in enumerate(self.average.shadow_params)
                ]
                self.average.optimization_step = json.loads(stored.metadata()["steps"])
        else:
            self.average.to(args.device)

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the new weights in."""
        self.average.step(self.network.parameters())

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Store the average in the checkpoint."""
        if state.is_world_process_zero:
            tensors = {
                str(n): p.detach().cpu().contiguous() for n, p in enumerate(self.average.shadow_params)
            }
            steps = json.dumps(self.average.optimization_step)
            save_file(tensors, _checkpoint(args, state) / _FILE, metadata={"steps": steps})

    def put_in(self) -> None:
        """Give the network the averaged weights."""
        self.average.copy_to(self.network.parameters())


def _checkpoint(args: TrainingArguments, state: Any) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
