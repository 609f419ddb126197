"""`etude demo`: every ready method once on embedded inputs, and the page that shows it."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.catalogue import CARDS, Card, card
from etude.errors import EtudeError
from etude.render import Code, Demo, Section, Text, console, save_page, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class DemoResult:
    """How the demos went.

    Args:
        methods: Method to `{"headline", "seconds"}`.
        page: The page that shows them.
    """

    methods: dict[str, dict[str, str | float]]
    page: str

    def __rich__(self) -> RenderableType:
        """One line per method, and where the page is."""
        from rich.console import Group

        rows = [(name, m["headline"], m["seconds"]) for name, m in self.methods.items()]
        return Group(
            table(("method", "what happened", "seconds"), rows), show(Text(f"The page: {self.page}"))
        )


def demo(*names: str, out: Path = Path("runs/demo")) -> DemoResult:
    """Run every ready method once on embedded inputs, and write a page of what went in and what came out.

    Args:
        names: Methods to show; all by default.
        out: Folder for the page (`index.html`) and for what the demos write.

    Raises:
        EtudeError: There is no such method, or a demo failed (the others are shown).
    """
    cards = [card(name) for name in names] or list(CARDS.values())
    done: dict[str, dict[str, str | float]] = {}
    sections: list[Section] = []
    crashed: list[str] = []
    for chosen in cards:
        console().print(f"{chosen.name}: {chosen.purpose}")
        started = time.monotonic()
        try:
            shown: Demo = importlib.import_module(f"{chosen.package}.demo").demo(out / chosen.name)
        except Exception as error:  # one broken demo must not hide the others
            crashed.append(f"{chosen.name}: {type(error).__name__}: {error}")
            sections.append(Section(chosen.name, [Text("This demo failed:"), Code(crashed[-1])], tag="fails"))
            continue
        seconds = round(time.monotonic() - started, 1)
        done[chosen.name] = {"headline": shown.headline, "seconds": seconds}
        sections += _sections(chosen, shown, seconds)
    page = save_page(
        out / "index.html",
        "etude: every method, once",
        sections,
        lead="Real models and real inputs that are on this machine; nothing is fetched to show this page.",
    )
    if crashed:
        raise EtudeError("; ".join(crashed), f"The other demos are shown in {page}.")
    return DemoResult(done, str(page))


def _sections(chosen: Card, shown: Demo, seconds: float) -> list[Section]:
    return [
        Section(chosen.name, [Text(f"{chosen.purpose}."), Text(shown.headline)], tag=f"{seconds:.0f} s"),
        Section("What went in", shown.went_in, level=3),
        Section("What came out", shown.came_out, level=3),
        Section("What it means", [Text(shown.meaning)], level=3),
    ]
