"""What becomes of each document: training, held out, or removed and why. One pass over the corpus.

Memory does not grow with the text: per document 16 bytes (exact duplicates) and 512 bytes (near duplicates)
go to scratch files, and are read back as memory-mapped arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.teenytinyllama.deduplication import (
    MINIMA,
    exact_duplicates,
    near_duplicates,
    signature,
    text_key,
)
from etude.methods.teenytinyllama.notices import Notice
from etude.methods.teenytinyllama.reading import Document, language_of, same_language
from etude.methods.teenytinyllama.splitting import LeakCheck, check_fraction, is_held_out

Dedup = Literal["none", "exact", "near"]
Stream = Callable[[], Iterator[tuple[bool, Document]]]  # (given as validation, document), the same every time


class Fate(IntEnum):
    """What becomes of a document; those from EMPTY on are removed, and counted by lower-case name."""

    TRAIN = 0
    VAL = 1
    EMPTY = 2
    SHORT = 3
    LANGUAGE = 4
    EXACT = 5
    NEAR = 6
    LEAKED = 7


@dataclass(frozen=True)
class Rules:
    """How documents are screened.

    Args:
        val_fraction: Share of documents to hold out.
        seed: Of the held-out choice.
        dedup: `exact` removes texts that are equal up to white space, `near` also those that nearly are.
        threshold: Least Jaccard similarity of near duplicates.
        language: The language the corpus should be in.
        filter_language: Remove documents in other languages instead of only counting them.
        min_words: Remove documents with fewer words.
    """

    val_fraction: float = 0.0
    seed: int = 0
    dedup: Dedup = "none"
    threshold: float = 0.8
    language: str | None = None
    filter_language: bool = False
    min_words: int = 0


@dataclass(frozen=True)
class Screening:
    """The outcome.

    Args:
        fates: Of each document of the stream, (documents,) of `Fate`.
        other_language: How many of the documents kept are not in the target language.
        leaked: Validation paragraphs that occur in the training text.
        inside: Validation documents wholly inside the training text that were kept (forced).
    """

    fates: NDArray[np.uint8]
    other_language: int
    leaked: int
    inside: int

    def removed(self) -> dict[str, int]:
        """How many documents were removed, by reason."""
        counts = np.bincount(self.fates, minlength=len(Fate))
        return {fate.name.lower(): int(counts[fate]) for fate in Fate if fate > Fate.VAL}


def screen(stream: Stream, rules: Rules, scratch: Path, *, force: bool = False) -> Screening:
    """Decide the fate of each document.

    Args:
        stream: The corpus; read once, and once more when anything is held out.
        rules: How.
        scratch: Folder for scratch files.
        force: Keep validation documents that are inside the training text.

    Raises:
        EtudeError: A rule is out of range, or validation documents are inside the training text and `force`
            is not set.
    """
    check_fraction(rules.val_fraction)
    if not 0 < rules.threshold <= 1:
        raise EtudeError(f"threshold {rules.threshold:g}", "Give a similarity in (0, 1], such as 0.8.")
    fates, foreign, leak = _first_pass(stream, rules, scratch)
    kept = fates <= Fate.VAL
    given = np.memmap(scratch / "given.bin", dtype=bool, mode="r") if len(fates) else np.zeros(0, dtype=bool)
    if rules.dedup != "none" and len(fates):
        keys = np.memmap(scratch / "keys.bin", dtype="V16", mode="r")
        repeated = np.zeros(len(fates), dtype=bool)
        repeated[kept] = exact_duplicates(keys[kept])
        fates[repeated & ~given] = Fate.EXACT
    if rules.dedup == "near" and len(fates):
        minima = np.memmap(scratch / "minima.bin", dtype=np.uint32, mode="r").reshape(-1, MINIMA)
        repeated = near_duplicates(minima, rules.threshold, np.flatnonzero(fates <= Fate.VAL))
        fates[repeated & ~given] = Fate.NEAR
    found, inside = _check_leaks(stream, fates, leak, rules, bool(given.any()), force)
    other = int((foreign & (fates <= Fate.VAL)).sum())
    return Screening(fates, other, found, inside)


def _first_pass(
    stream: Stream, rules: Rules, scratch: Path
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], LeakCheck]:
    leak, notice = LeakCheck(), Notice("documents screened")
    fates, foreign = bytearray(), bytearray()
    with (
        open(scratch / "given.bin", "wb") as given_file,
        open(scratch / "keys.bin", "wb") as key_file,
        open(scratch / "minima.bin", "wb") as minima_file,
    ):
        for index, (given, document) in enumerate(stream()):
            notice.add()
            key = text_key(document.text)
            words = len(document.text.split())
            other = bool(
                rules.language and words and not same_language(language_of(document), rules.language)
            )
            held_out = given or is_held_out(key, rules.val_fraction, rules.seed)
            fate = Fate.VAL if held_out else Fate.TRAIN
            if not words:
                fate = Fate.EMPTY
            elif not given and words < rules.min_words:
                fate = Fate.SHORT
            elif not given and other and rules.filter_language:
                fate = Fate.LANGUAGE
            fates.append(fate)
            foreign.append(other)
            given_file.write(bytes([given]))
            if fate == Fate.VAL:
                leak.add(index, document)
            if rules.dedup != "none":
                key_file.write(key)
            if rules.dedup == "near":
                minima_file.write(signature(document.text).tobytes())
    return np.frombuffer(fates, np.uint8).copy(), np.frombuffer(foreign, bool).copy(), leak


def _check_leaks(
    stream: Stream, fates: NDArray[np.uint8], leak: LeakCheck, rules: Rules, given: bool, force: bool
) -> tuple[int, int]:
    """Validation paragraphs found in training, and validation documents inside it that stay."""
    if not leak.documents:
        return 0, 0
    leak.search(d for index, (_, d) in enumerate(stream()) if fates[index] == Fate.TRAIN)
    inside = [(index, name) for index, name in leak.inside() if fates[index] == Fate.VAL]
    if not inside or force:
        return leak.found, len(inside)
    if rules.dedup != "none" and not given:
        fates[[index for index, _ in inside]] = Fate.LEAKED
        return leak.found, 0
    raise EtudeError(
        f"{len(inside)} validation documents are inside the training text, first {inside[0][1]!r}",
        "Remove them from the training text, hold out other documents, or give --force.",
    )
