"""Targets: what the prompt calls them and which labels their posts may have."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etude.errors import EtudeError

FAVOR = ("favor", "against", "neutral")
SUPPORT = ("support", "oppose", "neutral")
MERGER = ("support", "refute", "comment", "unrelated")


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        name: As the data writes it.
        phrase: What the prompt says for it.
        labels: In a fixed order; empty when the data decide.
        zero_shot: Whether it may be held out.
    """

    name: str
    phrase: str
    labels: tuple[str, ...] = ()
    zero_shot: bool = True


def _merger(name: str, one: str, other: str, *, zero_shot: bool = True) -> Target:
    return Target(name, f"merger and acquisition between {one} and {other}", MERGER, zero_shot)


_CHLOROQUINE = (
    'The use of "Chloroquine" and "Hydroxychloroquine" for the treatment or prevention from the coronavirus.'
)
MMSD = (
    Target("Donald Trump", "Donald Trump", FAVOR),
    Target("Joe Biden", "Joe Biden", FAVOR),
    Target(_CHLOROQUINE, "the use of chloroquine and hydroxychloroquine against the coronavirus", FAVOR),
    _merger("Merger and acquisition between CVS Health and Aetna.", "CVS Health", "Aetna"),
    _merger("Merger and acquisition between Cigna and Express Scripts.", "Cigna", "Express Scripts"),
    _merger("Merger and acquisition between Anthem and Cigna.", "Anthem", "Cigna"),
    _merger("Merger and acquisition between Aetna and Humana.", "Aetna", "Humana"),
    _merger("Merger and acquisition between Disney and 21st Century Fox.", "Disney", "21st Century Fox",
            zero_shot=False),
    Target("Russia", "Russia", SUPPORT),
    Target("Ukraine", "Ukraine", SUPPORT),
    Target("Mainland of China", "mainland China", SUPPORT),
    Target("Taiwan of China", "Taiwan", SUPPORT),
)  # fmt: skip
"""The twelve targets of MMSD, as its files write them."""

FOLDERS = {
    "DT": "Donald Trump",
    "JB": "Joe Biden",
    "CQ": _CHLOROQUINE,
    "CSV_AET": "Merger and acquisition between CVS Health and Aetna.",
    "CVS_AET": "Merger and acquisition between CVS Health and Aetna.",
    "CI_ESRX": "Merger and acquisition between Cigna and Express Scripts.",
    "ANTM_CI": "Merger and acquisition between Anthem and Cigna.",
    "AET_HUM": "Merger and acquisition between Aetna and Humana.",
    "FOXA_DIS": "Merger and acquisition between Disney and 21st Century Fox.",
    "DIS_FOXA": "Merger and acquisition between Disney and 21st Century Fox.",
    "RUS": "Russia",
    "UKR": "Ukraine",
    "MOC": "Mainland of China",
    "TOC": "Taiwan of China",
}
"""Folder names of MMSD (its `CSV_AET` and `FOXA_DIS` are the paper's CVS_AET and DIS_FOXA) to targets."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    phrase: str = Field(min_length=1)
    labels: list[str] = Field(default_factory=list)
    zero_shot: bool = True


def read_targets(path: Path) -> dict[str, Target]:
    """Read a `targets.toml`: one table for each target, with `phrase` and, if wanted, `labels`.

    Raises:
        EtudeError: The file is missing, is not TOML, or a table is wrong.
    """
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise EtudeError(f"{path}: no such file", "Check --targets.") from error
    except (ValueError, RecursionError) as error:  # bad TOML or UTF-8, an endless number, endless nesting
        raise EtudeError(f"{path}: not valid TOML ({error})", "Mend the file.") from error
    targets = {}
    for name, table in found.items():
        try:
            entry = _Entry.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (name, *first["loc"])))
            raise EtudeError(
                f"{path}: {where}: {first['msg']}",
                'Write ["the target"], phrase = "what the prompt says", labels = ["favor", "against"].',
            ) from error
        labels = tuple(label.strip().lower() for label in entry.labels)
        targets[name] = Target(name, entry.phrase, labels, entry.zero_shot)
    return targets


def target_of(name: str, given: Mapping[str, Target] | None = None) -> Target:
    """The target of a name: from the user's file, else one of MMSD's, else the name itself as the phrase.

    Raises:
        EtudeError: There is a file, and the target is not in it.
    """
    if given is not None:
        if name not in given:
            raise EtudeError(
                f"target {name!r} has no prompt phrase in the targets file",
                f'Add ["{name}"] with phrase = "..."; it has: {", ".join(map(repr, given)) or "nothing"}.',
            )
        return given[name]
    known = {target.name: target for target in MMSD}
    name_or_folder = FOLDERS.get(name, name)
    return known[name_or_folder] if name_or_folder in known else Target(name, name)
