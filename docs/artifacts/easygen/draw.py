"""Redraw the pictures of docs/methods/easygen.md: real emoji with the model's captions, its drawings below.

`python docs/artifacts/easygen/draw.py emoji.csv`, with the rows that the page's recipe writes.
"""

import sys
from pathlib import Path

from etude.methods.easygen.bidiffuser import EMOJI, load_bidiffuser
from etude.methods.easygen.demo import picture_row
from etude.methods.easygen.pairs import Pair, read_pairs
from etude.methods.easygen.pictures import load_pixels, to_image
from etude.render.plots import png


def main(sheet: str) -> None:
    """Write unseen.png and train.png beside this file: the same rows whatever the model."""
    unseen = read_pairs(sheet, split="test")[::2]
    plain = [pair for pair in read_pairs(sheet, split="train") if pair.fact("skin_tone") == "none"]
    known = [pair for pair in plain if pair.fact("subcategory") in ("cat-face", "food-fruit")][::3]
    for name, pairs in (("unseen", unseen), ("train", known)):
        Path(__file__).with_name(f"{name}.png").write_bytes(png(picture_row(*rows(pairs[:10]))))


def rows(pairs: list[Pair]) -> tuple[list[list[object]], list[str]]:
    """Real pictures, drawings of their names (seed 0), and captions of the real ones."""
    model = load_bidiffuser(EMOJI)
    pixels = load_pixels([pair.picture for pair in pairs], model.size)
    names = [pair.captions[0] for pair in pairs]
    drawn = model.draw(model.text.encode(names).latents, names)
    shown: list[list[object]] = [[to_image(one) for one in pixels], [to_image(one) for one in drawn]]
    return shown, model.captions(pixels, [pair.id for pair in pairs])


if __name__ == "__main__":
    main(sys.argv[1])
