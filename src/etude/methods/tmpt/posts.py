"""Posts: text, picture, target, label; from CSV, TSV, JSONL, Parquet, saved data sets or the hub."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from etude.data.records import read_rows
from etude.errors import EtudeError
from etude.methods.tmpt.targets import Target, target_of

SplitName: TypeAlias = Literal["train", "valid", "test"]
_SPLITS: dict[str, SplitName] = {
    "train": "train", "valid": "valid", "validation": "valid", "dev": "valid", "test": "test",
}  # fmt: skip
_MOST_ERRORS = 20


@dataclass(frozen=True)
class StanceExample:
    """One post about one target.

    Attributes:
        id: Names the row.
        text: May be empty.
        image: A file, or the bytes of one; None where there is none.
        target: Towards whom or what, as the data write it.
        label: The author's stance in lower case; None where unknown.
        split: Where the data put it, if they do.
        rationale: What a vision model said about it.
        group: Rows of one group (a post with several pictures, a video) never lie in two splits.
        where: File and line, for messages.
    """

    id: str
    text: str
    image: Path | bytes | None
    target: str
    label: str | None = None
    split: SplitName | None = None
    rationale: str | None = None
    group: str = ""
    where: str = ""

    @property
    def full_text(self) -> str:
        """The text, with its rationale where there is one (paper: TMPT+CoT)."""
        return f"Text: {self.text}. Rationale: {self.rationale}" if self.rationale else self.text


class _Row(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)
    id: str
    text: str | None = ""
    image: str | bytes | dict[str, Any] | None = None
    target: str
    label: str | None = None
    split: str | None = None
    rationale: str | None = None


@dataclass(frozen=True)
class StanceDataset:
    """Posts with what was noticed on reading them.

    Attributes:
        examples: In the order of the file.
        targets: Target to phrase and labels, in order of appearance.
        notices: Counts a reader should know.
    """

    examples: tuple[StanceExample, ...]
    targets: Mapping[str, Target] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @classmethod
    def from_csv(cls, path: Path | str, **options: Any) -> StanceDataset:
        """Read a CSV file; options as in `read_posts`."""
        return read_posts(path, **options)

    @classmethod
    def from_parquet(cls, path: Path | str, **options: Any) -> StanceDataset:
        """Read a Parquet file, pictures inside or beside it; options as in `read_posts`."""
        return read_posts(path, **options)

    @classmethod
    def from_hf(cls, name: str, **options: Any) -> StanceDataset:
        """Read a hub data set `org/name[:split]`; options as in `read_posts`."""
        return read_posts(name, **options)

    def only(self, keep: Iterable[StanceExample]) -> StanceDataset:
        """The same data set with other examples."""
        return replace(self, examples=tuple(keep))

    def labels(self, target: str | None = None) -> tuple[str, ...]:
        """The labels of one target, or of all in the data: the fixed list, else those found, sorted."""
        chosen = [t for name, t in self.targets.items() if target in (None, name)]
        fixed = tuple(dict.fromkeys(label for t in chosen for label in t.labels))
        found = {e.label for e in self.examples if e.label and target in (None, e.target)}
        return fixed if fixed and all(t.labels for t in chosen) else tuple(sorted({*fixed, *found}))


def read_posts(
    source: Path | str,
    *,
    images: Path | None = None,
    targets: Mapping[str, Target] | None = None,
    group_by: str | None = None,
    labeled: bool = True,
    allow_missing: bool = False,
    splits: Mapping[Path, SplitName] | None = None,
) -> StanceDataset:
    """Read posts.

    Args:
        source: A table with id, text, image, target, label and perhaps split, rationale. `image` is a path
            under `images`, or (Parquet, hub) the picture itself.
        images: Folder of the pictures; default: the folder of the table.
        targets: Phrases and labels; every target must then be in it.
        group_by: Column whose equal values must stay in one split, e.g. a post or a video.
        labeled: Whether every row needs a label.
        allow_missing: Leave out rows that name no picture, or one that is not there, instead of refusing.
        splits: For tables that lie in one file each: the files and their splits.

    Raises:
        EtudeError: Rows are bad: up to 20 are named by line and field.
    """
    examples: list[StanceExample] = []
    bad: list[str] = []
    left_out = 0
    whole: dict[Path, SplitName | None] = {Path(source): None}
    for path, split in (splits or whole).items():
        folder = images or (path.parent if path.exists() else Path())
        for line, row in read_rows(path if splits else source):
            where = f"{path}:{line}"
            try:
                made = _example(row, where, folder, split, group_by, labeled, allow_missing)
            except EtudeError as error:
                bad.append(error.problem)
                if len(bad) >= _MOST_ERRORS:
                    break
                continue
            if made.image is None:
                left_out += 1
                if not allow_missing:
                    bad.append(f"{where}: image: there is no picture")
                continue
            examples.append(made)
    if bad:
        unnamed = f"{left_out} rows name no picture. " if left_out else ""
        raise EtudeError(
            "\n".join(bad[:_MOST_ERRORS]),
            f"{unnamed}Mend these rows (id, text, image, target, label); --allow-missing leaves out rows "
            "without a picture.",
        )
    if not examples:
        raise EtudeError(f"{source}: no post in it", "Give rows of id, text, image, target, label.")
    known = {name: target_of(name, targets) for name in dict.fromkeys(e.target for e in examples)}
    _check_labels(examples, known)
    return StanceDataset(tuple(examples), known, tuple(_notices(examples, left_out)))


def label_numbers(examples: Sequence[StanceExample], labels: Sequence[str]) -> NDArray[np.int64]:
    """Label numbers of posts.

    Raises:
        EtudeError: A post has another label, or none.
    """
    for example in examples:
        if example.label not in labels:
            raise EtudeError(
                f"{example.where or example.id}: label: {example.label!r} is not one of {', '.join(labels)}",
                "Every post needs one of the model's labels.",
            )
    return np.array([labels.index(e.label or "") for e in examples], dtype=np.int64)


def image_key(image: Path | bytes) -> str:
    """What identifies a picture: the SHA-256 of its bytes."""
    content = image if isinstance(image, bytes) else image.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _example(
    row: Mapping[str, Any], where: str, folder: Path, split: SplitName | None, group_by: str | None,
    labeled: bool, allow_missing: bool,
) -> StanceExample:  # fmt: skip
    clean = {name.strip(): value for name, value in row.items()}
    try:
        checked = _Row.model_validate(_as_row(clean))
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join(map(str, first["loc"][:1])) or "row"
        raise EtudeError(f"{where}: {field_name}: {first['msg']}", "") from error
    label = (checked.label or "").strip().lower() or None
    if labeled and label is None:
        raise EtudeError(f"{where}: label: missing", "")
    if checked.split is not None and checked.split.strip().lower() not in _SPLITS:
        raise EtudeError(f"{where}: split: {checked.split!r} is not train, valid or test", "")
    if group_by is not None and clean.get(group_by) is None:
        raise EtudeError(f"{where}: {group_by}: missing, and --group-by names it", "")
    named = _SPLITS[checked.split.strip().lower()] if checked.split else None
    return StanceExample(
        id=checked.id,
        text=(checked.text or "").strip(),
        image=_image(checked.image, folder, where, allow_missing),
        target=checked.target.strip(),
        label=label,
        split=split or named,
        rationale=(checked.rationale or "").strip() or None,
        group=str(clean[group_by])
        if group_by
        else str(clean.get("post") or clean.get("tweet_id") or checked.id),
        where=where,
    )


def _as_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in our columns; one of MMSD (`tweet_id`, `stance_target` ...) is renamed."""
    if "stance_target" not in row:
        return dict(row)
    number = row.get("image_numero")
    return {
        "id": f"{row.get('tweet_id')}" + ("" if number in (None, "") else f"-{number}"),
        "text": row.get("tweet_text"),
        "image": row.get("tweet_image"),
        "target": row["stance_target"],
        "label": row.get("stance_label"),
        "split": row.get("split"),
        "rationale": row.get("gpt4v_cot_response") or row.get("rationale"),
    }


def _image(
    value: str | bytes | dict[str, Any] | None, folder: Path, where: str, allow_missing: bool
) -> Path | bytes | None:
    """The picture of a row; a path must stay within the folder."""
    if isinstance(value, dict):  # the form of `datasets`: bytes or a path
        value = value.get("bytes") or value.get("path")
    if not value:
        return None
    if isinstance(value, bytes):
        return value
    try:
        path, root = (folder / value.strip()).resolve(), folder.resolve()
        there = path.is_file()
    except (OSError, ValueError) as error:  # too long, or with a null character
        raise EtudeError(f"{where}: image: {value[:80]!r} is no file name", "") from error
    if not path.is_relative_to(root):
        raise EtudeError(f"{where}: image: {value!r} leads out of the folder {folder}", "")
    if not there:
        if allow_missing:
            return None
        raise EtudeError(f"{where}: image: there is no file {folder / value.strip()}", "")
    return path


def _check_labels(examples: Sequence[StanceExample], targets: Mapping[str, Target]) -> None:
    for example in examples:
        allowed = targets[example.target].labels
        if example.label is not None and allowed and example.label not in allowed:
            raise EtudeError(
                f"{example.where}: label: {example.label!r} is not one of {', '.join(allowed)}",
                f"Those are the labels of {example.target!r}; mend the row or the targets file.",
            )


def _notices(examples: Sequence[StanceExample], left_out: int) -> Iterator[str]:
    empty = sum(not e.text for e in examples)
    if empty:
        yield f"{empty} of {len(examples)} posts have no text"
    if left_out:
        yield f"{left_out} rows without a picture were left out"
    twice = [name for name, count in Counter(e.id for e in examples).items() if count > 1]
    if twice:
        yield f"{len(twice)} ids occur more than once, e.g. {twice[0]!r}"
