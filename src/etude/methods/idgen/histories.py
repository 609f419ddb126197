"""Histories: what each user chose, oldest first, from any of the layouts in use.

Reads `sequences.jsonl` {user_id, items, timestamps?}, interactions in CSV, TSV, Parquet or JSONL {user_id,
item_id, timestamp?}, IDGenRec's `user_sequence.txt` ("user item item …") and RecBole's `.inter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, field_validator, model_validator

from etude.data import read_frame, read_lines, read_records, read_rows
from etude.errors import EtudeError
from etude.methods.idgen.items import checked_id

if TYPE_CHECKING:
    import polars as pl

FEWEST = 3
"""Events that a user needs: one to learn from, one for validation, one for the test."""
SORTED_SHARE = 0.95
"""From this share of users with histories in the order of the item ids on, it is not the order of time."""
_NAMED = 20


class History(BaseModel):
    """One user's items, oldest first, each with its time where that is known."""

    user_id: str
    items: list[str]
    timestamps: list[float] | None = None

    @field_validator("user_id", mode="before")
    @classmethod
    def _user_as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @field_validator("items", mode="before")
    @classmethod
    def _items_as_text(cls, value: Any) -> Any:
        return (
            [str(one) if isinstance(one, int) else one for one in value] if isinstance(value, list) else value
        )

    @field_validator("items")
    @classmethod
    def _items_without_blanks(cls, value: list[str]) -> list[str]:
        return [checked_id(one) for one in value]

    @model_validator(mode="after")
    def _one_time_for_each(self) -> History:
        checked_id(self.user_id)
        if self.timestamps is not None and len(self.timestamps) != len(self.items):
            raise ValueError(f"{len(self.timestamps)} timestamps for {len(self.items)} items")
        return self


@dataclass(frozen=True)
class Histories:
    """The histories of a file, and what was mended while reading.

    Args:
        users: One per user, sorted by user id, each with at least `FEWEST` events.
        timed: Whether every event has a time.
        short: Users left out for having fewer events.
        duplicates: Events left out because user, item and time were the same.
        reordered: Users whose events were not in the order of their times, and now are.
    """

    users: tuple[History, ...]
    timed: bool
    short: int = 0
    duplicates: int = 0
    reordered: int = 0

    @property
    def items(self) -> set[str]:
        """The ids of all items that occur."""
        return {item for user in self.users for item in user.items}

    def only(self, items: Iterable[str]) -> Histories:
        """The histories without the events of other items; users who become too short are left out."""
        kept = set(items)
        users = []
        for user in self.users:
            places = [place for place, item in enumerate(user.items) if item in kept]
            times = None if user.timestamps is None else [user.timestamps[place] for place in places]
            cut = user.model_copy(update={"items": [user.items[p] for p in places], "timestamps": times})
            users.append(cut)
        long = tuple(user for user in users if len(user.items) >= FEWEST)
        return replace(self, users=long, short=self.short + len(users) - len(long))


def read_histories(source: Path | str, *, fewest: int = FEWEST) -> Histories:
    """Read histories; duplicates and short users are left out and counted, times put in order.

    Args:
        source: A file in one of the layouts above.
        fewest: Users with fewer events are left out.

    Raises:
        EtudeError: The file is malformed, a user has two rows, or no user is left.
    """
    path = Path(source)
    if path.suffix == ".txt":
        users: Sequence[History] = list(_read_user_sequences(path))
    elif path.suffix == ".jsonl" and _holds_sequences(path):
        users = list(read_records(path, History))
    else:
        users = _gather(_read_interactions(path), path)
    names: set[str] = set()
    twice = [user.user_id for user in users if user.user_id in names or names.add(user.user_id)]  # type: ignore[func-returns-value]
    if twice:
        raise EtudeError(
            f"{source}: {len(twice)} users have two rows: {', '.join(twice[:5])}", "Join each user's rows."
        )
    timed = bool(users) and all(user.timestamps is not None for user in users)
    ordered = [_in_order(user) for user in users]
    long = [user for user, _, _ in ordered if len(user.items) >= fewest]
    if not long:
        raise EtudeError(
            f"{source}: no user has {fewest} events",
            "One is for training, one for validation, one for the test.",
        )
    return Histories(
        users=tuple(sorted(long, key=lambda user: user.user_id)),
        timed=timed,
        short=len(users) - len(long),
        duplicates=sum(count for _, count, _ in ordered),
        reordered=sum(moved for _, _, moved in ordered),
    )


def sorted_share(users: Sequence[History]) -> float:
    """Share of users whose items come in the order of their ids, as text or as numbers.

    Users with fewer than three different items say nothing and are not counted.
    """
    telling = [user.items for user in users if len(set(user.items)) >= 3]
    return sum(map(_by_id, telling)) / len(telling) if telling else 0.0


def require_chronological(histories: Histories, *, i_know: bool = False) -> None:
    """Refuse histories without times that are sorted by item id: there the next item is the next code.

    Args:
        histories: As read.
        i_know: Go on all the same.

    Raises:
        EtudeError: At least 95 % of the users have their items in the order of the ids.
    """
    share = 0.0 if histories.timed or i_know else sorted_share(histories.users)
    if share >= SORTED_SHARE:
        raise EtudeError(
            f"not chronological: {share:.0%} of the users have their items in the order of the item ids, "
            "and there are no timestamps",
            "Give timestamps, or the events in order of time; --i-know goes on with this order.",
        )


def _by_id(items: Sequence[str]) -> bool:
    if list(items) == sorted(items):
        return True
    numbers = [int(one) for one in items] if all(one.isdecimal() for one in items) else None
    return numbers is not None and numbers == sorted(numbers)


def _in_order(user: History) -> tuple[History, int, bool]:
    """A history sorted by time without events that come twice, their count, and whether the order changed."""
    if user.timestamps is None:
        return user, 0, False
    events = list(zip(user.timestamps, user.items, strict=True))
    unique = list(dict.fromkeys(events))
    ordered = sorted(unique, key=lambda event: event[0])
    mended = History(
        user_id=user.user_id, items=[item for _, item in ordered], timestamps=[time for time, _ in ordered]
    )
    return mended, len(events) - len(unique), ordered != unique


def _holds_sequences(path: Path) -> bool:
    _, first = next(read_rows(path), (0, {"items": []}))
    return "items" in first


def _read_user_sequences(path: Path) -> Iterator[History]:
    for number, line in enumerate(read_lines(path), start=1):
        user, *items = line.split()[:1] + line.split()[1:] if line.strip() else [""]
        if not user:
            continue
        if not items:
            raise EtudeError(f"{path}:{number}: user {user} has no items", "A line is: user item item ...")
        yield History(user_id=user, items=items)


def _read_interactions(path: Path) -> pl.DataFrame:
    """One row per event with `line`, `user_id`, `item_id`, `timestamp` as in the file (texts or numbers)."""
    import polars as pl

    suffix = path.suffix
    if not path.is_file() or suffix not in (".csv", ".tsv", ".inter", ".parquet", ".jsonl"):
        raise EtudeError(
            f"{path}: {'unknown kind of file' if path.exists() else 'no such file'}",
            "Give .jsonl, .csv, .tsv, .parquet, RecBole's .inter or IDGenRec's user_sequence.txt.",
        )
    if suffix == ".jsonl":
        return _events_of_records(path)
    frame = read_frame(path)
    names = [name.partition(":")[0] for name in frame.columns]  # RecBole's name:type
    if len(set(names)) < len(names):
        raise EtudeError(f"{path}:1: two columns have one name: {', '.join(names)}"[:300], "Leave one out.")
    frame.columns = names
    lacking = [name for name in ("user_id", "item_id") if name not in frame.columns]
    if lacking:
        raise EtudeError(
            f"{path}:1: no column {' and no '.join(lacking)}; there are {', '.join(frame.columns)[:200]}",
            "Interactions need user_id and item_id, and timestamp to be in order of time.",
        )
    if "timestamp" not in frame.columns:
        frame = frame.with_columns(pl.lit(None).alias("timestamp"))
    return frame.select("user_id", "item_id", "timestamp")


class _Event(BaseModel):
    user_id: str | int
    item_id: str | int
    timestamp: str | float | None = None


def _events_of_records(path: Path) -> pl.DataFrame:
    import polars as pl

    events = list(read_records(path, _Event))
    times = [event.timestamp for event in events]
    if any(isinstance(time, str) for time in times):
        times = [None if time is None else str(time) for time in times]
    return pl.DataFrame(
        {
            "user_id": [str(event.user_id) for event in events],
            "item_id": [str(event.item_id) for event in events],
            "timestamp": pl.Series(times, dtype=None if any(time is not None for time in times) else pl.Null),
        }
    )


def _gather(events: pl.DataFrame, path: Path) -> list[History]:
    """One history per user, in the file's order of events."""
    import polars as pl

    first = 1 if path.suffix in (".parquet", ".jsonl") else 2  # line of the first event
    time = pl.col("timestamp")
    kind = events.schema["timestamp"]
    if kind.is_temporal():
        seconds = time.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    else:
        seconds = time.cast(pl.Float64, strict=False)
    if kind == pl.String:  # numbers, or dates written out
        spelled = time.str.to_datetime(strict=False, time_zone="UTC").dt.timestamp("us") / 1e6
        seconds = pl.coalesce(seconds, spelled)
    known = events.with_columns(pl.col("user_id", "item_id").cast(pl.String), seconds.alias("t"))
    some_times = known["t"].is_not_null().any()
    bad_id = pl.any_horizontal(pl.col("user_id", "item_id").fill_null("").str.contains(r"^$|\s"))
    bad_time = pl.lit(some_times) & (pl.col("t").is_null() | ~pl.col("t").is_finite())
    bad = known.with_row_index("row").filter(bad_id | bad_time)
    if bad.height:
        shown = [
            f"{path}:{row['row'] + first}: user_id {row['user_id']!r}, item_id {row['item_id']!r}, "
            f"timestamp {row['timestamp']!r}"
            for row in bad.head(_NAMED).iter_rows(named=True)
        ]
        raise EtudeError(
            "\n".join(shown),
            "Ids are words without blanks; timestamps are numbers or ISO dates, of all events or none.",
        )
    grouped = known.group_by("user_id", maintain_order=True).agg("item_id", "t")
    return [
        History(user_id=user, items=items, timestamps=times if some_times else None)
        for user, items, times in grouped.iter_rows()
    ]
