"""A run that was killed, stopped, or has a spoiled checkpoint ends with the same weights, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.teenytinyllama import checkpoints, training_loop
from etude.methods.teenytinyllama.pretraining import pretrain

SHAPE = {"hidden": 32, "mlp": 64, "layers": 2, "heads": 2, "context": 32, "tokens_per_step": 256}
HOW = {"steps": 400, "checkpoint_every": 10, "eval_every": 40, "learning_rate": 3e-3, "energy": "estimate"}

PROGRAM = """
import json, sys
from etude.methods.teenytinyllama import pretrain
pretrain(sys.argv[1], out=sys.argv[2], **json.loads(sys.argv[3]))
"""


def start(data: Path, out: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", PROGRAM, str(data), str(out), json.dumps({**SHAPE, **HOW})]
    return subprocess.Popen(arguments, env=environment)


def wait_for_checkpoint(out: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while not any(int(p.name.removeprefix("step_")) >= step for p in (out / "checkpoints").glob("step_*")):
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def losses(out: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert start(corpus(), out).wait() == 0
    return out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_run_ends_as_the_uninterrupted_one(number, corpus, uninterrupted, tmp_path) -> None:
    out = tmp_path / "run"
    process = start(corpus(), out)
    wait_for_checkpoint(out, 20, process)
    process.send_signal(number)
    status = process.wait()
    assert status == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert not (out / "model").exists()
    if number == signal.SIGTERM:
        stored = json.loads((out / "run.json").read_text())
        assert stored["status"] == "interrupted"
    assert start(corpus(), out).wait() == 0
    assert weights(out) == weights(uninterrupted)
    assert losses(out) == losses(uninterrupted)
    for name in ("eval.jsonl", "samples.jsonl"):
        assert (out / name).read_text() == (uninterrupted / name).read_text()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    spent = [row["kwh"] for row in rows]
    assert spent == sorted(spent), "the energy goes on from where it was"


def spoil(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-5] ^= 0xFF
    (folder / name).write_bytes(bytes(data))


@pytest.fixture
def stopped_run(corpus, tmp_path, monkeypatch) -> Path:
    """A short run that ended, by an error, at step 30 with checkpoints 20 and 30."""
    out = tmp_path / "run"
    real = training_loop._Training._save

    def save_then_fail(self) -> None:
        real(self)
        if self.progress.step == 30:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(training_loop._Training, "_save", save_then_fail)
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(corpus(), out=out, **SHAPE, **{**HOW, "steps": 60})
    assert {p.name for p in (out / "checkpoints").iterdir()} == {"step_20", "step_30"}
    return out


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_spoiled_last_checkpoint_falls_back_to_the_one_before(
    name, stopped_run, corpus, tmp_path, capfd
) -> None:
    whole = tmp_path / "whole"
    pretrain(corpus(), out=whole, **SHAPE, **{**HOW, "steps": 60})
    spoil(stopped_run / "checkpoints" / "step_30", name)
    capfd.readouterr()
    pretrain(corpus(), out=stopped_run, **SHAPE, **{**HOW, "steps": 60})
    said = " ".join(capfd.readouterr().err.split())
    assert "step_30" in said and "is damaged" in said and "falling back" in said
    assert weights(stopped_run) == weights(whole)


def test_when_every_checkpoint_is_spoiled_it_says_so(stopped_run, corpus) -> None:
    for folder in (stopped_run / "checkpoints").iterdir():
        spoil(folder, "weights.safetensors")
    with pytest.raises(EtudeError, match="all 2 checkpoints"):
        pretrain(corpus(), out=stopped_run, **SHAPE, **{**HOW, "steps": 60})


def test_without_space_it_says_so_and_the_checkpoint_before_stays(stopped_run, corpus, monkeypatch) -> None:
    def full(tensors, path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        with pytest.raises(EtudeError, match=r"(?i)no space left"):
            pretrain(corpus(), out=stopped_run, **SHAPE, **{**HOW, "steps": 60})
    assert {p.name for p in (stopped_run / "checkpoints").iterdir()} == {"step_20", "step_30"}
    pretrain(corpus(), out=stopped_run, **SHAPE, **{**HOW, "steps": 60})
    assert (stopped_run / "model" / "config.json").exists()


def test_optimizer_random_state_and_cursor_are_in_the_checkpoint(stopped_run) -> None:
    from safetensors.torch import load_file

    folder = stopped_run / "checkpoints" / "step_30"
    progress = json.loads((folder / "state.json").read_text())["progress"]
    assert progress["step"] == 30 and progress["tokens"] == 30 * 256 and progress["blocks"] >= 0
    assert progress["consumption"]["seconds"] > 0
    names = load_file(folder / "optimizer.safetensors").keys()
    assert {"exp_avg.norm.weight", "exp_avg_sq.norm.weight", "step.norm.weight"} <= set(names)


def test_another_configuration_in_the_same_folder_is_refused(stopped_run, corpus) -> None:
    with pytest.raises(EtudeError, match="another configuration"):
        pretrain(corpus(), out=stopped_run, **SHAPE, **{**HOW, "steps": 61})
