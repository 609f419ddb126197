"""Jobs in processes of their own: all are run, none takes another with it, none outlives its parent."""

import operator
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from etude.errors import EtudeError
from etude.report.side_by_side import Job, affordable_workers, side_by_side

CHILDREN = """
import sys, time
from functools import partial
from pathlib import Path
from etude.report.side_by_side import Job, side_by_side
if __name__ == "__main__":
    side_by_side([Job(n, partial(time.sleep, 600)) for n in "ab"], workers=2, logs=Path(sys.argv[1]))
"""


def test_a_job_that_fails_or_is_killed_takes_no_other_with_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        Job("product", partial(operator.mul, 6, 7), "it is {}".format),
        Job("said", partial(print, "a line of its own")),
        Job("wrong", partial(operator.truediv, 1, 0)),
        Job("killed", partial(os._exit, 9)),
        Job("threads", partial(os.getenv, "OMP_NUM_THREADS")),
    ]
    side_by_side(jobs, workers=1, logs=tmp_path)
    assert [job.state for job in jobs] == ["done", "done", "failed", "failed", "done"]
    assert jobs[0].result == 42
    assert isinstance(jobs[2].error, ZeroDivisionError)
    assert isinstance(jobs[3].error, EtudeError)
    assert "killed" in str(jobs[3].error)
    assert int(jobs[4].result) >= 1
    assert (tmp_path / "said.log").read_text() == "a line of its own\n"
    told = capfd.readouterr().err
    assert "killed: failed" in told
    assert "product: done after" in told
    assert "it is 42" in told
    assert "a line of its own" not in told


def test_a_job_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(CHILDREN)
    parent = subprocess.Popen([sys.executable, script, tmp_path / "logs"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "logs" / "b.log").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)  # both workers have begun
    children = psutil.Process(parent.pid).children(recursive=True)
    assert children
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_workers_are_at_least_one_and_no_more_than_jobs(tmp_path: Path) -> None:
    assert affordable_workers(1) == 1
    assert 1 <= affordable_workers(100) <= (os.cpu_count() or 1)
    with pytest.raises(EtudeError, match="--workers 0"):
        side_by_side([], workers=0, logs=tmp_path)
