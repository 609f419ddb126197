"""Terminal output: results on stdout, progress and notices on stderr. Text from data is never markup."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from etude.render.blocks import Block, Code, Shaded, TableBlock, Text
from etude.runs.launcher import leads

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

_LEAST_TEXT = 16  # characters of a text column that are kept on one line
_FILE_WIDTH = 120  # columns when output goes to a file or a pipe
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@cache
def console(stderr: bool = True) -> Console:
    """The shared console: stderr for progress and notices (default), stdout for results.

    Of several processes that run the same command, the first one speaks.
    """
    from rich.console import Console

    drawn = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=False, quiet=not leads())
    if not drawn.is_terminal and "COLUMNS" not in os.environ:
        drawn.width = _FILE_WIDTH
    return drawn


def plain(text: str) -> str:
    """Text without control characters, so that data cannot move the cursor or change colors."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def cell(value: Any) -> str:
    """One table cell as text: floats with four significant digits, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def is_numeric(column: Sequence[Any]) -> bool:
    """Whether a column holds numbers (and gaps) alone, to be right-aligned."""
    values = [value for value in column if value is not None]
    return bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "") -> Table:
    """A rich table; numeric columns are right-aligned.

    Args:
        columns: Header of each column.
        rows: Cells, one sequence per row.
        title: Printed above.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text as RichText

    drawn = Table(
        box=box.SIMPLE_HEAD, title=RichText(title) if title else None, title_justify="left", pad_edge=False
    )
    for index, name in enumerate(columns):
        numeric = is_numeric([row[index] for row in rows])
        longest = max((len(cell(row[index])) for row in rows), default=0)
        drawn.add_column(
            RichText(name),
            justify="right" if numeric else "left",
            min_width=longest if numeric else min(longest, _LEAST_TEXT),
            overflow="fold",
        )
    for row in rows:
        drawn.add_row(*(RichText(plain(cell(value))) for value in row))
    return drawn


def show(block: Block) -> RenderableType:
    """A block as a rich renderable; pictures, figures and sound are named, not drawn."""
    from rich.padding import Padding
    from rich.text import Text as RichText

    if isinstance(block, Text):
        return RichText(plain(block.text))
    if isinstance(block, Code):
        return Padding(RichText(plain(block.text)), (0, 0, 0, 2))
    if isinstance(block, TableBlock):
        return table(block.columns, block.rows, title=block.caption)
    if isinstance(block, Shaded):
        drawn = RichText(f"{plain(block.caption)}\n" if block.caption else "", style="dim")
        for text, strength in block.pieces:
            drawn.append(plain(text), style=_shaded_style(shade(strength)))
        return drawn
    return RichText(f"[{plain(getattr(block, 'alt', '') or block.caption)}]", style="dim")


def shade(strength: float) -> float:
    """A strength as a number between 0 and 1; what is not a number counts as 0."""
    return min(max(strength, 0.0), 1.0) if strength == strength else 0.0


def _shaded_style(strength: float) -> str:
    """Black on white to orange: the stronger, the more of the color."""
    red, green, blue = (round(255 + (c - 255) * strength) for c in (0xD5, 0x5E, 0x00))
    return f"rgb(0,0,0) on rgb({red},{green},{blue}) not dim"
