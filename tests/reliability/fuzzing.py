"""Damaged files through every reader: records or an `EtudeError`, nothing else."""

from __future__ import annotations

import random
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.mutations import damaged
from tests.reliability.readers import Reader

from etude.errors import EtudeError


@dataclass
class Fuzzed:
    """What a reader did with damaged files.

    Args:
        name: The reader.
        read: Files of which it gave records.
        refused: Files that it refused.
        bugs: What else was raised, and how often.
        example: The first file on which each was.
    """

    name: str
    read: int = 0
    refused: int = 0
    bugs: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)


def fuzz(reader: Reader, count: int, folder: Path, first: int = 0) -> Fuzzed:
    """Read `count` damaged copies of the reader's sample.

    Args:
        reader: The reader.
        count: How many copies.
        folder: An empty folder to write them into.
        first: Number of the first; the damage depends on reader and number alone.
    """
    for name, text in reader.beside:
        (folder / name).write_text(text)
    _pictures(folder)
    file, result = folder / f"input{reader.suffix}", Fuzzed(reader.name)
    for number in range(first, first + count):
        file.write_bytes(damaged(reader.sample, random.Random(f"{reader.name} {number}")))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(file)
            result.read += 1
        except EtudeError:
            result.refused += 1
        except Exception as error:
            ours = [one for one in traceback.extract_tb(error.__traceback__) if "src/etude" in one.filename]
            where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
            kind = f"{type(error).__name__} at {where}: {str(error)[:80]!r}"
            kind = kind.split(":", 2)[0] + ":" + kind.split(":", 2)[1]
            result.bugs[kind] += 1
            result.example.setdefault(kind, f"number {number}: {str(error)[:160]}")
    return result


def accepts_its_sample(reader: Reader, folder: Path) -> str | None:
    """Why a reader refuses the undamaged file, or None."""
    for name, text in reader.beside:
        (folder / name).write_text(text)
    _pictures(folder)
    file = folder / f"input{reader.suffix}"
    file.write_bytes(reader.sample)
    try:
        reader.read(file)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return None


def _pictures(folder: Path) -> None:
    """A picture and a recording that tables name."""
    from tests.reliability.readers import png, wav

    (folder / "input.png").write_bytes(png())
    (folder / "input.wav").write_bytes(wav())
