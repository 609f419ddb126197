"""Where the tests find research data, which is not part of the product."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores; torch is imported after this
    os.environ.setdefault("OMP_NUM_THREADS", "1")

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
