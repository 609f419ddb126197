"""Where stars go: the numbers they show, the depths they aim for, and the offset into the haystack."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.counting_stars.accounting import TokenizedHaystack
from etude.methods.counting_stars.grid import StarGrid
from etude.methods.counting_stars.official import official_counts, official_wrong

LEAST_GAP = 4
"""Tokens of haystack that must fit, on average, between two stars."""

_SENTENCE_END = re.compile(r"[.!?。！？…]+[\"'”’」』)）]*(?=\s|$|[^\x00-\x7f])|(?<=\S)(?=\n)")


def generator(seed: int, *stream: int) -> Generator:
    """The random numbers of one seed and one purpose; `stream` keeps purposes and lengths apart."""
    return np.random.default_rng([seed, *stream])


def draw_counts(grid: StarGrid, rng: Generator) -> tuple[list[int], list[int] | None]:
    """The numbers of a context's stars, in order, and for the reasoning task the mistaken ones.

    Random numbers are distinct; a mistaken number is one above or below its right number, within the grid's
    range, and neither the right nor the mistaken number of any other star.
    """
    if grid.counts == "official":
        return official_counts(grid.stars), official_wrong(grid.stars) if grid.task == "reason" else None
    low, high = grid.number_range
    if grid.task == "search":
        return (rng.permutation(high - low + 1)[: grid.stars] + low).tolist(), None
    while True:
        chosen = (rng.permutation(high - low + 1)[: grid.stars] + low).tolist()
        taken = set(chosen)
        wrong: list[int] = []
        for count in chosen:
            options = [near for near in (count - 1, count + 1) if low <= near <= high and near not in taken]
            if not options:
                break  # both neighbors are taken: draw again
            wrong.append(int(options[rng.integers(len(options))]))
            taken.add(wrong[-1])
        else:
            return chosen, wrong


def target_ends(grid: StarGrid, length: int, widths: Sequence[int], rng: Generator) -> list[int]:
    """After how many tokens of context each star sentence should end.

    Args:
        grid: Its placement decides.
        length: Tokens of the context; with `nested` placement, of the longest one.
        widths: Tokens of each sentence.
        rng: Used by `random` placement only.

    Raises:
        EtudeError: So many stars do not fit into this length.
    """
    stars = len(widths)
    smallest = stars * (max(widths) + LEAST_GAP)
    if length < smallest:
        raise EtudeError(
            f"{stars} stars of up to {max(widths)} tokens overlap in a context of {length} tokens",
            f"Use lengths of at least {smallest}, or fewer stars.",
        )
    if grid.placement in ("relative", "nested"):
        return [(index + 1) * length // stars for index in range(stars)]
    if grid.placement == "centred":
        return [
            (2 * index + 1) * length // (2 * stars) + (width + 1) // 2 for index, width in enumerate(widths)
        ]
    gap = LEAST_GAP // 2
    slack = length - sum(widths) - (stars + 1) * gap
    before = np.sort(rng.integers(0, slack + 1, size=stars)).tolist()
    ends, used = [], 0
    for index, width in enumerate(widths):
        used += width + gap
        ends.append(before[index] + used)
    return ends


def choose_offset(haystack: TokenizedHaystack, needed: int, seed: int) -> int:
    """The first token of a paragraph, chosen by the seed, from which on enough haystack remains; else 0."""
    fits = haystack.paragraphs[haystack.paragraphs + needed <= len(haystack)]
    return int(fits[generator(seed, 0).integers(len(fits))]) if len(fits) else 0


def sentence_cuts(haystack: TokenizedHaystack) -> NDArray[np.int64]:
    """Tokens that open a sentence or a paragraph: the clean cuts right after a sentence's end, ascending."""
    ends = np.array([match.end() for match in _SENTENCE_END.finditer(haystack.text)], dtype=np.int64)
    tokens = np.minimum(np.searchsorted(haystack.bounds, ends), len(haystack))
    exact = tokens[haystack.bounds[tokens] == ends]
    return np.unique(exact[haystack.clean[np.searchsorted(haystack.clean, exact)] == exact])
