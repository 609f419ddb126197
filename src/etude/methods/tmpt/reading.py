"""What a user gives as data: a table, or a folder laid out as MMSD; with pictures and targets beside it."""

from __future__ import annotations

from pathlib import Path

from etude.errors import EtudeError
from etude.methods.tmpt.hydration import mmsd_files
from etude.methods.tmpt.posts import StanceDataset, read_posts
from etude.methods.tmpt.targets import read_targets


def read_data(
    data: Path,
    *,
    images: Path | None = None,
    targets: Path | None = None,
    group_by: str | None = None,
    labeled: bool = True,
    allow_missing: bool = False,
) -> StanceDataset:
    """Posts of a table or of an MMSD folder.

    Args:
        data: A table, a hub id, or a folder `<dataset>/<in-target|zero-shot>[/<TARGET>]` of MMSD.
        images: Folder of pictures.
        targets: `targets.toml`.
        group_by: Column whose equal values stay in one split.
        labeled: Whether every row needs a label.
        allow_missing: Leave out rows without a picture.

    Raises:
        EtudeError: Bad rows, an MMSD folder without texts and pictures, or one with both settings.
    """
    known = read_targets(targets) if targets else None
    files = mmsd_files(data) if data.is_dir() and not (data / "dataset_info.json").exists() else {}
    if data.is_dir() and not files and not (data / "dataset_info.json").exists():
        raise EtudeError(
            f"{data}: neither a saved data set nor an MMSD folder with train.csv, valid.csv, test.csv",
            "Give a table, or the folder of one MMSD target.",
        )
    if (
        len({part for path in files for part in path.relative_to(data).parts} & {"in-target", "zero-shot"})
        > 1
    ):
        raise EtudeError(
            f"{data}: holds MMSD's in-target and zero-shot files, which split the same posts differently",
            f"Give one of them, e.g. {next(iter(files)).parent.parent}.",
        )
    return read_posts(
        data,
        images=images,
        targets=known,
        group_by=group_by,
        labeled=labeled,
        allow_missing=allow_missing,
        splits=files or None,
    )
