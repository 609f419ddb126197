"""`fit` in two processes under torchrun: what one learns, and the same again after an interruption."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback

from etude.errors import EtudeError
from etude.runs import leads, processes
from etude.training import fit


class Line(nn.Module):
    """Two layers, with dropout between them."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 1))

    def forward(self, x, y):
        return {"loss": ((self.layers(x)[:, 0] - y) ** 2).mean()}


class Stops(TrainerCallback):
    """Ends the training in the middle."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 14:
            raise KeyboardInterrupt


def train(out: Path, dropout: float, **options) -> None:
    """Train, and keep weights and evaluation losses in `out`."""
    draws = torch.Generator().manual_seed(7)
    data = [{"x": x, "y": x.sum() ** 2 / 4} for x in torch.randn(48, 4, generator=draws)]
    model = Line(dropout)
    found = fit(model, data[:40], data[40:], out=out, learning_rate=1e-2, save_every=4, **options)
    losses = torch.tensor([one["eval_loss"] for one in found.history if "eval_loss" in one])
    if leads():
        save_file({**model.state_dict(), "losses": losses}, out / "end.safetensors")


def both_ways(folder: Path) -> None:
    """The same batches dealt to the processes; and whole batches as items, side by side or in turn."""
    train(folder / "dealt", 0.0, epochs=4, batch_size=8)
    train(folder / "items", 0.0, epochs=1, batch_size=1, accumulate=2 // processes())


def only_together(folder: Path) -> None:
    """What is there with two processes alone."""
    with pytest.raises(EtudeError, match="cannot be dealt to 2 processes"):
        train(folder / "odd", 0.0, epochs=1, batch_size=5)
    train(folder / "whole", 0.5, epochs=4, batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        train(folder / "stopped", 0.5, epochs=4, batch_size=8, callbacks=[Stops()])
    train(folder / "stopped", 0.5, epochs=4, batch_size=8)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_and_go_on_where_they_were(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    both_ways(one)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launcher, __file__, str(two)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("dealt", "items"):
        alone, together = (load_file(folder / name / "end.safetensors") for folder in (one, two))
        assert len(together["losses"]) == 5
        assert all((alone[tensor] - together[tensor]).abs().max() < 1e-5 for tensor in alone)
        files = {path.name for path in (two / name / "checkpoint-20").iterdir()}
        assert {"trained.safetensors", "complete", "rng_state_0.pth", "rng_state_1.pth"} <= files
    whole, resumed = (load_file(two / name / "end.safetensors") for name in ("whole", "stopped"))
    assert all((whole[tensor] == resumed[tensor]).all() for tensor in whole)  # with each one's own dropout


if __name__ == "__main__":
    both_ways(Path(sys.argv[1]))
    only_together(Path(sys.argv[1]))
