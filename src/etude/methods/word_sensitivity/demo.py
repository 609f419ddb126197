"""Demo: the word of a sentence that holds a layer of SmolLM2, and the law that random maps follow."""

from __future__ import annotations

from pathlib import Path

from etude.methods.word_sensitivity.corpus import embed_texts
from etude.methods.word_sensitivity.plots import curve_figure
from etude.methods.word_sensitivity.results import fit_rows
from etude.methods.word_sensitivity.scaling import MAPS, Shape, measure_point
from etude.methods.word_sensitivity.sentence import PAGE, words, write_page
from etude.render import Demo, Figure, TableBlock, Text

TEXTS = {
    "alice": (
        "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
        "nothing to do: once or twice she had peeped into the book her sister was reading, but it had no "
        "pictures or conversations in it, and what is the use of a book, thought Alice, without pictures "
        "or conversations? So she was considering in her own mind, as well as she could, for the hot day "
        "made her feel very sleepy."
    ),
    "austen": (
        "It is a truth universally acknowledged, that a single man in possession of a good fortune, must "
        "be in want of a wife. However little known the feelings or views of such a man may be on his "
        "first entering a neighbourhood, this truth is so well fixed in the minds of the surrounding "
        "families, that he is considered as the rightful property of some one or other of their "
        "daughters."
    ),
    "melville": (
        "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my "
        "purse, and nothing particular to interest me on shore, I thought I would sail about a little and "
        "see the watery part of the world. It is a way I have of driving off the spleen and regulating "
        "the circulation."
    ),
}
"""Openings of three novels in the public domain (Carroll 1865, Austen 1813, Melville 1851)."""

SENTENCE = "I love her much"
SITE = "layers.3.self_attn"
LENGTHS = (8, 16, 32, 64)
MAP_NAMES = {"rf": "random features", "raf": "attention (softmax)", "relu-raf": "attention (ReLU)"}


def demo(out: Path) -> Demo:
    """Shade a sentence, and draw how three random maps forget a word as the text grows.

    Args:
        out: Folder for the texts and the page of the sentence.
    """
    shaded = words("smollm2", text=SENTENCE, site=SITE, candidates=48, out=out / "words")
    write_page(shaded, out / "words")
    source = out / "novels.txt"
    source.write_text("\n\n".join(TEXTS.values()) + "\n", encoding="utf-8")
    data = embed_texts(source, "smollm2", n=LENGTHS[-1], count=len(TEXTS), order=None)
    fits = {}
    for name, title in MAP_NAMES.items():
        rows = []
        for n in LENGTHS:
            shape = Shape(n, data.x.shape[2], k=2048)
            rows += measure_point(
                MAPS[name](shape, 0), data, shape, 0, positions="sample:1", method="ascent", radius=1.0,
                starts=2 if name == "rf" else 8, steps=30, source="novels",
            )  # fmt: skip
        fit = fit_rows(rows, "n")
        assert fit is not None
        fits[title] = fit
    most = max(range(len(shaded.tokens)), key=lambda i: shaded.values[i])
    table = [(title, *fit.means, fit.exponent) for title, fit in fits.items()]
    exponents = ", ".join(f"{title} {fit.exponent:.2f}" for title, fit in fits.items())
    held, by = shaded.tokens[most].strip(), (shaded.replacements[most] or "").strip()
    return Demo(
        headline=f"Replacing {held!r} by {by!r} "
        f"moves {SITE} by {shaded.values[most]:.0%}; the exponents of S in n: {exponents}",
        went_in=[
            Text(f"The sentence: {SENTENCE}"),
            Text("The openings of three novels in the public domain, as SmolLM2's word embeddings."),
        ],
        came_out=[
            shaded.sentence(),
            shaded.table(),
            Figure(
                curve_figure(fits, "n"),
                "Word sensitivity of three random maps against length, log-log",
                "Solid: the worst vector in place of one word. Dashed: a random one.",
            ),
            TableBlock(("map", *(f"n = {n}" for n in LENGTHS), "exponent"), table, "Word sensitivity"),
        ],
        meaning="Fully connected random features forget a single word as 1/√n. Softmax attention does not: "
        "one vector can draw the attention of every other word to itself, however long the text. That is a "
        f"supremum; typical changes do far less. The sentence has its own page: {out / 'words' / PAGE}",
    )
