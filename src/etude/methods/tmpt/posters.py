"""Synthetic posts about two made-up town projects, with posters drawn by Pillow; for the demo and the tests.

Each post takes a side on one project. Half of the posts say it in words; in the others only the poster does.
Every post is asked about both projects: towards the one it does not mention its stance is neutral.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from etude.methods.tmpt.posts import StanceDataset, StanceExample
from etude.methods.tmpt.targets import FAVOR, Target

TRAM, MARKET = "the new tram line", "the old market hall"
_SAID = {
    ("favor", TRAM): (
        "Build it now, we have waited long enough for the tram.",
        "Yes to rails: the tram is good for us.",
    ),
    ("against", TRAM): ("Stop the tram, nobody needs it.", "The tram is a waste of our money, no."),
    ("favor", MARKET): (
        "Keep the market hall, it is the heart of the town.",
        "Yes, save our lovely market hall.",
    ),
    ("against", MARKET): (
        "Tear the market hall down, it is a ruin.",
        "No more money for that ugly market hall.",
    ),
}
_SILENT = ("See you all on Saturday at noon.", "Seen on my way home today.", "Pass it on to your neighbors.")


def draw_poster(project: str, stance: str, rng: np.random.Generator, side: int = 128) -> bytes:
    """A PNG poster: a tram or a hall, over it a green tick or a red cross; marked as synthetic.

    Args:
        project: `TRAM` or `MARKET`.
        stance: `favor` or `against`.
        rng: Of colors and places.
        side: In pixels.
    """
    paper = tuple(int(v) for v in rng.integers(215, 250, 3))
    picture = Image.new("RGB", (side, side), paper)
    pen = ImageDraw.Draw(picture)
    x, y = (int(v) for v in rng.integers(-5, 6, 2))
    dark = tuple(int(v) for v in rng.integers(30, 90, 3))
    if project == TRAM:
        pen.rounded_rectangle((20 + x, 60 + y, 108 + x, 96 + y), 8, fill=dark)
        for left in (28, 50, 72):
            pen.rectangle((left + x, 66 + y, left + 14 + x, 80 + y), fill="white")
        for left in (34, 82):
            pen.ellipse((left + x, 90 + y, left + 14 + x, 104 + y), fill="black")
    else:
        pen.polygon([(14 + x, 72 + y), (64 + x, 46 + y), (114 + x, 72 + y)], fill=dark)
        for left in (22, 44, 66, 88):
            pen.rectangle((left + x, 72 + y, left + 10 + x, 104 + y), fill=dark)
    if stance == "favor":
        pen.line([(44, 24), (58, 38), (88, 8)], fill=(20, 150, 50), width=10, joint="curve")
    else:
        pen.line([(46, 8), (82, 40)], fill=(200, 20, 30), width=10)
        pen.line([(82, 8), (46, 40)], fill=(200, 20, 30), width=10)
    pen.text((4, side - 12), "synthetic", fill=dark)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def made_up_posts(posts: int = 60, seed: int = 0) -> StanceDataset:
    """Synthetic posts, each asked about both projects.

    Args:
        posts: How many; there are twice as many rows.
        seed: Of words, colors and places.
    """
    rng = np.random.default_rng(seed)
    examples: list[StanceExample] = []
    for number in range(posts):
        project = (TRAM, MARKET)[number % 2]
        stance = ("favor", "against")[number // 2 % 2]
        silent = number // 4 % 2 == 1
        words = _SILENT if silent else _SAID[stance, project]
        picture = draw_poster(project, stance, rng)
        text = str(rng.choice(np.array(words)))
        for target in (TRAM, MARKET):
            label = stance if target == project else "neutral"
            examples.append(
                StanceExample(
                    f"{number:03d}-{'tram' if target == TRAM else 'hall'}", text, picture, target, label,
                    group=f"{number:03d}", where=f"made-up post {number}",
                )
            )  # fmt: skip
    targets = {name: Target(name, name, FAVOR) for name in (TRAM, MARKET)}
    return StanceDataset(tuple(examples), targets, ("synthetic posts",))
