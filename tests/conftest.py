"""Where the tests find research data, which is not part of the product."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores; torch is imported after this
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("signround")` is that method's data folder; without it the test skips, saying so."""

    def find(method: str) -> Path:
        root = Path(os.environ.get("ETUDE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
        folder = root / method
        if not folder.is_dir():
            pytest.skip(f"no research data at {folder} (set ETUDE_TEST_DATA)")
        return folder

    return find


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`run_here(program, *arguments)` runs a program in this process as `python -c` would, on one thread.

    Only a run that is to be killed needs a process of its own; what it is compared with, and what goes on
    with it, need not import everything once more.
    """

    def run(program: str, *arguments: object) -> None:
        import torch

        file = tmp_path / "program run here.py"
        file.write_text(program)
        monkeypatch.setattr(sys, "argv", [str(file), *map(str, arguments)])
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            runpy.run_path(str(file), run_name="__main__")
        finally:
            torch.set_num_threads(threads)

    return run
