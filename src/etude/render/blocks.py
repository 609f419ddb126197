"""What a page is made of. Blocks hold content, never markup; `page` and `terminal` draw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Code:
    """Text shown as it is, in a fixed-width face: a prompt, an answer, a command."""

    text: str


@dataclass(frozen=True)
class TableBlock:
    """A table. Numbers are drawn right-aligned; floats with four significant digits.

    Args:
        columns: Header of each column.
        rows: Cells, one sequence per row, as long as `columns`.
        caption: What the table shows, in one line.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A matplotlib figure, drawn as SVG.

    Args:
        figure: The `matplotlib.figure.Figure`.
        alt: What it shows, for those who cannot see it.
        caption: Printed below.
    """

    figure: Any
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG or JPEG picture, by its bytes or its path."""

    image: bytes | Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Audio:
    """A WAV, FLAC, MP3 or OGG file to listen to."""

    path: Path
    caption: str = ""


@dataclass(frozen=True)
class Shaded:
    """Running text whose pieces are shaded by a number, e.g. the tokens of a sentence.

    Args:
        pieces: `(text, strength)` in reading order; a strength of 1 is the darkest, 0 is none.
        caption: What the shading means, in one line.
        notes: What to say about each piece where there is room for it (a page shows it on hovering).
    """

    pieces: Sequence[tuple[str, float]]
    caption: str = ""
    notes: Sequence[str] = ()


Block: TypeAlias = Text | Code | TableBlock | Figure | Picture | Audio | Shaded


@dataclass(frozen=True)
class Demo:
    """One visible use of a method.

    Args:
        headline: What happened, in one sentence.
        went_in: The inputs, shown.
        came_out: The outputs, shown.
        meaning: What it means, in plain words.
    """

    headline: str
    went_in: Sequence[Block] = field(default_factory=list)
    came_out: Sequence[Block] = field(default_factory=list)
    meaning: str = ""
