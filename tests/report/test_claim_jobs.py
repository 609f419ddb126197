"""A claim measured here, in several processes and by Ray leaves the same evidence."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.cli import main


def evidence(folder: Path) -> dict[str, Any]:
    """All that was found, without how long it took."""
    found = json.loads((folder / "toolemu" / "evidence.json").read_text())
    del found["provenance"]
    for arm in found["arms"]:
        del arm["seconds"]
    return found


@pytest.mark.slow
def test_processes_and_ray_leave_the_evidence_of_a_local_run(
    tmp_path: Path, shared_data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["claim", "toolemu", "--data", str(shared_data("toolemu")), "--seeds", "0,1", "--json"]
    ways = {
        "one": ["--workers", "1"],
        "two": ["--workers", "2"],
        "ray": ["--workers", "2", "--engine", "ray"],
    }
    for way, options in ways.items():
        main([*asked, *options, "--out", str(tmp_path / way)])
    assert evidence(tmp_path / "one") == evidence(tmp_path / "two") == evidence(tmp_path / "ray")
    stored = {way: {p.name for p in (tmp_path / way / "toolemu" / "arms").iterdir()} for way in ways}
    assert stored["one"] == stored["two"] == stored["ray"]


@pytest.mark.slow
def test_a_killed_claim_goes_on_and_measures_nothing_twice(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    data = str(shared_data("toolemu"))
    command = [sys.executable, "-m", "etude.cli", "claim", "toolemu", "--data", data, "--seeds", "0,1"]
    command += ["--workers", "2", "--out", str(tmp_path)]
    arms = tmp_path / "toolemu" / "arms"
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while first.poll() is None and len(list(arms.glob("*.json"))) < 4:
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    time.sleep(3)  # its workers end with it
    before = {path: path.stat().st_mtime_ns for path in arms.glob("*.json")}
    assert before
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())
    assert evidence(tmp_path)["seeds"] == [0, 1]
