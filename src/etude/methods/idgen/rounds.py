"""Rounds of candidates: where all of an item's are taken, more diverse ones are made, then longer ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Round:
    """One way of asking.

    Args:
        name: It becomes the `method` of the ids that it finds.
        penalty: Diversity penalty of beams; the number of the attempt where sources have none.
        shortest: Length of an id at least: `min_length` of beams, which counts the start token.
    """

    name: str
    penalty: int
    shortest: int


@runtime_checkable
class CandidateSource(Protocol):
    """Something that writes candidates."""

    rounds: tuple[Round, ...]

    def candidates(self, texts: Sequence[str], asked: Round) -> list[list[str]]:
        """Cleaned candidates of each text, best first."""


BEAM_ROUNDS = tuple(Round(f"beams dp={dp} min={n}", dp, n) for n in (1, 11, 21) for dp in range(1, 10))
"""Diversity first: its penalty goes from 1 to 9; then the next length (section 3.2)."""
ASKED_ROUNDS = tuple(Round(f"asked try={t} min={n}", t, n) for n in (2, 5, 9) for t in range(3))
"""The most likely answer, then two samples; then the next length."""
KEYWORD_ROUNDS = tuple(Round(f"keywords n={n}", 0, n) for n in (4, 6, 8))
"""The number of words."""
