"""COCO: tweets labelled 1 (unrelated), 2 (related) or 3 (conspiracy) for each of twelve categories.

Langguth et al. 2023. Texts are under the platform's terms, so the user brings the file: one row a tweet with
`id`, `text` and twelve category columns, or one row for each tweet and category (`id,text,category,label`).
The order of the columns is the file's own and is checked by name, never assumed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.data import read_rows
from etude.errors import EtudeError
from etude.methods.conspemollm.tasks import bare, task_named

_IDS = ("id", "tweetid", "tweetidstr")
_TEXTS = ("text", "tweet", "tweettext", "fulltext")
_SAME = {"behaviorcontrol": "behaviourcontrol", "behaviourandmindcontrol": "behaviourcontrol",
         "behaviorandmindcontrol": "behaviourcontrol", "intentionalpandemic": "intentionalpandemic",
         "harmfulradiationinfluence": "harmfulradiation", "depopulationconspiracy": "depopulation",
         "populationreduction": "depopulation", "populationreductioncontrol": "depopulation",
         "antivaccine": "antivaccination", "otherconspiracy": "otherconspiracytheory",
         "otherconspiracies": "otherconspiracytheory"}  # fmt: skip
CONSPIRACY = 3


@dataclass(frozen=True)
class Tweet:
    """A tweet and its twelve labels.

    Args:
        id: The tweet's id.
        text: Its text.
        levels: 1, 2 or 3 for each category, in the order of the theory-type task's classes, (12,).
    """

    id: str
    text: str
    levels: tuple[int, ...]

    @property
    def intention(self) -> int:
        """Class of the whole tweet: the maximum over categories (0 unrelated, 1 related, 2 conspiracy)."""
        return max(self.levels) - 1

    @property
    def theories(self) -> tuple[int, ...]:
        """The categories the tweet supports."""
        return tuple(at for at, level in enumerate(self.levels) if level == CONSPIRACY)


def category_names() -> list[str]:
    """The twelve categories, as compared: lower case, letters only."""
    return [_key(bare(label)) for label in task_named("theory-type").classes]


def read_tweets(path: Path) -> list[Tweet]:
    """Read COCO, wide or long.

    Raises:
        EtudeError: A category is missing or unknown, a label is not 1, 2 or 3, an id stands twice, or a long
            file lacks some categories of a tweet.
    """
    rows = [(line, {_key(name): value for name, value in row.items()}, row) for line, row in read_rows(path)]
    if not rows:
        raise EtudeError(f"{path}: holds no tweet", "Give COCO as CSV: id, text and twelve category columns.")
    return _read_long(path, rows) if "category" in rows[0][1] else _read_wide(path, rows)


def _read_wide(path: Path, rows: list[Any]) -> list[Tweet]:
    columns = {_SAME.get(key, key): key for key in rows[0][1]}
    lacking = [name for name in category_names() if name not in columns]
    if lacking:
        raise EtudeError(
            f"{path}: no column for {', '.join(lacking)}; it has {', '.join(map(str, rows[0][2]))}"[:500],
            f"Name the twelve columns {', '.join(bare(c) for c in task_named('theory-type').classes)}.",
        )
    tweets: dict[str, Tweet] = {}
    for line, row, _ in rows:
        name, text = _identity(path, line, row)
        levels = tuple(_level(path, line, column, row.get(columns[column])) for column in category_names())
        if name in tweets:
            raise EtudeError(f"{path}:{line}: tweet {name!r} is there twice", "Ids must be unique.")
        tweets[name] = Tweet(name, text, levels)
    return list(tweets.values())


def _read_long(path: Path, rows: list[Any]) -> list[Tweet]:
    names = category_names()
    texts: dict[str, str] = {}
    levels: dict[str, dict[str, int]] = {}
    for line, row, _ in rows:
        name, text = _identity(path, line, row)
        given = _key(str(row.get("category", "")))
        category = _SAME.get(given, given)
        if category not in names:
            raise EtudeError(
                f"{path}:{line}: category {row.get('category')!r} is unknown",
                f"It is one of {', '.join(names)}.",
            )
        if category in levels.setdefault(name, {}):
            raise EtudeError(
                f"{path}:{line}: tweet {name!r} has {category} twice", "One row for each tweet and category."
            )
        levels[name][category] = _level(path, line, "label", row.get("label"))
        texts.setdefault(name, text)
    for name, found in levels.items():
        if lacking := [category for category in names if category not in found]:
            raise EtudeError(
                f"{path}: tweet {name!r} has no row for {', '.join(lacking)}", "Each tweet needs all twelve."
            )
    return [Tweet(name, texts[name], tuple(found[c] for c in names)) for name, found in levels.items()]


def _identity(path: Path, line: int, row: Mapping[str, Any]) -> tuple[str, str]:
    name = next((str(row[key]) for key in _IDS if row.get(key) not in (None, "")), "")
    text = next((str(row[key]) for key in _TEXTS if row.get(key) not in (None, "")), "")
    if not name:
        raise EtudeError(f"{path}:{line}: the tweet has no id", "Give a column id.")
    return name, text


def _level(path: Path, line: int, column: str, cell: Any) -> int:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = 0.0
    if value not in (1.0, 2.0, 3.0):
        raise EtudeError(
            f"{path}:{line}: {column} is {cell!r}",
            "Each category is 1 (unrelated), 2 (related) or 3 (conspiracy).",
        )
    return int(value)


def _key(name: str) -> str:
    return re.sub(r"[^a-z]", "", str(name).casefold())
