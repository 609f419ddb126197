"""Text inside pictures, by RapidOCR (`pip install "etude[ocr]"`); read once a picture, off by default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods.tmpt.pictures import open_picture
from etude.methods.tmpt.posts import StanceExample, image_key
from etude.methods.tmpt.rows import picture_of
from etude.runs import read_json, write_json

CONFIDENCE = 0.5


def read_pictures(examples: Sequence[StanceExample], folder: Path) -> dict[str, str]:
    """The text in each picture, by the picture's hash.

    Args:
        examples: Posts.
        folder: Where what was read is kept, a file a picture.

    Raises:
        EtudeError: RapidOCR is not installed, or a picture cannot be read.
    """
    engine: Any = None
    found: dict[str, str] = {}
    for example in examples:
        image = picture_of(example)
        key = image_key(image)
        if key in found:
            continue
        note = folder / "ocr" / f"{key[:32]}.json"
        if not note.exists():
            engine = engine or _engine()
            picture, _ = open_picture(image, example.where)
            lines, _ = engine(np.asarray(picture)[:, :, ::-1])  # it reads BGR
            text = " ".join(str(line[1]) for line in lines or [] if float(line[2]) >= CONFIDENCE)
            write_json(note, {"text": text})
        found[key] = str(read_json(note)["text"])
    return found


def _engine() -> Any:
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError as error:
        raise EtudeError("--ocr needs RapidOCR", 'Install it: pip install "etude[ocr]"') from error
    return RapidOCR()
