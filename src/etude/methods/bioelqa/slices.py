"""Where a linker is right: unseen mentions, unseen ids, rare ids; paired with the retriever's choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from etude.errors import EtudeError
from etude.evidence import Interval, mcnemar_p_value, wilson_interval
from etude.evidence.statistics import mean_interval
from etude.methods.bioelqa.case_base import CaseBase

SliceName: TypeAlias = Literal["all", "unseen-mention", "unseen-id", "rare"]
SLICES: tuple[SliceName, ...] = get_args(SliceName)
RARE = 2
"""An id with at most so many training mentions is rare."""


@dataclass(frozen=True)
class Pair:
    """A different (mention, ids) pair of the test data.

    Args:
        names: Normalized names (several of a composite).
        gold: Ids.
    """

    names: tuple[str, ...]
    gold: tuple[str, ...]


@dataclass(frozen=True)
class SliceResult:
    """One slice: the linker against the retriever's first choice.

    Args:
        name: The slice.
        pairs: Different (mention, ids) pairs in it.
        oracle: Share whose gold was among the options.
        retriever, linker: Share that each got right, with Wilson's interval.
        difference: Linker minus retriever, with its paired bootstrap interval.
        wins, losses: Pairs that only the linker, or only the retriever, got right.
        p_value: Exact McNemar.
    """

    name: str
    pairs: int
    oracle: float
    retriever: Interval | None
    linker: Interval | None
    difference: Interval | None
    wins: int
    losses: int
    p_value: float

    def cells(self) -> tuple[object, ...]:
        """As a row of a table."""
        return (
            self.name, self.pairs, self.oracle, self.retriever and str(self.retriever),
            self.linker and str(self.linker),
            None if self.difference is None else f"{self.difference.value:+.3f} "
            f"[{self.difference.low:+.3f}, {self.difference.high:+.3f}]",
            self.wins, self.losses, self.p_value,
        )  # fmt: skip


COLUMNS = ("slice", "pairs", "oracle@N", "retriever", "linker", "difference", "wins", "losses", "McNemar p")


def membership(base: CaseBase) -> Mapping[SliceName, Callable[[Pair], bool]]:
    """From a slice to whether a pair is in it, by the training cases."""

    def fewest(pair: Pair) -> int:
        return min(base.occurrences(id) for id in pair.gold)

    return {
        "all": lambda pair: True,
        "unseen-mention": lambda pair: any(name not in base.cases_of_mention for name in pair.names),
        "unseen-id": lambda pair: fewest(pair) == 0,
        "rare": lambda pair: fewest(pair) <= RARE,
    }


def compare(
    name: str, retriever: Sequence[bool], linker: Sequence[bool], oracle: Sequence[bool], *, bootstrap: bool
) -> SliceResult:
    """The two on the same pairs.

    Args:
        name: The slice.
        retriever: Whether the retriever's first choice was right, pair by pair.
        linker: The same of the linker.
        oracle: Whether the gold was among the options.
        bootstrap: Whether to draw the difference's interval.
    """
    first, second = np.asarray(retriever, bool), np.asarray(linker, bool)
    wins, losses = int((second & ~first).sum()), int((first & ~second).sum())
    difference = None
    if len(first):
        deltas = second.astype(float) - first
        low, high = mean_interval(deltas[None]) if bootstrap else (float("-inf"), float("inf"))
        difference = Interval(float(deltas.mean()), low, high) if bootstrap else None
    return SliceResult(
        name,
        len(first),
        float(np.mean(oracle)) if len(first) else 0.0,
        wilson_interval(int(first.sum()), len(first)),
        wilson_interval(int(second.sum()), len(second)),
        difference,
        wins,
        losses,
        mcnemar_p_value(wins, losses),
    )


def parse_slices(text: str) -> tuple[SliceName, ...]:
    """Slices from a comma-separated list; `all` always comes first.

    Raises:
        EtudeError: An unknown slice.
    """
    asked = [piece.strip() for piece in text.split(",") if piece.strip()]
    unknown = [piece for piece in asked if piece not in SLICES]
    if unknown:
        raise EtudeError(f"slice {unknown[0]!r}", f"Choose among {', '.join(SLICES)}.")
    return tuple(name for name in SLICES if name == "all" or name in asked)
