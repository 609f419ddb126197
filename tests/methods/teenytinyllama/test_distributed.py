"""Two processes under torchrun learn what one learns at the same tokens a step."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROGRAM = """
import sys
from etude.methods.teenytinyllama import pretrain
pretrain(sys.argv[1], out=sys.argv[2], hidden=32, mlp=64, layers=2, heads=2, context=32, steps=20,
         tokens_per_step=256, learning_rate=1e-3, energy="estimate", device="cpu")
"""


@pytest.mark.slow
def test_two_gloo_processes_equal_one(corpus, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    alone, together = tmp_path / "alone", tmp_path / "together"
    subprocess.run([sys.executable, program, corpus(), alone], check=True, env=environment)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, program, corpus(), together], check=True, env=environment)
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (alone, together))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    losses = [
        [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (alone, together)
    ]
    assert torch.allclose(torch.tensor(losses[0]), torch.tensor(losses[1]), atol=1e-5)
