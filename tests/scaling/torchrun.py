"""Commands under torchrun: processes of one machine, joined by gloo."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file
from tests.scaling.processes import kill_with_descendants, said_by


def start(processes: int, command: str, folder: Path) -> "subprocess.Popen[str]":
    """An `etude` command in so many processes, in a folder."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    line = [sys.executable, *torchrun, "-m", "etude.cli", *command.split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(line, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def run(processes: int, command: str, folder: Path) -> str:
    """What the command prints when it is done."""
    return said_by(start(processes, command, folder))


def kill_when(running: "subprocess.Popen[str]", ready: Callable[[], bool]) -> None:
    """Kill a launcher and all its processes as soon as something is so."""
    while not ready():
        assert running.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    kill_with_descendants(running)


def largest_difference(one: Path, other: Path, but: tuple[str, ...] = ()) -> float:
    """Between the tensors of two files, which have the same names; without those whose names end so.

    Of a tensor whose values are large, relative to the largest.
    """
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    names = [name for name in first if not name.endswith(but)]
    sizes = {name: max(1.0, float(first[name].abs().max())) for name in names}
    return max(float((first[name] - second[name]).abs().max()) / sizes[name] for name in names)
