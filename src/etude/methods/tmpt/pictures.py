"""Pictures of posts: any format to small RGB squares; broken ones refused by name, odd ones counted."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from etude.errors import EtudeError

TINY = 64
"""A picture with a shorter side than this, in pixels, is flagged as tiny."""
AVATAR = 400
"""A square picture up to this side is flagged as a likely profile picture."""


@dataclass(frozen=True)
class PictureFacts:
    """What was noticed about a picture.

    Attributes:
        animated: It has several frames; the first is used.
        converted: Its mode is not RGB.
        tiny: Its shorter side is below `TINY` pixels.
        avatar: It is square and small: perhaps a profile picture and not the post's.
    """

    animated: bool
    converted: bool
    tiny: bool
    avatar: bool


def open_picture(
    source: Path | bytes, where: str, *, wanted: int | None = None
) -> tuple[Image.Image, PictureFacts]:
    """Open a picture as RGB, upright.

    Args:
        source: A file or its bytes.
        where: Row and column, for messages.
        wanted: Side in pixels that will do: JPEG is decoded at the smallest scale above it.

    Returns:
        The picture on white where it was transparent, and what was noticed.

    Raises:
        EtudeError: It is no picture, is cut off, or has more pixels than Pillow's limit.
    """
    with _opened(source, where) as opened:
        facts = _facts(opened)
        if facts.animated:
            opened.seek(0)
        elif wanted is not None and opened.format == "JPEG" and opened.mode == "RGB":
            opened.draft("RGB", (wanted, wanted))
        opened.load()
        return as_rgb(ImageOps.exif_transpose(opened)), facts


def picture_facts(source: Path | bytes, where: str) -> PictureFacts:
    """What a picture's header says; its pixels are not decoded."""
    with _opened(source, where) as opened:
        return _facts(opened)


@contextmanager
def _opened(source: Path | bytes, where: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
                yield opened
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise EtudeError(
            f"{where}: image: more than {Image.MAX_IMAGE_PIXELS:,} pixels", "Scale the picture down first."
        ) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise EtudeError(
            f"{where}: image: cannot be read as a picture ({reason})", "Fetch it again, or leave the row out."
        ) from error


def _facts(opened: Image.Image) -> PictureFacts:
    short, long = min(opened.size), max(opened.size)
    return PictureFacts(
        animated=getattr(opened, "n_frames", 1) > 1,
        converted=opened.mode != "RGB",
        tiny=short < TINY,
        avatar=long <= AVATAR and long - short <= 0.02 * long,
    )


def as_rgb(picture: Image.Image) -> Image.Image:
    """Any mode as RGB: 16 bits are scaled to 8, transparency lies on white.

    Args:
        picture: A loaded picture.
    """
    if picture.mode == "RGB":
        return picture.copy()
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if picture.mode.startswith("I") else max(float(values.max()), 1.0)
        return Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        over = picture.convert("RGBA")
        below = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(below, over).convert("RGB")
    return picture.convert("RGB")


def pixel_square(source: Path | bytes, where: str, side: int) -> NDArray[np.uint8]:
    """A picture squeezed to a square, (3, side, side)."""
    picture, _ = open_picture(source, where, wanted=side)
    small = picture.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small).transpose(2, 0, 1)


def picture_notices(facts: Mapping[str, PictureFacts]) -> list[str]:
    """What a person should look at: how many pictures, and the first post of each kind.

    Args:
        facts: Of each picture, by a post that has it.
    """
    kinds = {
        "animated: the first frame was used": [post for post, f in facts.items() if f.animated],
        "not RGB (CMYK, palette, alpha, gray or 16 bits): converted": [
            post for post, f in facts.items() if f.converted
        ],
        f"below {TINY} pixels a side": [post for post, f in facts.items() if f.tiny],
        "small and square, perhaps profile pictures and not the posts'": [
            post for post, f in facts.items() if f.avatar
        ],
    }
    return [
        f"{len(posts)} of {len(facts)} pictures are {what}, e.g. of post {posts[0]!r}"
        for what, posts in kinds.items()
        if posts
    ]
