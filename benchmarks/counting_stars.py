"""counting-stars: building a grid against the published program, and nested against independent reading.

The published program splits the text at spaces, inserts one star and joins it again, star after star. It is
written here from its description; both give the same prompts, byte for byte.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

from etude.methods.counting_stars.accounting import TokenizedHaystack, encode
from etude.methods.counting_stars.builder import build_cells, build_tokenized
from etude.methods.counting_stars.cells import rebuild, sha256
from etude.methods.counting_stars.grid import StarGrid
from etude.methods.counting_stars.haystacks import Haystack, load_haystack
from etude.methods.counting_stars.nested import score_rows, tokens_to_read
from etude.methods.counting_stars.official import OFFICIAL_LENGTHS, official_text, official_units
from etude.methods.counting_stars.runner import chat_rows
from etude.methods.counting_stars.templates import question


def published_prompt(text: str, units: int, sentences: list[str], ask: str) -> str:
    """One English prompt by splitting and joining strings, star after star."""
    grown = " ".join(text.split(" ")[:units])
    step = units // len(sentences)
    for index, sentence in enumerate(sentences):
        place = (index + 1) * step + len(sentence.split(" ")) * index
        grown = " ".join(grown.split(" ")[:place]) + sentence + " ".join(grown.split(" ")[place:])
    return grown + ask


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and what the work gave."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def spread(times: list[float]) -> dict[str, float | int]:
    return {
        "median": round(statistics.median(times), 5),
        "lowest": round(min(times), 5),
        "highest": round(max(times), 5),
        "repetitions": len(times),
    }


def published_grid(quick: bool) -> dict[str, Any]:
    """32 lengths up to 128k, 32 stars: the published program against ours, the same prompts."""
    haystack = load_haystack("en-inaugural").repeated(5)
    haystack = Haystack(haystack.name, haystack.text)
    lengths = OFFICIAL_LENGTHS[::4] if quick else OFFICIAL_LENGTHS
    grid = StarGrid(lengths, 32, counts="official", unit="official")
    ask = question("search", "en")

    def ours() -> list[str]:
        return [cell.prompt_sha256 for cell in build_cells(grid, haystack, None)]

    def theirs() -> list[str]:
        text = official_text(haystack.text, "en")
        return [published_prompt(text, official_units(n, "en"), sentences, ask) for n in lengths]

    sentences = next(iter(build_cells(grid, haystack, None))).sentences()
    own, peer = [], []
    for _ in range(1 if quick else 3):
        for _ in range(3):
            taken, hashes = seconds(ours)
            own.append(taken)
        taken, prompts = seconds(theirs)
        peer.append(taken)
        if [sha256(prompt) for prompt in prompts] != hashes:
            raise RuntimeError("the prompts differ")
    return {
        "prompts": len(lengths),
        "the same prompts": True,
        "published, CPU s": spread(peer),
        "etude, CPU s": spread(own),
        "ratio": round(statistics.median(peer) / statistics.median(own), 1),
        "target": 50,
    }


def exact_grid(quick: bool) -> dict[str, Any]:
    """The same lengths in exact tokens (32 recounted stars each), and one cell of a million tokens."""
    from etude.models import load_tokenizer

    tokenizer = load_tokenizer("smollm2")
    source = load_haystack("en-inaugural")
    source = Haystack(source.name, source.repeated(5 if quick else 34).text)
    tokenizing, tokenized = seconds(lambda: TokenizedHaystack(source.text, tokenizer))
    lengths = OFFICIAL_LENGTHS[::4] if quick else OFFICIAL_LENGTHS
    million = 100_000 if quick else 1_000_000
    grids = {"grid": StarGrid(lengths, 32), "cell": StarGrid((million,), 32)}
    times: dict[str, list[float]] = {name: [] for name in grids}
    for _ in range(3 if quick else 5):
        for name, grid in grids.items():
            taken, cells = seconds(lambda grid=grid: list(build_tokenized(grid, source, tokenized)))
            times[name].append(taken)
    context = rebuild(cells[0], source).context
    recounted = len(encode(tokenizer, context)[0])
    return {
        "tokenizing once, CPU s": round(tokenizing, 3),
        "haystack tokens": len(tokenized),
        f"{len(lengths)} lengths, exact tokens, CPU s": spread(times["grid"]),
        f"one cell of {million:,} tokens, CPU s": spread(times["cell"]),
        "its tokens, counted by encoding all of it": recounted,
    }


def nested_reading(quick: bool) -> dict[str, Any]:
    """SmolLM2 reads a nested grid: every token once, against every prompt for itself."""
    from etude.models import load_causal_lm

    lm = load_causal_lm("smollm2")
    lengths = tuple(range(256, 1025, 256 if quick else 128))
    grid = StarGrid(lengths, len(lengths), placement="nested")
    haystack = load_haystack("en-inaugural")
    rows = chat_rows(lm.tokenizer, [rebuild(c, haystack) for c in build_cells(grid, haystack, lm.tokenizer)])
    probe = [[list(lm.tokenizer(' {"little_penguin": [', add_special_tokens=False)["input_ids"])]] * len(rows)
    total, read = tokens_to_read(rows)
    nested, alone, apart = [], [], 0.0
    for _ in range(1 if quick else 3):
        taken, together = seconds(lambda: dict(score_rows(lm, rows, probe)))
        nested.append(taken)
        taken, single = seconds(
            lambda: {i: next(score_rows(lm, [row], [probe[i]]))[1] for i, row in enumerate(rows)}
        )
        alone.append(taken)
        apart = max(abs(together[i][0].total - single[i][0].total) for i in single)
    return {
        "prompts": len(rows),
        "tokens of all prompts": total,
        "tokens read nested": read,
        "tokens saved": round(1 - read / total, 3),
        "independent, CPU s": spread(alone),
        "nested, CPU s": spread(nested),
        "time ratio": round(statistics.median(alone) / statistics.median(nested), 2),
        "largest difference of a log-probability": float(f"{apart:.2g}"),
    }


def main(*, quick: bool = False) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "building the published grid": published_grid(quick),
        "building in exact tokens": exact_grid(quick),
        "nested reading": nested_reading(quick),
        "versions": {
            "python": platform.python_version(),
            "tokenizers": version("tokenizers"),
            "torch": version("torch"),
        },
    }
