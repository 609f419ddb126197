"""A sample of the sweep: four methods, killed once, out of space once, without leave to write once."""

import subprocess
import sys

import pytest
from tests.reliability.space import with_own_mounts
from tests.reliability.zygote import ROOT


@pytest.mark.slow
@pytest.mark.parametrize(("method", "port"), [("toolemu", 18090), ("analogykb", 18091), ("idgen", 18092)])
def test_a_killed_starved_or_refused_verb_loses_nothing_and_goes_on(method, port, tmp_path):
    if subprocess.run(with_own_mounts(["true"]), capture_output=True, check=False).returncode:
        pytest.skip("this kernel or user may not unshare mounts")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.reliability", "--folder", str(tmp_path), "--methods", method,
         "--kills", "1",
         "--checks", "kill", "full", "read-only", "--port", str(port)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wrong = [line for line in ended.stderr.splitlines() if " s: [" in line]
    assert ended.returncode == 0 and not wrong, ended.stderr[-3000:]
    assert f"| {method} " in ended.stdout
