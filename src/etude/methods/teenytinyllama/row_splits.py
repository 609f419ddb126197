"""Rows for fine-tuning, split so that no row is in two splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from etude.errors import EtudeError
from etude.runs import content_hash

Row = TypeVar("Row", bound=BaseModel)


def split_rows(
    data: Path,
    validation: Path | None,
    test: Path | None,
    read: Callable[[Path], list[Row]],
    val_fraction: float,
    seed: int,
    *,
    force: bool = False,
) -> dict[str, list[Row]]:
    """Training, validation and test rows, none of which is in two of them.

    A share of the data becomes validation by the hash of a row's content, so that equal rows stay together.

    Raises:
        EtudeError: A row of validation or test is among the training rows, or a split is empty.
    """
    train = read(data)
    held = {
        name: read(path) for name, path in (("validation", validation), ("test", test)) if path is not None
    }
    known = {_row_hash(row) for row in train}
    for name, rows in held.items():
        shared = sum(_row_hash(row) in known for row in rows)
        if shared and not force:
            raise EtudeError(
                f"{shared} of {len(rows)} {name} rows are among the training rows",
                "Take them out of one of the files, or give --force.",
            )
    if "validation" not in held:
        if not 0 < val_fraction < 1:
            raise EtudeError(
                f"val_fraction = {val_fraction}", "Give a share between 0 and 1, or --validation."
            )
        drawn = sorted(known, key=lambda key: content_hash([seed, key]))
        chosen = set(drawn[: max(1, round(val_fraction * len(drawn)))])
        held["validation"] = [row for row in train if _row_hash(row) in chosen]
        train = [row for row in train if _row_hash(row) not in chosen]
    splits = {"train": train, **held}
    for name, rows in splits.items():
        if not rows:
            raise EtudeError(f"{data}: no row is left for {name}", "Give more rows, or --validation.")
    return splits


def _row_hash(row: Any) -> str:
    return content_hash(row.model_dump(mode="json"))
