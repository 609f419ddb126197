"""One visible use: two instruments on a grid, and a small model on one short text."""

from __future__ import annotations

from pathlib import Path

from etude.methods.counting_stars.builder import build_cells
from etude.methods.counting_stars.cells import read_cells, rebuild
from etude.methods.counting_stars.commands import run
from etude.methods.counting_stars.figures import heat_maps
from etude.methods.counting_stars.grid import StarGrid
from etude.methods.counting_stars.haystacks import load_haystack
from etude.methods.counting_stars.scoring import score_answer
from etude.methods.counting_stars.tables import answers_of, tables
from etude.methods.counting_stars.templates import find_stars
from etude.render import Code, Demo, Figure, TableBlock, Text

MODEL = "smollm2"
INSTRUMENTS = ("instrument/oracle", "instrument/window-1000")


def demo(out: Path) -> Demo:
    """Build a grid, run an oracle, a window and SmolLM2, and show what each collects.

    Args:
        out: Folder for the runs.
    """
    from etude.data import write_records
    from etude.models import load_tokenizer

    tokenizer = load_tokenizer(MODEL)
    haystack = load_haystack("en-inaugural")
    grid = StarGrid(tuple(range(500, 4001, 500)), stars=16, seeds=(0,))
    small = StarGrid((256,), stars=3, seeds=(0,))
    files = {"instruments": out / "grid.jsonl", "model": out / "small.jsonl"}
    write_records(files["instruments"], build_cells(grid, haystack, tokenizer, MODEL))
    write_records(files["model"], build_cells(small, haystack, tokenizer, MODEL))
    measured = run(files["instruments"], model=INSTRUMENTS, out=out / "instruments")
    run(files["model"], model=(MODEL,), engine="nested", max_tokens=48, out=out / "model")

    stars = tables(read_cells(files["instruments"]), answers_of(out / "instruments"))[1]
    keys = [(name, "search", "en") for name in INSTRUMENTS]
    [cell] = read_cells(files["model"])
    prompt = rebuild(cell, haystack)
    answer = answers_of(out / "model")[MODEL, cell.id].raw
    scored = score_answer(cell, answer)
    shown = _mark_stars(prompt.context)
    means = {summary.model: summary.score.mean for summary in measured.summaries}
    return Demo(
        headline=(
            f"A model that sees its last 1,000 tokens finds {means['instrument/window-1000']:.0%} of the "
            f"stars, one that reads everything {means['instrument/oracle']:.0%}; SmolLM2-135M finds "
            f"{int(scored.hits.sum())} of {cell.stars} in {cell.length_tokens} tokens."
        ),
        went_in=[
            Text(
                f"{cell.stars} stars in exactly {cell.length_tokens} tokens of inaugural addresses (>>> "
                "marks them here only), then the question:"
            ),
            Code(shown + prompt.question),
        ],
        came_out=[
            Text("What SmolLM2-135M answered:"),
            Code(answer),
            TableBlock(
                ("star", "depth", "number", "found"),
                [
                    (i + 1, float(d), c, bool(h))
                    for i, (d, c, h) in enumerate(zip(cell.depths, cell.counts, scored.hits, strict=True))
                ],
                f"Score {scored.score:.3f} by the published rule, precision {scored.precision:.3f}",
            ),
            Figure(
                heat_maps(stars, "score_official", keys),
                "Heat maps of an oracle and of a model with a window of 1,000 tokens",
                "A column is a context length, a row a star: the window loses early stars as the text grows.",
            ),
        ],
        meaning=(
            "A single hidden fact is easy to find; collecting all of them shows how much of a long text a "
            "model uses. The heat map says from which length and depth on facts get lost."
        ),
    )


def _mark_stars(context: str) -> str:
    """The context with an arrow before each star sentence, for the reader."""
    for mention in reversed(find_stars(context)):
        context = f"{context[: mention.start]}>>> {context[mention.start :]}"
    return context
