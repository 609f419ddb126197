"""From a grid, a haystack and a tokenizer to cells.

With `unit="tokens"` every count is exact: the context has the length asked for and each star ends at the
token its placement says, as the tokenizer of the model under test counts them. Where a tokenizer spends
several tokens on one character (Chinese, mostly) an exact hit may not exist; then the cell records the true
numbers, at most a few less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.counting_stars.accounting import Spliced, TokenizedHaystack, encode
from etude.methods.counting_stars.cells import Cell, sha256, splice
from etude.methods.counting_stars.grid import StarGrid
from etude.methods.counting_stars.haystacks import Haystack
from etude.methods.counting_stars.official import official_cuts, official_text, official_units
from etude.methods.counting_stars.placement import (
    choose_offset,
    draw_counts,
    generator,
    sentence_cuts,
    target_ends,
)
from etude.methods.counting_stars.templates import TEMPLATE_VERSION, question, star_sentence

FOLLOWED = 3
"""How often the error of a count corrects the guess of a cut."""
SEARCH = 6
"""How many tokens around the last guess a cut may move to hit a count exactly."""


@dataclass(frozen=True)
class Layout:
    """A context as far as it is built: its tokens, and where its stars stand.

    Args:
        spliced: The text and its exact token count.
        at: The haystack token that comes next.
        cuts: Haystack token before which each star stands.
        positions: Token of the context at which each sentence begins.
        widths: Tokens of each sentence.
    """

    spliced: Spliced
    at: int
    cuts: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()


def build_cells(
    grid: StarGrid, haystack: Haystack, tokenizer: Any, tokenizer_name: str | None = None
) -> Iterator[Cell]:
    """One cell for each seed and length of the grid, seeds outside.

    Args:
        grid: What to build.
        haystack: What to hide the stars in.
        tokenizer: A fast tokenizer of transformers or a `tokenizers.Tokenizer`; may be None for
            `unit="official"`.
        tokenizer_name: Recorded in the cells.

    Raises:
        EtudeError: The haystack is too short, or the stars do not fit.
    """
    if grid.unit == "official":
        yield from _published_cells(grid, haystack)
        return
    if tokenizer is None:
        raise EtudeError("unit tokens needs the tokenizer of the model under test", "Give --tokenizer MODEL.")
    source = haystack
    tokenized = TokenizedHaystack(haystack.text, tokenizer)
    needed = max(grid.lengths)
    if len(tokenized) < needed:
        source = _longer(grid, haystack, len(tokenized), needed, "tokens")
        tokenized = TokenizedHaystack(source.text, tokenizer)
    yield from build_tokenized(grid, source, tokenized, tokenizer_name)


def build_tokenized(
    grid: StarGrid, source: Haystack, tokenized: TokenizedHaystack, tokenizer_name: str | None = None
) -> Iterator[Cell]:
    """The same from a haystack that is tokenized already and long enough; grids that share it pay once.

    Args:
        grid: What to build, with `unit="tokens"`.
        source: The haystack.
        tokenized: Its text in tokens.
        tokenizer_name: Recorded in the cells.
    """
    needed = max(grid.lengths)
    sentences_at = sentence_cuts(tokenized) if grid.boundary == "sentence" else None
    for seed in grid.seeds:
        start = choose_offset(tokenized, needed, seed)
        for length, layout, counts, wrong in _layouts(grid, tokenized, start, seed, sentences_at):
            stars = len(layout.cuts)
            question_text = question(grid.task, grid.lang)
            yield Cell(
                **_common(grid, source, length, seed, counts[:stars], wrong and wrong[:stars]),
                length_tokens=layout.spliced.count,
                prompt_tokens=layout.spliced.add(question_text).count,
                context_units=layout.spliced.count,
                stars=stars,
                haystack_offset=int(tokenized.bounds[start]),
                haystack_end=int(tokenized.bounds[layout.at]),
                cuts=[int(tokenized.bounds[cut]) for cut in layout.cuts],
                positions=list(layout.positions),
                widths=list(layout.widths),
                tokenizer=tokenizer_name,
                prompt_sha256=sha256(layout.spliced.text + question_text),
            )


def _layouts(
    grid: StarGrid, haystack: TokenizedHaystack, start: int, seed: int, sentences_at: NDArray[np.int64] | None
) -> Iterator[tuple[int, Layout, list[int], list[int] | None]]:
    """Length, layout, counts and mistaken counts of each of a seed's cells."""
    longest = max(grid.lengths)
    if grid.placement == "nested":
        counts, wrong = draw_counts(grid, generator(seed, 1))
        steps = _place(grid, haystack, start, longest, counts, wrong, generator(seed, 2), sentences_at)
        for length in grid.lengths:
            held = [step for step in steps if step.cuts and step.spliced.count <= length]
            if not held:
                raise EtudeError(
                    f"nested: the first star ends after {steps[1].spliced.count} tokens; {length} hold none",
                    "Give more stars, longer lengths or --boundary exact.",
                )
            yield length, _fill(held[-1], haystack, length, sentences_at), counts, wrong
        return
    for length in grid.lengths:
        counts, wrong = draw_counts(grid, generator(seed, 1, length))
        steps = _place(grid, haystack, start, length, counts, wrong, generator(seed, 2, length), sentences_at)
        yield length, _fill(steps[-1], haystack, length, sentences_at), counts, wrong


def _place(
    grid: StarGrid,
    haystack: TokenizedHaystack,
    start: int,
    length: int,
    counts: Sequence[int],
    wrong: Sequence[int] | None,
    rng: np.random.Generator,
    sentences_at: NDArray[np.int64] | None,
) -> list[Layout]:
    """The layouts after 0, 1, 2, ... stars."""
    mistaken: Sequence[int | None] = wrong or [None] * len(counts)
    sentences = [star_sentence(grid.task, grid.lang, c, w) for c, w in zip(counts, mistaken, strict=True)]
    widths = [len(encode(haystack.tokenizer, sentence)[0]) for sentence in sentences]
    ends = target_ends(grid, length, widths, rng)
    layouts = [Layout(Spliced.empty(haystack.tokenizer), start)]
    for index, (sentence, width, end) in enumerate(zip(sentences, widths, ends, strict=True)):
        guess = layouts[-1].at + end - width - layouts[-1].spliced.count
        if sentences_at is None:
            layouts.append(_nearest(layouts[-1], haystack, sentence, guess, end))
        else:
            room = length - sum(widths[index + 1 :])
            layouts.append(_at_sentence(layouts[-1], haystack, sentence, guess, room, sentences_at))
    return layouts


def _with_star(layout: Layout, haystack: TokenizedHaystack, sentence: str, cut: int) -> Layout:
    before = layout.spliced.add_haystack(haystack, layout.at, cut)
    after = before.add(sentence)
    lead = len(after.tail) - len(sentence.lstrip("\n"))
    position = after.before + sum(end <= lead for end in after.ends)
    return Layout(
        after,
        cut,
        (*layout.cuts, cut),
        (*layout.positions, position),
        (*layout.widths, after.count - position),
    )


def _nearest(layout: Layout, haystack: TokenizedHaystack, sentence: str, guess: int, end: int) -> Layout:
    """The star placed so that it ends at token `end`, or as near before it as the tokens allow."""
    best: Layout | None = None
    tried: set[int] = set()

    def candidates() -> Iterator[int]:
        for _ in range(FOLLOWED):
            yield guess  # corrected below by the error: joins cost a token or two
        for distance in range(1, SEARCH + 1):
            yield from (guess - distance, guess + distance)

    for number, candidate in enumerate(candidates()):
        cut = haystack.cut_at_or_before(min(max(candidate, layout.at), len(haystack)))
        if cut in tried:
            continue
        tried.add(cut)
        placed = _with_star(layout, haystack, sentence, cut)
        if placed.spliced.count == end:
            return placed
        best = _better(best, placed, end)
        if number < FOLLOWED:
            guess = cut - (placed.spliced.count - end)
    assert best is not None
    return best


def _better(best: Layout | None, other: Layout, end: int) -> Layout:
    """The one nearer to the end aimed for; past it only if nothing else is left."""

    def miss(layout: Layout) -> tuple[bool, int]:
        return layout.spliced.count > end, abs(layout.spliced.count - end)

    return other if best is None or miss(other) < miss(best) else best


def _at_sentence(
    layout: Layout,
    haystack: TokenizedHaystack,
    sentence: str,
    guess: int,
    room: int,
    sentences_at: NDArray[np.int64],
) -> Layout:
    """The star at the next end of a sentence, or at the last one that leaves room for the stars to come."""
    index = min(int(np.searchsorted(sentences_at, max(guess, layout.at + 1))), len(sentences_at) - 1)
    while index >= 0 and sentences_at[index] > layout.at:
        placed = _with_star(layout, haystack, sentence, int(sentences_at[index]))
        if placed.spliced.count <= room:
            return placed
        index -= 1
    raise EtudeError(
        f"no sentence of the haystack ends between two stars ({layout.spliced.count} tokens into a context)",
        "Use longer lengths, fewer stars or --boundary exact.",
    )


def _fill(
    layout: Layout, haystack: TokenizedHaystack, length: int, sentences_at: NDArray[np.int64] | None
) -> Layout:
    """The layout with haystack behind its last star, up to the length."""
    missing = length - layout.spliced.count
    if missing <= 0:
        return layout

    def filled(end: int) -> Layout:
        spliced = layout.spliced.add_haystack(haystack, layout.at, end)
        return Layout(spliced, end, layout.cuts, layout.positions, layout.widths)

    if sentences_at is not None:
        candidates = [int(cut) for cut in sentences_at if layout.at < cut <= layout.at + missing]
        fits = (done for cut in reversed(candidates) if (done := filled(cut)).spliced.count <= length)
        return next(fits, layout)
    best = layout
    for end in range(layout.at + missing + SEARCH, layout.at, -1):
        cut = haystack.cut_at_or_before(min(end, len(haystack)))
        done = filled(cut)
        if done.spliced.count == length:
            return done
        best = _better(best, done, length)
        if done.spliced.count < length - SEARCH:
            break
    return best


def _published_cells(grid: StarGrid, haystack: Haystack) -> Iterator[Cell]:
    """The published prompts: words or characters, scaled from tokens, cut at spaces."""
    units = {length: official_units(length, grid.lang) for length in grid.lengths}
    for length, count in units.items():
        if count < grid.stars:
            raise EtudeError(
                f"{grid.stars} stars overlap in {count} words or characters (length {length})",
                f"Use lengths of at least {-(-grid.stars * length // count)}, or fewer stars.",
            )
    source, text = haystack, official_text(haystack.text, grid.lang)
    ends = _unit_ends(text, grid.lang)
    if len(ends) < max(units.values()):
        unit = "words" if grid.lang == "en" else "characters"
        source = _longer(grid, haystack, len(ends), max(units.values()), unit)
        text = official_text(source.text, grid.lang)
        ends = _unit_ends(text, grid.lang)
    drop_space = grid.lang == "en"
    question_text = question(grid.task, grid.lang)
    for seed in grid.seeds:
        for length in grid.lengths:
            counts, wrong = draw_counts(grid, generator(seed, 1, length))
            mistaken: Sequence[int | None] = wrong or [None] * grid.stars
            sentences = [
                star_sentence(grid.task, grid.lang, c, w) for c, w in zip(counts, mistaken, strict=True)
            ]
            after = official_cuts(units[length], sentences, grid.lang)
            cuts = [int(ends[cut - 1]) for cut in after]
            end = int(ends[units[length] - 1])
            context = splice(text, 0, cuts, end, sentences, drop_space=drop_space)
            widths = [len(s.split(" ")) if drop_space else len(s) for s in sentences]
            glued = [2 - (cut == units[length]) if drop_space else 0 for cut in after]
            grown = np.cumsum(np.array(widths) - np.array(glued))
            before = np.concatenate([[0], grown[:-1]])
            yield Cell(
                **_common(grid, source, length, seed, counts, wrong),
                length_tokens=length,
                prompt_tokens=None,
                context_units=int(units[length] + grown[-1]),
                stars=grid.stars,
                haystack_offset=0,
                haystack_end=end,
                cuts=cuts,
                positions=(np.array(after) + before).tolist(),
                widths=widths,
                tokenizer=None,
                prompt_sha256=sha256(context + question_text),
            )


def _unit_ends(text: str, lang: str) -> NDArray[np.int64]:
    """Character at which each word (en; between single spaces) or character (zh) ends."""
    if lang == "zh":
        return np.arange(1, len(text) + 1)
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    return np.append(np.flatnonzero(codes == ord(" ")), len(text))


def _longer(grid: StarGrid, haystack: Haystack, have: int, need: int, unit: str) -> Haystack:
    if not grid.repeat_haystack:
        raise EtudeError(
            f"haystack {haystack.name!r} holds {have:,} {unit}, the longest context needs {need:,}",
            "Give a longer text with --haystack, shorter --lengths, or --repeat-haystack to repeat it.",
        )
    return haystack.repeated(-(-need // have) + 1)


def _common(
    grid: StarGrid, haystack: Haystack, length: int, seed: int, counts: list[int], wrong: list[int] | None
) -> dict[str, Any]:
    """The fields that both ways of counting share."""
    return {
        "id": "-".join(
            (
                grid.lang,
                grid.task,
                grid.unit,
                grid.placement,
                grid.boundary,
                grid.counts,
                f"m{grid.stars}",
                str(length),
                f"s{seed}",
            )
        ),
        "task": grid.task,
        "lang": grid.lang,
        "length": length,
        "unit": grid.unit,
        "seed": seed,
        "placement": grid.placement,
        "boundary": grid.boundary,
        "count_mode": grid.counts,
        "count_range": grid.number_range if grid.counts == "random" else (1, max(counts)),
        "haystack": haystack.name,
        "haystack_sha256": haystack.sha256,
        "haystack_repeats": haystack.repeats,
        "counts": counts,
        "wrong": wrong,
        "template_version": TEMPLATE_VERSION,
    }
