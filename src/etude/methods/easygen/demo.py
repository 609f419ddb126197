"""A visible use in seconds: the small emoji model draws from words and describes pictures it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etude.methods.easygen.bidiffuser import EMOJI, load_bidiffuser
from etude.methods.easygen.caption_metrics import exact, word_accuracy
from etude.methods.easygen.dialog import parse_reply
from etude.methods.easygen.drawing import Painter
from etude.methods.easygen.pairs import read_pairs
from etude.methods.easygen.pictures import Picture, load_pixels, open_picture
from etude.render import Code, Demo, Figure, TableBlock, Text, new_figure

SAMPLE = Path(__file__).parent / "sample" / "emoji.csv"
"""Twelve emoji whose combination of base and skin tone the model was not trained on (Noto, Apache-2.0)."""

REPLY = (
    "First a <Img>strawberry</Img>, then <Img>grapes</Img> and a <Img>pineapple</Img>. All good: "
    "<Img>ok hand sign, dark skin tone</Img>"
)


def demo(out: Path) -> Demo:
    """Draw what a reply describes, and describe twelve pictures.

    Args:
        out: Folder for the drawings.
    """
    model = load_bidiffuser(EMOJI)
    painter = Painter(model)
    prompts = parse_reply(REPLY).prompts
    files = painter.paint(prompts, out / "drawn", seed=0)
    pairs = read_pairs(SAMPLE)
    pixels = load_pixels([pair.picture for pair in pairs], model.size)
    written = model.captions(pixels, [pair.id for pair in pairs], seed=0)
    again = painter.paint([pair.captions[0] for pair in pairs], out / "again", seed=0)
    rows: list[list[Any]] = [
        [pair.captions[0], text, word_accuracy(text, pair.captions)]
        for pair, text in zip(pairs, written, strict=True)
    ]
    right = sum(exact(text, pair.captions) for pair, text in zip(pairs, written, strict=True))
    share = sum(row[2] for row in rows) / len(rows)
    parameters = sum(p.numel() for p in model.network.parameters())
    drawn = [open_picture(Picture(file))[0] for file in files]
    shown = [open_picture(pair.picture)[0] for pair in pairs]
    redrawn = [open_picture(Picture(file))[0] for file in again]
    return Demo(
        headline=f"One small network draws {len(prompts)} pictures from a reply and describes {len(pairs)} "
        f"pictures it never saw: {share:.0%} of the words at their place, {right:.0f} captions exact.",
        went_in=[
            Text("A reply as a language model writes it: descriptions stand between <Img> and </Img>."),
            Code(REPLY),
            Figure(
                picture_row([shown], [pair.captions[0] for pair in pairs]),
                "Twelve emoji",
                "Pictures to describe: base and skin tone were both seen in training, together never.",
            ),
        ],
        came_out=[
            Figure(picture_row([drawn], prompts), "Drawings of the reply's descriptions", "Drawn, seed 0."),
            TableBlock(("Unicode name", "described as", "words at their place"), rows),
            Figure(
                picture_row([shown, redrawn], [""] * len(pairs)),
                "Real emoji above, drawings of their names below",
                "Above: the real ones. Below: drawn from their names.",
            ),
        ],
        meaning="The same weights work both ways: noise becomes words under a picture, or a picture under "
        "words. A language model that reads the former and writes the latter can see and show. This model "
        f"has {parameters / 1e6:.1f} million parameters and knows the "
        "words of its emoji only; `--init thu-ml/unidiffuser-v1` is the full-size way.",
    )


def picture_row(rows: list[list[Any]], titles: list[str]) -> Any:
    """Small pictures side by side, pixel by pixel, with their words above."""
    columns = len(rows[0])
    figure, axes = new_figure(
        1.1 * columns, 0.55 + 1.1 * len(rows), nrows=len(rows), ncols=columns, squeeze=False
    )
    for number, row in enumerate(rows):
        for at, picture in enumerate(row):
            axes[number][at].imshow(picture, interpolation="nearest")
            axes[number][at].set_axis_off()
            if number == 0 and titles[at]:
                axes[number][at].set_title(_lines(titles[at]), fontsize=6, loc="center")
    return figure


def _lines(text: str, width: int = 16) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))
