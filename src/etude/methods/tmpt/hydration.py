"""MMSD as its authors publish it: ids, targets and labels; texts and pictures are fetched by the user.

Folders `<dataset>/<in-target|zero-shot>/<TARGET>/{train,valid,test}.csv` with `tweet_id, image_numero,
stance_target, stance_label`, and after hydration `tweet_text, tweet_image` (and `gpt4v_cot_response`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.data.records import read_rows, write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.tmpt.pictures import picture_facts
from etude.methods.tmpt.posts import SplitName
from etude.render import table

_NAMES: dict[str, SplitName] = {"train.csv": "train", "valid.csv": "valid", "test.csv": "test"}
FATES = ("complete", "no text", "no picture named", "picture file missing", "picture unreadable")
AVATAR_LIKE, TINY_PICTURE = "small and square: a profile picture?", "tiny"


@dataclass(frozen=True)
class HydrateResult:
    """What of MMSD is there.

    Attributes:
        rows: Of all files.
        complete: Rows with text and a readable picture.
        files: File to counts of each fate.
        avatars: Complete rows whose picture is small and square.
        tiny: Complete rows whose picture is tiny.
        out: Where the rows to look at were listed.
    """

    rows: int
    complete: int
    files: dict[str, dict[str, int]]
    avatars: int
    tiny: int
    out: str | None = None

    def __rich__(self) -> Any:
        """A table and the counts."""
        from rich.console import Group

        rows = [[name, *(counts.get(fate, 0) for fate in FATES)] for name, counts in self.files.items()]
        lines = [
            f"{self.complete:,} of {self.rows:,} rows are complete.",
            f"Of these, {self.avatars} pictures are small and square (profile pictures?), {self.tiny} "
            "are tiny.",
        ]
        if self.out:
            lines.append(f"Rows to look at are listed in {self.out}.")
        return Group(table(["file", *FATES], rows), *lines)


@verb
def hydrate_check(data: Path, *, images: Path | None = None, out: Path | None = None) -> HydrateResult:
    """Tell which rows of MMSD lack their text or picture.

    Args:
        data: A folder of MMSD: the whole, one data set, one setting or one target.
        images: Folder of the pictures; by default each file's own folder.
        out: List what to look at in this file (.csv, .jsonl, .parquet): file, line, id, problem; rows that
            are incomplete, and pictures that are tiny or look like a profile's.

    Returns:
        Counts for each file.

    Raises:
        EtudeError: There is no train.csv, valid.csv or test.csv in the folder or below it.
    """
    files = mmsd_files(data)
    if not files:
        raise EtudeError(
            f"{data}: no train.csv, valid.csv or test.csv in it or below it",
            "Give the folder `dataset/Multi-Modal-Stance-Detection` of the official repository, or a "
            "part of it.",
        )
    counts: dict[str, dict[str, int]] = {}
    to_see: list[dict[str, Any]] = []
    for path in files:
        found = counts.setdefault(str(path.relative_to(data)), {})
        for line, row in read_rows(path):
            problems = _problems(row, images or path.parent)
            fate = next((p for p in problems if p in FATES), FATES[0])
            found[fate] = found.get(fate, 0) + 1
            where = {"file": str(path), "line": line, "tweet_id": str(row.get("tweet_id", ""))}
            to_see += [{**where, "problem": problem} for problem in problems]
    if out is not None:
        write_records(out, to_see)
    return HydrateResult(
        rows=sum(sum(c.values()) for c in counts.values()),
        complete=sum(c.get(FATES[0], 0) for c in counts.values()),
        files=counts,
        avatars=sum(found["problem"] == AVATAR_LIKE for found in to_see),
        tiny=sum(found["problem"] == TINY_PICTURE for found in to_see),
        out=None if out is None else str(out),
    )


def mmsd_files(folder: Path) -> dict[Path, SplitName]:
    """The split files of a folder and the folders below it, to their splits."""
    return dict(_split_files(folder))


def _split_files(folder: Path) -> Iterator[tuple[Path, SplitName]]:
    for path in sorted(folder.rglob("*.csv")):
        if path.name in _NAMES:
            yield path, _NAMES[path.name]


def _problems(row: dict[str, Any], folder: Path) -> list[str]:
    """What is the matter with a row: what it lacks, or what is odd about its picture."""
    if not str(row.get("tweet_text") or "").strip():
        return ["no text"]
    named = str(row.get("tweet_image") or "").strip()
    if not named:
        return ["no picture named"]
    try:
        path = (folder / named).resolve()
        there = path.is_relative_to(folder.resolve()) and path.is_file()
    except (OSError, ValueError):  # no file name: too long, or with a null character
        there = False
    if not there:
        return ["picture file missing"]
    try:
        facts = picture_facts(path, str(path))
    except EtudeError:
        return ["picture unreadable"]
    return [what for what, so in ((AVATAR_LIKE, facts.avatar), (TINY_PICTURE, facts.tiny)) if so]
