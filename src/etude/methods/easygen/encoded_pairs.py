"""Pairs as latents on disk: encoded once, memory-mapped while training; one item per caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from etude.errors import EtudeError
from etude.methods.easygen.clip_codec import ClipCodec
from etude.methods.easygen.objectives import Latents
from etude.methods.easygen.pairs import Pair
from etude.methods.easygen.picture_codecs import LatentCodec, PixelCodec
from etude.methods.easygen.pictures import load_pixels
from etude.methods.easygen.word_codec import WordCodec
from etude.render import console
from etude.runs import atomic_path, read_json, write_json

_BATCH = 64
_SHOWN = 30  # unknown words that a message lists


@dataclass(frozen=True)
class Encoding:
    """What was encoded.

    Attributes:
        pictures: Rows of `image.npy`.
        captions: Rows of `text.npy`.
        truncated: Captions that were cut.
    """

    pictures: int
    captions: int
    truncated: int


def encode_pairs(
    pairs: Sequence[Pair],
    pictures: PixelCodec | LatentCodec,
    text: WordCodec | ClipCodec,
    folder: Path,
) -> Encoding:
    """Write `image.npy`, `clip.npy` (with CLIP vectors), `text.npy` and `of.npy` (picture of a text).

    Raises:
        EtudeError: A caption has words that the codec does not know: they are listed.
    """
    note = folder / "encoding.json"
    if note.exists():
        return Encoding(**read_json(note))
    captions = [caption for pair in pairs for caption in pair.captions]
    of = [row for row, pair in enumerate(pairs) for _ in pair.captions]
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        truncated = _write_texts(captions, text, temporary)
        images: Any = None
        clips: Any = None
        for start in range(0, len(pairs), _BATCH):
            pixels = load_pixels([pair.picture for pair in pairs[start : start + _BATCH]], pictures.size)
            grid, clip = pictures.encode(pixels)
            if images is None:
                images = _array(temporary / "image.npy", len(pairs), grid)
                clips = None if clip is None else _array(temporary / "clip.npy", len(pairs), clip)
            images[start : start + len(grid)] = grid.cpu().numpy()
            if clip is not None:
                clips[start : start + len(grid)] = clip.cpu().numpy()
            if len(pairs) > 2000 and start % (_BATCH * 50) == 0:
                console().print(f"encoding pictures: {start:,} of {len(pairs):,}")
        np.save(temporary / "of.npy", np.array(of, dtype=np.int64))
        encoding = Encoding(len(pairs), len(captions), truncated)
        write_json(temporary / note.name, vars(encoding))
    return encoding


def _write_texts(captions: Sequence[str], text: WordCodec | ClipCodec, folder: Path) -> int:
    array: Any = None
    truncated = 0
    unknown: dict[str, None] = {}
    for start in range(0, len(captions), _BATCH):
        encoded = text.encode(captions[start : start + _BATCH])
        truncated += encoded.truncated
        unknown.update(dict.fromkeys(encoded.unknown))
        if array is None:
            array = _array(folder / "text.npy", len(captions), encoded.latents)
        array[start : start + len(encoded.latents)] = encoded.latents.cpu().numpy()
    if unknown:
        raise unknown_words(tuple(unknown))
    return truncated


def unknown_words(words: Sequence[str]) -> EtudeError:
    """The error for words outside of a small model's vocabulary; they are listed."""
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return EtudeError(
        f"the model does not know these words: {', '.join(words[:_SHOWN])}{more}",
        "A small model knows the words of its training captions only: use those, or train on captions that "
        "have these.",
    )


def _array(path: Path, rows: int, like: Tensor) -> Any:
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, *like.shape[1:]))


class EncodedPairs(Dataset[dict[str, Tensor]]):
    """Latents of pairs, one item per caption: `image`, `text`, and `clip` where there is one."""

    def __init__(self, folder: Path) -> None:
        self.of = np.load(folder / "of.npy")
        self.image = np.load(folder / "image.npy", mmap_mode="r")
        self.text = np.load(folder / "text.npy", mmap_mode="r")
        clip = folder / "clip.npy"
        self.clip = np.load(clip, mmap_mode="r") if clip.exists() else None

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        row = int(self.of[item])
        found = {"image": torch.tensor(self.image[row]), "text": torch.tensor(self.text[item])}
        if self.clip is not None:
            found["clip"] = torch.tensor(self.clip[row])
        return found


def latents_of(batch: dict[str, Tensor]) -> Latents:
    """A collated batch as `Latents`."""
    return Latents(batch["image"], batch.get("clip"), batch["text"])
