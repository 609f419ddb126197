"""A function over batches: in this process and through a local two-worker Ray, the same results."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from etude.data.batches import map_batches
from etude.errors import EtudeError


class Squares:
    """Makes the function; an object of a module, so that it can be sent to a worker."""

    def __init__(self, refuses: int = -1) -> None:
        self.refuses = refuses

    def __call__(self):
        def square(rows):
            if any(row["i"] == self.refuses for row in rows):
                raise EtudeError(f"row {self.refuses} is refused", "Leave it out.")
            return [{"i": row["i"], "square": row["i"] ** 2, "text": "né\n"} for row in rows]

        return square


def test_local_batches_stream_in_order_and_build_nothing_for_no_rows():
    def rows():
        for i in range(10):
            yield {"i": i}

    found = map_batches(rows(), Squares(), batch_size=3)
    assert next(found)["square"] == 0
    assert [row["square"] for row in found] == [i * i for i in range(1, 10)]
    assert list(map_batches([], lambda: pytest.fail("built for nothing"))) == []
    with pytest.raises(EtudeError, match="at least 1"):
        map_batches([], Squares(), batch_size=0)


@pytest.mark.slow
def test_two_ray_workers_give_the_same_rows_and_pass_a_refusal_on():
    pytest.importorskip("ray")
    rows = [{"i": i} for i in range(50)]
    local = list(map_batches(rows, Squares(), batch_size=7))
    through = list(map_batches(rows, Squares(), engine="ray", batch_size=7, workers=2))
    assert sorted(through, key=lambda row: row["i"]) == local
    with pytest.raises(EtudeError, match="row 9 is refused"):
        list(map_batches(rows, Squares(9), engine="ray", batch_size=7))


class Waits:
    """Tells its process id at one row and waits to be killed there: once, or every time.

    Args:
        folder: Where it tells.
        always: Whether it waits again after it was killed.
    """

    def __init__(self, folder: Path, always: bool) -> None:
        self.folder, self.always = folder, always

    def __call__(self):
        def square(rows):
            if any(row["i"] == 23 for row in rows):
                told = self.folder / f"{os.getpid()}.pid"
                if self.always or not list(self.folder.glob("*.pid")):
                    told.touch()
                    time.sleep(60)
            return [{"i": row["i"], "square": row["i"] ** 2} for row in rows]

        return square


@pytest.mark.slow
@pytest.mark.parametrize("always", [False, True])
def test_a_killed_ray_worker_does_its_batch_again_and_a_batch_that_kills_all_ends_the_run(tmp_path, always):
    pytest.importorskip("ray")
    rows = [{"i": i} for i in range(60)]
    done, killed = threading.Event(), []

    def kill():
        while not done.wait(0.05):
            for told in tmp_path.glob("*.pid"):
                if told.name not in killed:
                    os.kill(int(told.stem), signal.SIGKILL)
                    killed.append(told.name)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        through = map_batches(rows, Waits(tmp_path, always), engine="ray", batch_size=7)
        if always:
            with pytest.raises(EtudeError, match="3 workers died over the same batch") as caught:
                list(through)
            assert "goes on" in caught.value.hint
        else:
            found = sorted(through, key=lambda row: row["i"])
            assert found == [{"i": i, "square": i * i} for i in range(60)]
    finally:
        done.set()
        killer.join()
    assert len(killed) == (3 if always else 1)
