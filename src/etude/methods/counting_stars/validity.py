"""Does the benchmark measure what it says? Instruments of known quality must get the score that theory gives
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from etude.methods.counting_stars.builder import build_cells
from etude.methods.counting_stars.cells import Cell, rebuild
from etude.methods.counting_stars.depth import DepthEffect, depth_effect
from etude.methods.counting_stars.grid import Placement, StarGrid
from etude.methods.counting_stars.haystacks import load_haystack
from etude.methods.counting_stars.instruments import PREFIX, Instrument
from etude.methods.counting_stars.scoring import Rule, StarScore, chance_level, score_answer

Ask: TypeAlias = Callable[[str, Sequence[Cell]], list[str]]
"""From an instrument's name and cells to its answers: the path that is put to the test."""

WINDOW = 2000
KEPT = 0.7
CONFIDENCE = 0.99
"""Of the binomial interval in which instruments with a random part must land."""


@dataclass(frozen=True)
class Verification:
    """One instrument on one set of cells.

    Args:
        instrument: Its name.
        setting: What the cells are.
        rule: `official` or `ours`, or `depth` for the depth statistic.
        expected: What theory gives.
        measured: What came out.
        passed: Whether they agree: exactly in every cell, or within the interval.
    """

    instrument: str
    setting: str
    rule: str
    expected: str
    measured: str
    passed: bool


@dataclass(frozen=True)
class Settings:
    """The sets of cells that instruments are tested on.

    Args:
        search: English, search task, relative placement, 16 stars, lengths 1k to 16k units.
        reason: The same with the reasoning task, two lengths.
        chinese: Chinese, search task.
        centred: English, centred placement, 10 stars (words: relative, 16 stars): for depth; no star near 0.4
            or 0.6.
        published: 32 stars with the published counts.
        fresh: 32 stars with random counts.
    """

    search: list[Cell]
    reason: list[Cell]
    chinese: list[Cell]
    centred: list[Cell]
    published: list[Cell]
    fresh: list[Cell]


def build_settings(
    seeds: tuple[int, ...], tokenizer: Any = None, tokenizer_name: str | None = None
) -> Settings:
    """Build all sets of cells from the embedded haystacks.

    Args:
        seeds: One prompt for each length and seed.
        tokenizer: Exact tokens by this tokenizer; without it, words and characters as the paper counts them
            (then all placements are relative).
        tokenizer_name: Recorded in the cells.
    """
    english, chinese = load_haystack("en-inaugural"), load_haystack("zh-stone")
    scale = 1.25 if tokenizer is None else 1  # 0.8 words stand for one token

    def cells(
        lengths: Sequence[int], stars: int, placement: Placement = "relative", **options: Any
    ) -> list[Cell]:
        text = chinese if options.get("lang") == "zh" else english
        grid = StarGrid(
            tuple(round(length * scale) for length in lengths),
            stars,
            seeds,
            unit="official" if tokenizer is None else "tokens",
            placement="relative" if tokenizer is None else placement,
            **options,
        )
        return list(build_cells(grid, text, tokenizer, tokenizer_name))

    return Settings(
        search=cells((1000, 2000, 4000, 8000, 16000), 16),
        reason=cells((1000, 4000), 16, task="reason"),
        chinese=cells((1000, 4000), 16, lang="zh"),
        centred=cells((1000, 2000, 4000, 8000), 16 if tokenizer is None else 10, "centred"),
        published=cells((2000, 4000), 32, counts="official"),
        fresh=cells((2000, 4000), 32),
    )


def ask_directly(tokenizer: Any = None) -> Ask:
    """The shortest path: the instrument reads each rebuilt prompt."""
    load = cache(load_haystack)

    def ask(name: str, cells: Sequence[Cell]) -> list[str]:
        instrument = Instrument(name, tokenizer)
        return [instrument.answer(rebuild(cell, load(cell.haystack)).text) for cell in cells]

    return ask


def verify_instruments(
    seeds: tuple[int, ...], tokenizer: Any = None, *, ask: Ask | None = None, settings: Settings | None = None
) -> list[Verification]:
    """Put every instrument to the test.

    Args:
        seeds: Seeds of the cells.
        tokenizer: As in `build_settings`.
        ask: The path to test; by default the shortest.
        settings: The cells, if they are built already.
    """
    sets = settings or build_settings(seeds, tokenizer)
    given = ask or ask_directly(tokenizer)
    found: list[Verification] = []

    def exact(
        name: str, setting: str, cells: Sequence[Cell], rule: Rule, expected: Sequence[float]
    ) -> list[StarScore]:
        scores = [
            score_answer(cell, text, rule) for cell, text in zip(cells, given(name, cells), strict=True)
        ]
        wrong = [
            f"{cell.id}: {s.score:.4f}"
            for cell, s, e in zip(cells, scores, expected, strict=True)
            if abs(s.score - e) > 1e-12
        ]
        measured = by_length(cells, [s.score for s in scores]) + (
            f"; {len(wrong)} cells differ: {wrong[0]}" if wrong else ""
        )
        found.append(
            Verification(PREFIX + name, setting, rule, by_length(cells, expected), measured, not wrong)
        )
        return scores

    def within(name: str, setting: str, cells: Sequence[Cell], rate: float) -> list[StarScore]:
        scores = [score_answer(cell, text) for cell, text in zip(cells, given(name, cells), strict=True)]
        stars = sum(cell.stars for cell in cells)
        low, high = binomial_interval(stars, rate)
        measured = float(np.concatenate([s.hits for s in scores]).mean())
        expected = f"{rate:.3f}, within [{low:.3f}, {high:.3f}]"
        found.append(
            Verification(
                PREFIX + name, setting, "official", expected, f"{measured:.3f}", low <= measured <= high
            )
        )
        return scores

    def depth(name: str, cells: Sequence[Cell], scores: Sequence[StarScore], expected: str) -> None:
        effect = effect_of(cells, scores)
        found.append(
            Verification(PREFIX + name, "centred" if cells is sets.centred else "search", "depth", expected,
                         effect.finding, effect.finding == expected)
        )  # fmt: skip

    ones = [1.0] * len(sets.search)
    exact("oracle", "search", sets.search, "official", ones)
    windowed = exact(
        f"window-{WINDOW}",
        "search",
        sets.search,
        "official",
        [window_share(cell, WINDOW) for cell in sets.search],
    )
    exact("oracle", "search zh", sets.chinese, "official", [1.0] * len(sets.chinese))
    for rule, both, mistaken in (("official", 0.25, 0.25), ("ours", 0.5, 0.0)):
        count = len(sets.reason)
        exact("oracle", "reason", sets.reason, rule, [1.0] * count)  # type: ignore[arg-type]
        exact("distractor-reader", "reason", sets.reason, rule, [mistaken] * count)  # type: ignore[arg-type]
        exact("both-reader", "reason", sets.reason, rule, [both] * count)  # type: ignore[arg-type]
    exact("memoriser-32", "published counts", sets.published, "official", [1.0] * len(sets.published))
    fresh = sets.fresh[0]
    within("memoriser-32", "random counts", sets.fresh, chance_level(fresh))
    highest = fresh.count_range[1]
    within(f"guesser-32-{highest}", "random counts", sets.fresh, chance_level(fresh))
    within(f"lossy-{KEPT}", "search", sets.search, KEPT)
    everything = exact("oracle", "centred", sets.centred, "official", [1.0] * len(sets.centred))
    middle = exact(
        "middle-loss", "centred", sets.centred, "official", [outside_middle(cell) for cell in sets.centred]
    )
    lossy = within(f"lossy-{KEPT}", "centred", sets.centred, KEPT)
    depth("oracle", sets.centred, everything, "no depth effect")
    depth(f"lossy-{KEPT}", sets.centred, lossy, "no depth effect")
    depth("middle-loss", sets.centred, middle, "lost in the middle")
    depth(f"window-{WINDOW}", sets.search, windowed, "recency")
    return found


def window_share(cell: Cell, size: int) -> float:
    """Share of stars within the last `size` units of a context with relative placement.

    In exact tokens star i ends at (i+1)/M of the context: the share is `size / length`, rounded down to whole
    stars. The published placement drifts by words, so there the recorded positions decide (a star's first
    word is glued to its left neighbor).
    """
    if cell.unit == "tokens":
        return min(cell.stars * size // cell.length, cell.stars) / cell.stars
    return float(np.mean(np.array(cell.positions) - 1 >= cell.context_units - size))


def outside_middle(cell: Cell) -> float:
    """Share of stars outside depth 0.4 to 0.6 under the cell's placement, star by star from its index."""
    index = np.arange(cell.stars)
    depths = (index + 0.5) / cell.stars if cell.placement == "centred" else (index + 1) / cell.stars
    return float(np.mean((depths < 0.4) | (depths > 0.6)))


def binomial_interval(trials: int, rate: float) -> tuple[float, float]:
    """The central interval of a share of successes."""
    from scipy.stats import binom

    low, high = binom.interval(CONFIDENCE, trials, rate)
    return float(low) / trials, float(high) / trials


def effect_of(cells: Sequence[Cell], scores: Sequence[StarScore]) -> DepthEffect:
    """The depth statistic of scored cells."""
    return depth_effect(
        np.concatenate([score.hits for score in scores]).astype(float),
        np.concatenate([cell.depths for cell in cells]),
        np.concatenate([np.full(cell.stars, float(cell.length_tokens)) for cell in cells]),
        [cell.seed for cell in cells for _ in range(cell.stars)],
    )


def by_length(cells: Sequence[Cell], scores: Sequence[float]) -> str:
    """Mean score at each length, in words: one number if they are all the same."""
    means = {
        length: float(np.mean([s for cell, s in zip(cells, scores, strict=True) if cell.length == length]))
        for length in sorted({cell.length for cell in cells})
    }
    values = [f"{mean:.4g}" for mean in means.values()]
    return values[0] if len(set(values)) == 1 else ", ".join(values)
