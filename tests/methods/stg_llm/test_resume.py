"""A real training process is killed midway; the same command again gives the same weights, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from etude.methods.stg_llm import train
train(
    Path(sys.argv[1]), out=Path(sys.argv[2]), model=sys.argv[3], layers=2, history=6, horizon=3,
    steps=60, save_every=4, batch_size=4, prompt="time", learning_rate=1e-3,
)
"""


def start(data: Path, out: Path, model: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(data), str(out), model], env=environment)


def test_a_killed_training_resumes_to_the_same_weights(
    ring_csv: Path, llama_model: str, tmp_path: Path, run_here: Callable[..., None]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start(ring_csv, broken, llama_model)
    deadline = time.monotonic() + 240
    while len(list((broken / "fit").glob("checkpoint-*"))) < 2:  # well inside the 60 steps
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "model.safetensors").exists()
    run_here(PROGRAM, ring_csv, broken, llama_model)
    run_here(PROGRAM, ring_csv, whole, llama_model)
    assert (broken / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, broken)]
    assert results[0] == {**results[1], "out": results[0]["out"]}
