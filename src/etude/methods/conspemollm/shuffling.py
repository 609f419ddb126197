"""The controls' shuffle: every row gets what belongs to another row, none keeps its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def other_rows(count: int, seed: int) -> NDArray[np.intp]:
    """For each row the number of another one: a permutation without fixed points (a single row keeps itself).

    Args:
        count: Rows.
        seed: Of the order.
    """
    order = np.random.default_rng(seed).permutation(count)
    found = np.empty(count, dtype=np.intp)
    found[order] = np.roll(order, 1)
    return found
