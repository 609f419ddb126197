"""Solvers to hold models against: two that know nothing, and two that read the facts instead of the text.

Named like models: `solver/constant`, `solver/random-choice`, `solver/realiser`, `solver/forward-chain`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.items import Item
from etude.runs import content_hash

PREFIX = "solver/"
CONSTANT = "10"
"""What the constant solver says to every open question."""


def constant(item: Item) -> str:
    """`10` to every question, A to every choice."""
    return "A" if item.options else CONSTANT


def random_choice(item: Item, seed: int = 0) -> str:
    """A random option; a random whole number up to 180, the range of most answers, to an open question."""
    rng = np.random.default_rng(int(content_hash([seed, item.id])[:15], 16))
    if item.options:
        return chr(65 + int(rng.integers(len(item.options))))
    return str(int(rng.integers(1, 181)))


def realiser(item: Item) -> str:
    """The answer read off a certified picture of the facts; empty where there is none."""
    from etude.methods.geoeval.realiser import Realiser

    if item.problem is None:
        return ""
    solution = Realiser(item.problem).solve()
    if solution.value is None:
        return ""
    return f"The answer is {solution.exact or format(solution.value, '.12g')}."


def forward_chain(item: Item) -> str:
    """The answer of theorem rules that compute one unknown from known values; empty where they do not
    reach.
    """
    from etude.methods.geoeval.forward_chaining import forward_chain as chain

    if item.problem is None:
        return ""
    value = chain(item.problem).value
    return "" if value is None else f"The answer is {format(value, '.12g')}."


def solver(name: str, seed: int = 0) -> Callable[[Item], str]:
    """A solver by name.

    Raises:
        EtudeError: There is none of that name.
    """
    solvers: dict[str, Callable[[Item], str]] = {
        "constant": constant,
        "random-choice": lambda item: random_choice(item, seed),
        "realiser": realiser,
        "forward-chain": forward_chain,
    }
    found = solvers.get(name.removeprefix(PREFIX))
    if found is None:
        raise EtudeError(
            f"no solver {name!r}", f"There are: {', '.join(PREFIX + known for known in solvers)}."
        )
    return found


def chance_level(items: Sequence[Item]) -> float | None:
    """Expected accuracy of random choices, over the items that have choices; None if none has."""
    shares = [1 / len(item.options) for item in items if item.options]
    return sum(shares) / len(shares) if shares else None
