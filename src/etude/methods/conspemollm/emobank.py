"""EmoBank: sentences with valence, arousal and dominance (Buechel & Hahn, EACL 2017; CC BY-SA 4.0)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.conspemollm.shuffling import other_rows

DIMENSIONS = ("valence", "arousal", "dominance")
LOW, HIGH = 1.0, 5.0
HOW_TO_GET = "EmoBank as CSV (id, split, V, A, D, text): https://github.com/JULIELab/EmoBank, CC BY-SA 4.0."


class _Row(BaseModel):
    id: str = ""
    split: str = "train"
    V: float = Field(ge=LOW, le=HIGH)
    A: float = Field(ge=LOW, le=HIGH)
    D: float = Field(ge=LOW, le=HIGH)
    text: str = ""

    @model_validator(mode="before")
    @classmethod
    def _id_as_text(cls, row: Any) -> Any:
        return {**row, "id": str(row.get("id", ""))} if isinstance(row, dict) else row


@dataclass(frozen=True)
class EmoBank:
    """Sentences with their ratings.

    Args:
        ids: Of each sentence.
        texts: The sentences.
        ratings: Valence, arousal, dominance from 1 to 5, (sentences, 3).
        left_out: Rows without any word.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    ratings: NDArray[np.float64]
    left_out: int = 0

    def __len__(self) -> int:
        """Sentences."""
        return len(self.ids)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> EmoBank:
        """Some of the sentences, in this order."""
        return EmoBank(
            tuple(self.ids[i] for i in rows), tuple(self.texts[i] for i in rows), self.ratings[list(rows)]
        )

    def shuffled(self, seed: int) -> EmoBank:
        """The same sentences with ratings of other ones: affect examples that teach nothing about affect."""
        return EmoBank(self.ids, self.texts, self.ratings[other_rows(len(self), seed)])

    def sample(self, count: int, seed: int, most_words: int | None = None) -> EmoBank:
        """At most `count` random sentences, of at most `most_words` words."""
        fitting = [i for i, t in enumerate(self.texts) if most_words is None or len(t.split()) <= most_words]
        order = np.random.default_rng(seed).permutation(len(fitting))[:count]
        return self.take([fitting[i] for i in order])


def document_of(id: str) -> str:
    """The document a sentence comes from: what its id begins with."""
    return id.split("_")[0]


def read_emobank(path: Path | None) -> dict[str, EmoBank]:
    """EmoBank by split. Rows without any word (empty, or punctuation alone) are left out and counted.

    Raises:
        EtudeError: No file, or a rating that is not between 1 and 5.
    """
    if path is None or not Path(path).is_file():
        raise EtudeError(f"{path or 'no --emobank file'}: the affect half needs EmoBank", HOW_TO_GET)
    splits: dict[str, list[_Row]] = {}
    empty: dict[str, int] = {}
    for row in read_records(path, _Row):
        if any(character.isalnum() for character in row.text):
            splits.setdefault(row.split, []).append(row)
        else:
            empty[row.split] = empty.get(row.split, 0) + 1
    if "train" not in splits:
        raise EtudeError(f"{path}: has no row of split train", HOW_TO_GET)
    return {
        split: EmoBank(
            tuple(row.id for row in rows),
            tuple(row.text for row in rows),
            np.array([[row.V, row.A, row.D] for row in rows]),
            empty.get(split, 0),
        )
        for split, rows in splits.items()
    }


def emobank_in(folder: Path | None) -> Path | None:
    """The EmoBank file of a data folder (`emobank*.csv`), or None."""
    found = sorted(folder.glob("emobank*.csv")) if folder is not None and folder.is_dir() else []
    return found[0] if found else None
