"""`query` and `browse`: what a knowledge base holds, on the terminal and as a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.analogykb.browse_page import REPORT, write_browse_page
from etude.methods.analogykb.knowledge_base import AnalogyKB

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class QueryResult:
    """Pairs that are to each other as the given words are.

    Args:
        stem: The words.
        rows: `pair`, `relation`, `by`, `score` of each.
    """

    stem: tuple[str, str]
    rows: list[dict[str, Any]]

    def __rich__(self) -> RenderableType:
        """One line for each."""
        from etude.render import TableBlock, show

        lines = [
            (f"{r['pair'][0]} is to {r['pair'][1]}", r["relation"], r["by"], r["score"]) for r in self.rows
        ]
        columns = ("as", "by the relation", "stem's relation", "smaller degree")
        return show(TableBlock(columns, lines, f"{self.stem[0]} is to {self.stem[1]}"))


@dataclass(frozen=True)
class BrowseResult:
    """The page that was written."""

    page: str

    def __rich__(self) -> RenderableType:
        """Where it is."""
        from etude.render import Text, show

        return show(Text(f"The page: {self.page}"))


@verb
def query(kb: Path, a: str, b: str, *, k: int = 5) -> QueryResult:
    """Find pairs that are to each other as A is to B, by the same relation and by accepted analogous ones.

    Args:
        kb: A knowledge base (what mine wrote).
        a: First word.
        b: Second word.
        k: Pairs of each relation, the best-known first.

    Raises:
        EtudeError: The words are not there, or nothing joins them; the hint names near ones.
    """
    if k < 1:
        raise EtudeError(f"--k {k} shows nothing", "Give 1 or more.")
    return QueryResult((a, b), AnalogyKB(kb).query(a, b, k))


@verb
def browse(
    kb: Path, *, out: Path | None = None, relations: int = 100, pairs: int = 12, seed: int = 0
) -> BrowseResult:
    """Write the HTML page of a knowledge base: relations, pairs, random analogies, analogous relations.

    Args:
        kb: A knowledge base (what mine wrote).
        out: The page; KB/report.html by default.
        relations: Relations shown in full, the largest first.
        pairs: Pairs and analogies of each.
        seed: Of the analogies.

    Raises:
        EtudeError: The folder is not a knowledge base.
    """
    return BrowseResult(
        str(write_browse_page(kb, out or kb / REPORT, most=relations, pairs=pairs, seed=seed))
    )
