"""A cell: everything needed to rebuild one prompt and to score its answer, except the haystack itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.counting_stars.grid import Boundary, CountMode, Placement, Unit
from etude.methods.counting_stars.haystacks import Haystack, load_haystack
from etude.methods.counting_stars.official import official_text
from etude.methods.counting_stars.templates import Lang, Task, known_versions, question, star_sentence


class Cell(BaseModel):
    """One prompt of the grid, without its text.

    Positions count from the beginning of the context, in the cell's unit: tokens, or for `unit="official"`
    words (English) or characters (Chinese). Offsets and cuts count characters of the haystack.

    Attributes:
        length: The length asked for.
        length_tokens: Tokens of the context, exactly (for `unit="official"`: the nominal length).
        prompt_tokens: Tokens of context and question, without a chat template; None for `unit="official"`.
        context_units: Length of the context in the cell's unit.
        positions: Where each star sentence begins.
        widths: How long each star sentence is.
        cuts: Where each star stands in the haystack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    task: Task
    lang: Lang
    length: int
    length_tokens: int
    prompt_tokens: int | None
    context_units: int
    unit: Unit
    stars: int
    seed: int
    placement: Placement
    boundary: Boundary
    count_mode: CountMode
    count_range: tuple[int, int]
    haystack: str
    haystack_sha256: str
    haystack_repeats: int
    haystack_offset: int
    haystack_end: int
    cuts: list[int]
    positions: list[int]
    widths: list[int]
    counts: list[int]
    wrong: list[int] | None
    tokenizer: str | None
    prompt_sha256: str
    template_version: str

    @model_validator(mode="after")
    def _one_entry_a_star(self) -> Cell:
        lists = (
            self.cuts,
            self.positions,
            self.widths,
            self.counts,
            self.counts if self.wrong is None else self.wrong,
        )
        if any(len(entries) != self.stars for entries in lists):
            raise ValueError(
                f"cuts, positions, widths, counts and wrong must have {self.stars} entries, one a star"
            )
        if (self.wrong is None) != (self.task == "search"):
            raise ValueError("wrong must be null for search and a list for reason")
        return self

    @property
    def depths(self) -> NDArray[np.float64]:
        """Depth of each star's middle, 0 at the beginning of the context and 1 at its end, (stars,)."""
        middles = np.array(self.positions) + np.array(self.widths) / 2
        return np.minimum(middles / self.context_units, 1.0)

    @property
    def least_output(self) -> int:
        """Tokens an answer may need: eight for each star."""
        return 8 * self.stars

    def sentences(self) -> list[str]:
        """The star sentences, in order."""
        wrong: Sequence[int | None] = self.wrong or [None] * self.stars
        return [
            star_sentence(self.task, self.lang, count, other, self.template_version)
            for count, other in zip(self.counts, wrong, strict=True)
        ]


@dataclass(frozen=True)
class Prompt:
    """A rebuilt prompt: the context, and the question with the four newlines before it."""

    context: str
    question: str

    @property
    def text(self) -> str:
        """What the model reads."""
        return self.context + self.question


def splice(
    text: str, start: int, cuts: Sequence[int], end: int, sentences: Sequence[str], *, drop_space: bool
) -> str:
    """The haystack's characters `[start, end)` with sentence i at `cuts[i]`.

    Args:
        text: The haystack.
        start: First character.
        cuts: Where the sentences go, ascending, within `[start, end]`.
        end: One past the last character.
        sentences: What to insert.
        drop_space: Whether the space at a cut goes away (the published program splits at spaces).
    """
    pieces = []
    for cut, sentence in zip(cuts, sentences, strict=True):
        pieces += [text[start:cut], sentence]
        start = cut + 1 if drop_space and cut < end else cut
    return "".join([*pieces, text[start:end]])


def rebuild(cell: Cell, haystack: Haystack) -> Prompt:
    """The cell's prompt, checked by its hash.

    Args:
        cell: What to rebuild.
        haystack: The source text, not repeated.

    Raises:
        EtudeError: The haystack is not the one the cell was built from, or the prompt comes out differently.
    """
    if cell.template_version not in known_versions():
        raise EtudeError(
            f"cell {cell.id}: wording {cell.template_version!r} is unknown here",
            "Use the release of etude that built it, or build the cells again.",
        )
    if haystack.sha256 != cell.haystack_sha256:
        raise EtudeError(
            f"haystack {haystack.name!r} has changed: cell {cell.id} was built from another text "
            f"(SHA-256 {cell.haystack_sha256[:12]}… then, {haystack.sha256[:12]}… now)",
            "Restore the text, name it with --haystack, or build the cells again.",
        )
    text = haystack.text if cell.haystack_repeats == 1 else haystack.repeated(cell.haystack_repeats).text
    published = cell.unit == "official"
    if published:
        text = official_text(text, cell.lang)
    drop_space = published and cell.lang == "en"
    context = splice(
        text, cell.haystack_offset, cell.cuts, cell.haystack_end, cell.sentences(), drop_space=drop_space
    )
    prompt = Prompt(context, question(cell.task, cell.lang, cell.template_version))
    if sha256(prompt.text) != cell.prompt_sha256:
        raise EtudeError(
            f"cell {cell.id}: the prompt does not have its recorded SHA-256 {cell.prompt_sha256[:12]}…",
            "The cell was edited or built by another version; build the cells again.",
        )
    return prompt


class Haystacks:
    """The haystacks of a set of cells, each read once.

    Args:
        override: A text to use for every cell, when it has moved since the cells were built.
    """

    def __init__(self, override: Path | str | None = None) -> None:
        self.override = override
        self._loaded: dict[str, Haystack] = {}

    def of(self, cell: Cell) -> Haystack:
        """The haystack a cell names."""
        name = str(self.override or cell.haystack)
        if name not in self._loaded:
            self._loaded[name] = load_haystack(name)
        return self._loaded[name]

    def prompt(self, cell: Cell) -> Prompt:
        """The cell's prompt."""
        return rebuild(cell, self.of(cell))


def read_cells(path: Path) -> list[Cell]:
    """The cells of a file written by `build`.

    Raises:
        EtudeError: The file is missing, malformed, empty, or names a cell twice.
    """
    cells = list(read_records(path, Cell))
    if not cells:
        raise EtudeError(f"{path}: no cells", "Build them with etude counting-stars build.")
    seen: set[str] = set()
    for cell in cells:
        if cell.id in seen:
            raise EtudeError(f"{path}: cell {cell.id} stands there twice", "Build the cells again.")
        seen.add(cell.id)
    return cells


def sha256(text: str) -> str:
    """Hex digest of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()
