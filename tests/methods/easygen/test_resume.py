"""Killed with SIGKILL and started again: training and encoding end as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from etude.errors import EtudeError
from etude.methods.easygen import evaluate, train_bidiffuser
from etude.methods.easygen.bidiffuser import BiDiffuser
from etude.runs import Run

from .conftest import TINY

_TRAIN = """
import sys, os, signal
from pathlib import Path
from etude.methods.easygen import train_bidiffuser
from etude.methods.easygen.moving_average import MovingAverage
stop = int(sys.argv[3])
whole = MovingAverage.on_step_end
def step(self, args, state, control, **kwargs):
    whole(self, args, state, control, **kwargs)
    with open(sys.argv[4], "a") as log:
        log.write(f"{state.global_step}\\n")
    if state.global_step == stop:
        os.kill(os.getpid(), signal.SIGKILL)
MovingAverage.on_step_end = step
train_bidiffuser(sys.argv[1], out=Path(sys.argv[2]), steps=12, **%r)
"""

_ENCODE = """
import sys, os, signal
from pathlib import Path
from etude.methods.easygen import encode
from etude.methods.easygen.bidiffuser import BiDiffuser
read = BiDiffuser.read
stop = int(sys.argv[4])
calls = 0
def counted(self, pixels, keys, **sampling):
    global calls
    calls += 1
    with open(sys.argv[5], "a") as log:
        log.write(" ".join(keys) + "\\n")
    if calls == stop:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, pixels, keys, **sampling)
BiDiffuser.read = counted
encode(sys.argv[1], bidiffuser=sys.argv[2], out=Path(sys.argv[3]), steps=2, shard_size=3)
"""


def run(code: str, *arguments: object) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode


@pytest.mark.slow
def test_killed_training_ends_with_the_weights_of_an_uninterrupted_one(
    pictures: Path, tmp_path: Path
) -> None:
    code, log = _TRAIN % TINY, tmp_path / "log"
    assert run(code, pictures, tmp_path / "killed", 8, log) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "result.json").exists()
    assert run(code, pictures, tmp_path / "killed", -1, log) == 0
    steps = [int(line) for line in log.read_text().split()]
    assert steps == [
        *range(1, 9),
        *range(7, 13),
    ]  # checkpoints at every third step: it went on from the sixth
    assert run(code, pictures, tmp_path / "whole", -1, tmp_path / "log of the other") == 0  # as many threads
    name = "unet/diffusion_pytorch_model.safetensors"
    one, other = load_file(tmp_path / "killed" / name), load_file(tmp_path / "whole" / name)
    assert all(torch.equal(one[key], other[key]) for key in one)
    results = [json.loads((tmp_path / d / "result.json").read_text()) for d in ("killed", "whole")]
    assert {**results[0], "out": ""} == {**results[1], "out": ""}


@pytest.mark.slow
def test_killed_encoding_goes_on_at_the_next_shard(pictures: Path, bidiffuser: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run(_ENCODE, pictures, bidiffuser, tmp_path / "killed", 3, log) == -signal.SIGKILL
    assert len(list((tmp_path / "killed").glob("features-*.safetensors"))) == 2
    assert run(_ENCODE, pictures, bidiffuser, tmp_path / "killed", -1, log) == 0
    read = [line.split() for line in log.read_text().splitlines()]
    assert len(read) == 5 and read[2] == read[3]  # four shards; only the one that was cut off is read again
    other = tmp_path / "log of the other"
    assert run(_ENCODE, pictures, bidiffuser, tmp_path / "whole", -1, other) == 0  # as many threads
    for number in range(4):
        name = f"features-{number:05}.safetensors"
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_interrupted_evaluation_asks_no_item_twice(
    pictures: Path, bidiffuser: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    captions = BiDiffuser.captions

    def counted(self, pixels, keys, **sampling):  # type: ignore[no-untyped-def]
        if asked and len(asked) < 12:
            asked.append("stopped")
            raise KeyboardInterrupt
        asked.extend(keys)
        return captions(self, pixels, keys, **sampling)

    monkeypatch.setattr(BiDiffuser, "captions", counted)
    monkeypatch.setattr("etude.methods.easygen.evaluation._BATCH", 8)
    with pytest.raises(KeyboardInterrupt):
        evaluate(str(bidiffuser), str(pictures), task="caption", out=tmp_path / "e")
    asked.extend(["x"] * 3)
    result = evaluate(str(bidiffuser), str(pictures), task="caption", out=tmp_path / "e")
    names = [key for key in asked if key not in ("stopped", "x")]
    assert result.items == 12 and len(names) == len(set(names)) == 12


def test_a_second_process_on_the_same_folder_is_refused(pictures: Path, tmp_path: Path) -> None:
    with (
        Run(tmp_path / "m", {}, command="another training"),
        pytest.raises(EtudeError, match="in use by another process"),
    ):
        train_bidiffuser(str(pictures), out=tmp_path / "m", steps=4, **TINY)
