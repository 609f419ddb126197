"""A function over batches: in this process and through a local two-worker Ray, the same results."""

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
