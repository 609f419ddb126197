"""What a card says of a method."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Card:
    """What a person sees of a method before using it.

    Args:
        name: Its name on the command line: the package's name with hyphens.
        purpose: What it is for, in one line.
        paper: Title of the paper.
        arxiv: Its arXiv number.
        verbs: Verb to its one-line summary; each is a public function (hyphens for underscores).
        claim: The paper's claim, made testable, in one sentence.
        data: What its claim needs and where to get it.
        figures: The paper's figures: a header row, then rows.
        figures_note: How to read them.
    """

    name: str
    purpose: str
    paper: str
    arxiv: str
    verbs: Mapping[str, str]
    claim: str
    data: str
    figures: tuple[tuple[str, ...], ...] = ()
    figures_note: str = ""

    @property
    def package(self) -> str:
        """Import path of the method."""
        return f"etude.methods.{self.name.replace('-', '_')}"

    @property
    def recorded(self) -> dict[str, Any] | None:
        """The recorded evidence of the claim (`docs/results/NAME.json`), or None when there is none."""
        etude = Path(__file__).resolve().parents[1]
        for folder in (etude / "recorded", etude.parents[1] / "docs" / "results"):
            path = folder / f"{self.name}.json"
            if path.exists():
                found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return found
        return None
