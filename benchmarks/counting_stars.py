"""counting-stars: building a grid against the published program, and nested against independent reading.

The published program splits the text at spaces, inserts one star and joins it again, star after star. It is
written here from its description; both give the same prompts, byte for byte.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks._comparison import Comparison, Figure, in_turn, ratios
from etude.methods.counting_stars.accounting import TokenizedHaystack, encode
from etude.methods.counting_stars.builder import build_cells, build_tokenized
from etude.methods.counting_stars.cells import rebuild, sha256
from etude.methods.counting_stars.grid import StarGrid
from etude.methods.counting_stars.haystacks import Haystack, load_haystack
from etude.methods.counting_stars.nested import score_rows, tokens_to_read
from etude.methods.counting_stars.official import OFFICIAL_LENGTHS, official_text, official_units
from etude.methods.counting_stars.runner import chat_rows
from etude.methods.counting_stars.templates import question

PEERS = ()
CELL_MISSED = "Recounting around each of the 32 stars is what takes the time, not the splicing."


def published_prompt(text: str, units: int, sentences: list[str], ask: str) -> str:
    """One English prompt by splitting and joining strings, star after star."""
    grown = " ".join(text.split(" ")[:units])
    step = units // len(sentences)
    for index, sentence in enumerate(sentences):
        place = (index + 1) * step + len(sentence.split(" ")) * index
        grown = " ".join(grown.split(" ")[:place]) + sentence + " ".join(grown.split(" ")[place:])
    return grown + ask


def spread(times: list[float]) -> dict[str, float | int]:
    return {
        "median": round(statistics.median(times), 5),
        "lowest": round(min(times), 5),
        "highest": round(max(times), 5),
        "repetitions": len(times),
    }


def published_grid(repetitions: int) -> tuple[Figure, dict[str, Any]]:
    """Lengths up to 128k, 32 stars: the published program against ours, the same prompts."""
    haystack = load_haystack("en-inaugural").repeated(5)
    haystack = Haystack(haystack.name, haystack.text)
    grid = StarGrid(OFFICIAL_LENGTHS, 32, counts="official", unit="official")
    ask = question("search", "en")
    made: dict[str, list[str]] = {}

    def ours() -> None:
        made["ours"] = [cell.prompt_sha256 for cell in build_cells(grid, haystack, None)]

    def theirs() -> None:
        text = official_text(haystack.text, "en")
        lengths = OFFICIAL_LENGTHS
        made["peer"] = [published_prompt(text, official_units(n, "en"), sentences, ask) for n in lengths]

    sentences = next(iter(build_cells(grid, haystack, None))).sentences()
    seconds = in_turn({"etude": ours, "published": theirs}, repetitions)
    if [sha256(prompt) for prompt in made["peer"]] != made["ours"]:
        raise RuntimeError("the prompts differ")
    figure = Figure(
        f"building {len(OFFICIAL_LENGTHS)} prompts of up to 128k words",
        "the published program, from its description",
        "processor seconds",
        ratios(seconds["published"], seconds["etude"]),
        50,
    )
    return figure, {f"{name}, CPU s": spread(taken) for name, taken in seconds.items()}


def exact_grid(repetitions: int) -> tuple[Figure, dict[str, Any]]:
    """The same lengths in exact tokens (32 recounted stars each), and one cell of a million tokens."""
    from etude.models import load_tokenizer

    tokenizer = load_tokenizer("smollm2")
    source = load_haystack("en-inaugural")
    source = Haystack(source.name, source.repeated(34).text)
    tokenizing = time.process_time()
    tokenized = TokenizedHaystack(source.text, tokenizer)
    tokenizing = time.process_time() - tokenizing
    grids = {"grid": StarGrid(OFFICIAL_LENGTHS, 32), "cell": StarGrid((1_000_000,), 32)}
    built: dict[str, Any] = {}
    arms = {
        name: lambda name=name, grid=grid: built.__setitem__(
            name, list(build_tokenized(grid, source, tokenized))
        )
        for name, grid in grids.items()
    }
    times = in_turn(arms, repetitions)
    recounted = len(encode(tokenizer, rebuild(built["cell"][0], source).context)[0])
    cell = "building one cell of 1,000,000 tokens, once tokenized"
    return Figure(cell, "", "processor seconds", tuple(times["cell"]), 0.1, "s", True, CELL_MISSED), {
        "tokenizing once, CPU s": round(tokenizing, 3),
        "haystack tokens": len(tokenized),
        f"{len(OFFICIAL_LENGTHS)} lengths, exact tokens, CPU s": spread(times["grid"]),
        "the cell's tokens, counted by encoding all of it": recounted,
    }


def nested_reading(full: bool, repetitions: int) -> tuple[Figure, dict[str, Any]]:
    """SmolLM2 reads a nested grid: every token once, against every prompt for itself."""
    from etude.models import load_causal_lm

    lm = load_causal_lm("smollm2")
    lengths = tuple(range(256, 1025, 128 if full else 256))
    grid = StarGrid(lengths, len(lengths), placement="nested")
    haystack = load_haystack("en-inaugural")
    rows = chat_rows(lm.tokenizer, [rebuild(c, haystack) for c in build_cells(grid, haystack, lm.tokenizer)])
    probe = [[list(lm.tokenizer(' {"little_penguin": [', add_special_tokens=False)["input_ids"])]] * len(rows)
    total, read = tokens_to_read(rows)
    found: dict[str, dict[int, Any]] = {}

    def together() -> None:
        found["nested"] = dict(score_rows(lm, rows, probe))

    def apart() -> None:
        found["alone"] = {i: next(score_rows(lm, [row], [probe[i]]))[1] for i, row in enumerate(rows)}

    seconds = in_turn({"nested": together, "independent": apart}, repetitions)
    away = max(abs(found["nested"][i][0].total - one[0].total) for i, one in found["alone"].items())
    figure = Figure(
        f"reading {len(rows)} nested prompts of 256 to 1,024 tokens by SmolLM2",
        "every prompt for itself",
        "processor seconds",
        ratios(seconds["independent"], seconds["nested"]),
    )
    return figure, {
        "tokens of all prompts": total,
        "tokens read nested": read,
        "tokens saved": round(1 - read / total, 3),
        **{f"{name}, CPU s": spread(taken) for name, taken in seconds.items()},
        "largest difference of a log-probability": float(f"{away:.2g}"),
    }


def main(*, full: bool, repetitions: int) -> Comparison:
    """Building and reading; `full` reads more prompts."""
    grid, published = published_grid(repetitions)
    cell, exact = exact_grid(repetitions)
    nested, reading = nested_reading(full, repetitions)
    details = {
        "building the published grid": published,
        "building in exact tokens": exact,
        "nested reading": reading,
    }
    return Comparison([grid, cell, nested], (), details)
