"""What a trained folder says about its training: settings, files, and which sentences it has seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods.semcsr.sentences import normalized
from etude.runs import read_json, write_json

TRAINING = "semcsr.json"
_SEEN = "semcsr_sentences.npy"


def write_provenance(folder: Path, facts: dict[str, Any], seen: Iterable[str]) -> None:
    """Write the facts, and 8 bytes of a hash of each training sentence."""
    write_json(folder / TRAINING, facts)
    np.save(folder / _SEEN, np.array(sorted({_hashed(text) for text in seen}), dtype=np.uint64))


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """The facts, or None for a model that was trained elsewhere."""
    path = folder / TRAINING
    return dict(read_json(path)) if path.is_file() else None


def needed_provenance(folder: Path, why: str) -> dict[str, Any]:
    """The facts, which `why` cannot do without.

    Raises:
        EtudeError: The folder was not written by `train`.
    """
    found = read_provenance(folder)
    if found is None:
        raise EtudeError(
            f"{folder}: no {TRAINING}, so its training is not known",
            f"{why} needs a folder written by etude semcsr train.",
        )
    return found


def seen_sentences(folder: Path, texts: Sequence[str]) -> list[str]:
    """Those of the texts that the model in the folder was trained on."""
    path = folder / _SEEN
    if not path.is_file():
        return []
    seen = np.load(path, allow_pickle=False)
    hashes = np.array([_hashed(text) for text in texts], dtype=np.uint64)
    return [text for text, known in zip(texts, np.isin(hashes, seen), strict=True) if known]


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(normalized(text).encode()).digest()[:8], "big")
