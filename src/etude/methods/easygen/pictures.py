"""Pictures from files: any mode becomes RGB on white, square, of one size; what was changed is said.

A picture is a file, a cell of a sheet of sprites, or bytes out of an archive.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.render import console

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


@dataclass(frozen=True)
class Picture:
    """Where a picture is.

    Attributes:
        path: The file; for bytes, what to call them.
        box: Left, top, right, lower of a cell in a sheet; None for the whole file.
        content: The file's bytes, when they are not to be read from `path`.
    """

    path: Path
    box: tuple[int, int, int, int] | None = None
    content: bytes | None = None

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return str(self.path) if self.box is None else f"{self.path} at {self.box[:2]}"


def open_picture(picture: Picture) -> tuple[Any, str]:
    """The picture as an RGB `PIL.Image`, and what had to be done to make it one (empty: nothing).

    Transparent parts become white; of an animation the first frame is taken; CMYK and other modes are
    converted.

    Raises:
        EtudeError: No such file, not a picture, cut off, or too large to be one.
    """
    if picture.box is not None:
        sheet = _sheet(picture.path)
        left, top, right, lower = picture.box
        if left < 0 or top < 0 or right > sheet.width or lower > sheet.height:
            raise EtudeError(
                f"{picture.name}: outside of the sheet ({sheet.width} x {sheet.height} pixels)",
                "Check row, col and the size of a cell.",
            )
        return sheet.crop(picture.box), ""
    return _decode(picture)


def _decode(picture: Picture) -> tuple[Any, str]:
    from PIL import Image

    source: Any = picture.path if picture.content is None else io.BytesIO(picture.content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source) as opened:
                done = "of an animation the first frame is used" if getattr(opened, "n_frames", 1) > 1 else ""
                opened.load()
                image = opened.copy()
    except FileNotFoundError as error:
        raise EtudeError(
            f"{picture.name}: no such file", "Check the path; it is relative to its table."
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise EtudeError(
            f"{picture.name}: too many pixels ({error})"[:300], "Make it smaller first."
        ) from error
    except Exception as error:  # decoders of damaged files raise what they like
        raise EtudeError(
            f"{picture.name}: not a readable picture ({type(error).__name__}: {error})"[:300],
            f"Give whole files of one of {', '.join(SUFFIXES)}.",
        ) from error
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha: Any = image.getchannel("A").getextrema()
        if alpha[0] < 255:
            done = "transparent parts were put on white"
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB"), done
    if image.mode == "CMYK":
        done = "CMYK was converted to RGB"
    return image.convert("RGB"), done


def pixel_tensor(image: Any, size: int) -> Tensor:
    """An RGB picture cut to its middle square and scaled, as values in [-1, 1], (3, size, size)."""
    from PIL import Image, ImageOps

    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    values = torch.from_numpy(np.asarray(image, dtype=np.uint8).copy())
    return values.permute(2, 0, 1).float() / 127.5 - 1


def load_pixels(pictures: Sequence[Picture], size: int) -> Tensor:
    """Many pictures, (len(pictures), 3, size, size); what had to be changed is said once on stderr."""
    changed: Counter[str] = Counter()
    rows = []
    for picture in pictures:
        image, done = open_picture(picture)
        changed[done] += bool(done)
        rows.append(pixel_tensor(image, size))
    for done, count in changed.items():
        if done and count:
            console().print(f"{count} of {len(rows)} pictures: {done}")
    return torch.stack(rows) if rows else torch.zeros(0, 3, size, size)


def to_image(pixels: Tensor) -> Any:
    """A tensor (3, size, size) in [-1, 1] (clamped) as a `PIL.Image`."""
    from PIL import Image

    values = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    return Image.fromarray(values.cpu().numpy())


def png_bytes(image: Any, notes: dict[str, str] | None = None, *, scale: int = 1) -> bytes:
    """A `PIL.Image` as PNG, enlarged by whole pixels, with text chunks."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if scale > 1:
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    chunks = PngInfo()
    for name, text in (notes or {}).items():
        chunks.add_itxt(name, text)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()


@lru_cache(maxsize=4)
def _sheet(path: Path) -> Any:
    return _decode(Picture(path))[0]
