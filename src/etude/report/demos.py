"""`etude demo`: every method once on embedded inputs, and the page that shows it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from etude.catalogue import CARDS, Card, card
from etude.errors import EtudeError
from etude.render import Code, Demo, Section, Text, save_page, show, table
from etude.report.side_by_side import Job, affordable_workers, side_by_side

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


def demo(*names: str, workers: int | None = None, out: Path = Path("runs/demo")) -> DemoResult:
    """Run every method once on embedded inputs, and write a page of what went in and what came out.

    Args:
        names: Methods to show; all by default.
        workers: Demos at once; by default as many as cores and memory allow.
        out: Folder for the page (`index.html`) and for what the demos write.

    Raises:
        EtudeError: There is no such method, or a demo failed (the others are shown).
    """
    cards = [card(name) for name in names] or list(CARDS.values())
    jobs = [
        Job(chosen.name, partial(_show, chosen.package, out.resolve() / chosen.name), attrgetter("headline"))
        for chosen in cards
    ]
    side_by_side(jobs, workers=workers or affordable_workers(len(jobs)), logs=out / "logs")
    done: dict[str, dict[str, str | float]] = {}
    sections: list[Section] = []
    crashed: list[str] = []
    for chosen, job in zip(cards, jobs, strict=True):
        if job.error is not None:  # one broken demo must not hide the others
            crashed.append(f"{chosen.name}: {type(job.error).__name__}: {job.error}")
            sections.append(Section(chosen.name, [Text("This demo failed:"), Code(crashed[-1])], tag="fails"))
            continue
        done[chosen.name] = {"headline": job.result.headline, "seconds": job.seconds}
        sections += _sections(chosen, job.result, job.seconds)
    page = save_page(
        out / "index.html",
        "etude: every method, once",
        sections,
        lead="Published methods, each run once on this machine just now: what went in, what came out, and "
        "what it means. Models and inputs are small and real; nothing is fetched to show this page.",
    )
    if crashed:
        raise EtudeError("; ".join(crashed), f"The other demos are shown in {page}.")
    return DemoResult(done, str(page))


def _show(package: str, out: Path) -> Demo:
    shown: Demo = importlib.import_module(f"{package}.demo").demo(out)
    return shown


def _sections(chosen: Card, shown: Demo, seconds: float) -> list[Section]:
    return [
        Section(
            chosen.name,
            [Text(f"{chosen.purpose}."), Text(shown.headline)],
            tag=f"{seconds:.0f} s",
            summary=chosen.purpose,
        ),
        Section("What went in", shown.went_in, level=3),
        Section("What came out", shown.came_out, level=3),
        Section("What it means", [Text(shown.meaning), Text(_next_steps(chosen))], level=3),
    ]


def _next_steps(chosen: Card) -> str:
    return (
        f"On your own data: `etude {chosen.name} --help` (verbs: {', '.join(chosen.verbs)}). "
        f"The paper, its claim and what was measured: `etude show {chosen.name}`."
    )
