"""The verb `check`: whether histories are fit to learn the next item from, and what flatters a result."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etude.methods import verb
from etude.methods.idgen.histories import SORTED_SHARE, Histories, read_histories, sorted_share
from etude.methods.idgen.items import alike, read_items

if TYPE_CHECKING:
    from rich.console import RenderableType

Severity = Literal["fine", "know", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: The question.
        value: The answer, in figures.
        severity: `fine`, `know` (say it with the result) or `wrong` (results mean something else).
        meaning: What it means for a result.
    """

    what: str
    value: str
    severity: Severity
    meaning: str


@dataclass(frozen=True)
class CheckResult:
    """What histories are like.

    Args:
        source: The file.
        users: With at least three events.
        items: That occur in the histories.
        events: In all.
        mean_length: Events of a user.
        density: Events over users times items.
        sorted_share: Users whose items are in the order of the item ids.
        findings: Order, leaks, duplicates, sparsity, texts.
    """

    source: str
    users: int
    items: int
    events: int
    mean_length: float
    density: float
    sorted_share: float
    findings: list[Finding]

    @property
    def fit(self) -> bool:
        """Whether nothing is wrong."""
        return all(one.severity != "wrong" for one in self.findings)

    def __rich__(self) -> RenderableType:
        """Sizes, then the findings."""
        from rich.console import Group

        from etude.render import Text, show, table

        sizes = [(self.users, self.items, self.events, self.mean_length, f"{self.density:.4%}")]
        rows = [(one.what, one.value, one.severity, one.meaning) for one in self.findings]
        verdict = "Nothing is wrong." if self.fit else "Something is wrong: see above before you train."
        return Group(
            table(("users", "items", "events", "events of a user", "density"), sizes),
            table(("checked", "found", "", "what it means"), rows),
            show(Text(verdict)),
        )


@verb
def check(sequences: Path, *, items: Path | None = None, i_know: bool = False) -> CheckResult:
    """Check histories before training: order of time, leaks, duplicates, sparsity, texts.

    Args:
        sequences: JSONL {user_id, items, timestamps?}; interactions {user_id, item_id, timestamp?} as CSV,
            TSV, Parquet or JSONL; IDGenRec's user_sequence.txt; RecBole's .inter.
        items: The catalogue, to check the texts too.
        i_know: Report histories in the order of item ids as known, instead of as wrong.

    Raises:
        EtudeError: A file is malformed.
    """
    histories = read_histories(sequences)
    users = [user.items for user in histories.users]
    events, kinds = sum(map(len, users)), len(histories.items)
    findings = [
        _order(histories, i_know=i_know),
        *_reading(histories),
        *_repetition(histories),
        *_targets(users),
        _core(users),
    ]
    if items is not None:
        findings += _texts(histories, items)
    return CheckResult(
        source=str(sequences),
        users=len(users),
        items=kinds,
        events=events,
        mean_length=events / len(users),
        density=events / (len(users) * kinds),
        sorted_share=sorted_share(histories.users),
        findings=findings,
    )


def _order(histories: Histories, *, i_know: bool) -> Finding:
    """Whether the events are in the order of time, as far as the file can tell."""
    share = sorted_share(histories.users)
    lengths = [len(set(user.items)) for user in histories.users if len(set(user.items)) >= 3]
    chance = sum(1 / math.factorial(min(length, 20)) for length in lengths) / max(len(lengths), 1)
    value = f"{share:.1%} of the users in the order of item ids (by chance {chance:.1%})"
    if histories.timed:
        return Finding("order", f"{value}; by timestamps", "fine", "Events are in the order of their times.")
    if share >= SORTED_SHARE:
        return Finding(
            "order",
            value,
            "know" if i_know else "wrong",
            "Not chronological: the next item is the next code, and a model learns the alphabet.",
        )
    if share > max(2 * chance, chance + 0.05):
        return Finding(
            "order", value, "know", "More than by chance: codes may grow with time, or some are sorted."
        )
    return Finding("order", value, "fine", "No sign that events are in another order than that of time.")


def _reading(histories: Histories) -> list[Finding]:
    """What the reader left out or put in order."""
    found = []
    if histories.short:
        value = f"{histories.short:,} users with fewer than 3 events"
        found.append(Finding("short histories", value, "know", "They are left out: no event to learn from."))
    if histories.duplicates:
        value = f"{histories.duplicates:,} events with the same user, item and time"
        found.append(Finding("duplicate events", value, "know", "Each is counted once."))
    if histories.reordered:
        value = f"{histories.reordered:,} users"
        found.append(Finding("events out of order", value, "know", "They were sorted by their timestamps."))
    return found


def _repetition(histories: Histories) -> list[Finding]:
    """Items that come again in a history, and histories that come again."""
    users = [user.items for user in histories.users]
    again = sum(a == b for user in users for a, b in pairwise(user))
    events = sum(map(len, users))
    share = again / events
    copies = Counter(map(tuple, users))
    same = sum(count for count in copies.values() if count > 1)
    return [
        Finding(
            "the same item twice running",
            f"{again:,} events ({share:.1%})",
            "know" if again else "fine",
            "Repeating the last item is then a recommendation that counts." if again else "None.",
        ),
        Finding(
            "identical histories",
            f"{same:,} users",
            "know" if same > 0.01 * len(users) else "fine",
            "They are one observation, counted as often as there are users." if same else "None.",
        ),
    ]


def _targets(users: Sequence[Sequence[str]]) -> list[Finding]:
    """What leave-one-out will ask: the last item of each user."""
    known = {item for user in users for item in user[:-2]}
    seen = sum(user[-1] in user[:-1] for user in users) / len(users)
    cold = sum(user[-1] not in known for user in users) / len(users)
    return [
        Finding(
            "test targets that the user has seen",
            f"{seen:.1%}",
            "know" if seen else "fine",
            "Filtering seen items makes them unreachable; not filtering rewards repetition."
            if seen
            else "Filtering seen items costs nothing.",
        ),
        Finding(
            "test targets without a training event",
            f"{cold:.1%}",
            "know" if cold else "fine",
            "Only ids with meaning, or text, can reach them." if cold else "No cold start in this split.",
        ),
    ]


def _core(users: Sequence[Sequence[str]]) -> Finding:
    """The k of a k-core filter, which looks at test events too."""
    counts = Counter(item for user in users for item in user)
    by_user, by_item = min(map(len, users)), min(counts.values())
    return Finding(
        "fewest events",
        f"{by_user} of a user, {by_item} of an item",
        "know" if by_item > 1 else "fine",
        "Filtered before the split: that an item is here tells that it will be chosen."
        if by_item > 1
        else "No sign of a filter by popularity.",
    )


def _texts(histories: Histories, items: Path) -> list[Finding]:
    catalogue = {item.item_id: item for item in read_items(items)}
    lacking = sorted(histories.items - catalogue.keys())
    same = alike(catalogue)
    named = f": {', '.join(lacking[:5])}" if lacking else ""
    return [
        Finding(
            "items without a row of text",
            f"{len(lacking):,}{named}",
            "wrong" if lacking else "fine",
            "Training asks for --missing drop or title-from-id." if lacking else "Every item has a row.",
        ),
        Finding(
            "empty or identical texts",
            f"{same['empty']:,} empty, {same['identical']:,} identical",
            "know" if same["empty"] or same["identical"] else "fine",
            "Order, an added word or a number alone will tell their ids apart."
            if same["empty"] or same["identical"]
            else "Every text is its item's own.",
        ),
    ]
