"""A real process is killed midway; the same command again gives the same table, byte for byte."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

CURVE = """
import sys
from pathlib import Path
from etude.methods.word_sensitivity import curve
curve(
    "raf", None, [8, 16, 24, 32, 40, 48], embeddings="gaussian", d=48, seeds=4, count=2, steps=12,
    out=Path(sys.argv[1]),
)
"""


def start(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CURVE, str(out)], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def test_a_killed_curve_resumes_to_the_same_table_without_repeating_a_point(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    reference = start(whole)
    process = start(broken)
    deadline = time.monotonic() + 240
    while len(list((broken / "steps").glob("*.json"))) < 5:  # well inside the 24 points
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "sensitivity.parquet").exists()
    kept = {path: path.stat().st_mtime_ns for path in (broken / "steps").glob("*.json")}
    assert start(broken).wait() == 0
    assert reference.wait() == 0
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert len(list((broken / "steps").glob("*.json"))) == 24
    for file in ("sensitivity.parquet", "fits.json"):
        assert (broken / file).read_bytes() == (whole / file).read_bytes()
    assert json.loads((broken / "run.json").read_text())["status"] == "complete"
