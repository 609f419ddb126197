"""What to build: the grid of lengths and seeds, and the rules by which stars are counted and placed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from etude.errors import EtudeError
from etude.methods.counting_stars.official import OFFICIAL_STARS
from etude.methods.counting_stars.templates import Lang, Task

Placement: TypeAlias = Literal["relative", "centred", "random", "nested"]
CountMode: TypeAlias = Literal["random", "official"]
Unit: TypeAlias = Literal["tokens", "official"]
Boundary: TypeAlias = Literal["exact", "sentence"]

CHANCE_LIMIT = 0.02
"""A random guess finds a star at most this often when counts are random: M stars are drawn from at least 50·M
numbers."""


@dataclass(frozen=True)
class StarGrid:
    """A grid of prompts: one for each length and seed.

    Args:
        lengths: Context lengths (the paper's N of them), in tokens of the model under test.
        stars: Stars (pieces of evidence) in each context: the paper's M. With `nested` placement, in the
            longest one.
        seeds: One prompt for each length and seed; a seed chooses counts, haystack offset and random
            positions.
        task: `search`, or `reason` where each sentence also holds a number that was counted wrongly.
        lang: Language of the star sentences and the question.
        placement: `relative`: star i ends at (i+1)/M of the context, as in the paper. `centred`: its middle
            is at (i+0.5)/M. `random`: seeded, in order, never touching. `nested`: star i ends at
            (i+1)·(longest length)/M tokens in every context, so that a shorter context is the beginning of a
            longer one.
        counts: `random`: fresh numbers for each prompt. `official`: the published list, the same in every
            prompt.
        unit: `tokens`: lengths are exact. `official`: 0.8 words (en) or 0.7 characters (zh) for a token, as
            published.
        boundary: Stars stand between any two tokens (`exact`) or at the next end of a sentence (`sentence`).
        count_range: Smallest and largest random number; None chooses 1 to 50·M, where chance is 2 %.
        repeat_haystack: Whether a haystack that is too short may be repeated.
    """

    lengths: tuple[int, ...]
    stars: int = 32
    seeds: tuple[int, ...] = (0,)
    task: Task = "search"
    lang: Lang = "en"
    placement: Placement = "relative"
    counts: CountMode = "random"
    unit: Unit = "tokens"
    boundary: Boundary = "exact"
    count_range: tuple[int, int] | None = None
    repeat_haystack: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be built, whatever the haystack and the tokenizer."""
        if not self.lengths or min(self.lengths) < 1:
            raise EtudeError(
                f"lengths {self.lengths}: not a list of positive lengths",
                "Give for example 4000:128000:4000.",
            )
        if self.stars < 1:
            raise EtudeError(
                f"stars {self.stars}: a context needs at least one star", "Give for example --stars 32."
            )
        if not self.seeds or min(self.seeds) < 0:
            raise EtudeError(
                f"seeds {self.seeds}: not a list of numbers from 0", "Give for example --seeds 0-4."
            )
        if self.counts == "official" and self.stars not in OFFICIAL_STARS:
            raise EtudeError(
                f"published counts exist for {', '.join(map(str, OFFICIAL_STARS))} stars, not {self.stars}",
                "Choose one of these, or --counts random.",
            )
        if self.counts == "official" and self.count_range is not None:
            raise EtudeError(
                "a count range was given with the published counts",
                "Choose --counts random to use the range.",
            )
        if self.unit == "official" and (self.placement, self.boundary) != ("relative", "exact"):
            raise EtudeError(
                f"unit official means the published placement, not {self.placement}/{self.boundary}",
                "Use --placement relative --boundary exact with it, or --unit tokens.",
            )
        if self.placement == "nested" and any(
            length * self.stars < max(self.lengths) for length in self.lengths
        ):
            raise EtudeError(
                f"nested: {min(self.lengths)} tokens hold none of {self.stars} stars in {max(self.lengths)}",
                f"Give more stars or lengths of at least {-(-max(self.lengths) // self.stars)}.",
            )
        low, high = self.number_range
        needed = self.stars if self.task == "search" else 4 * self.stars
        if self.counts == "random" and (low < 1 or high - low + 1 < needed):
            raise EtudeError(
                f"count range {low}:{high} holds {max(high - low + 1, 0)} numbers; "
                f"{self.stars} stars ({self.task}) need at least {needed}, from 1 up",
                f"Give for example --count-range 1:{50 * self.stars} (chance 2 %).",
            )

    @property
    def number_range(self) -> tuple[int, int]:
        """Smallest and largest number a star of this grid may show."""
        return self.count_range or (1, round(self.stars / CHANCE_LIMIT))


def parse_lengths(text: str) -> tuple[int, ...]:
    """Lengths from `4000:128000:4000` (first, last, step), from `256,512,1000`, or from `1k,2k`.

    Raises:
        EtudeError: The text is neither.
    """
    numbers = [_length(part, text) for part in re.split(r"[:,]", text)]
    if ":" not in text:
        return tuple(sorted(set(numbers)))
    if "," in text or len(numbers) != 3 or numbers[2] < 1 or numbers[1] < numbers[0]:
        raise _bad_lengths(text)
    return tuple(range(numbers[0], numbers[1] + 1, numbers[2]))


def parse_range(text: str) -> tuple[int, int]:
    """A count range from `1:1600`.

    Raises:
        EtudeError: The text is not two numbers.
    """
    match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", text)
    if match is None:
        raise EtudeError(f"count range {text!r}: not two numbers", "Give for example 1:1600.")
    return int(match[1]), int(match[2])


def _length(part: str, text: str) -> int:
    match = re.fullmatch(r"\s*(\d+)\s*([kK]?)\s*", part)
    if match is None:
        raise _bad_lengths(text)
    return int(match[1]) * (1000 if match[2] else 1)


def _bad_lengths(text: str) -> EtudeError:
    return EtudeError(
        f"lengths {text!r}: not understood",
        "Give first:last:step (4000:128000:4000) or a list (256,512,1000).",
    )
