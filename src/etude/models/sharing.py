"""Which token rows share a beginning that is worth reading only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WORTH = 1024  # tokens that a group must save before it leaves the large batch


@dataclass(frozen=True)
class Group:
    """Rows that share their first `shared` tokens.

    Args:
        shared: Number of shared tokens; every row has at least one more.
        rows: Row numbers.
    """

    shared: int
    rows: list[int]


def shared_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Number of leading tokens that all rows share, at most one less than the shortest row has."""
    if not rows:
        return 0
    lists = sorted(map(list, rows))  # of sorted rows, the first and the last differ earliest
    first, last, limit = lists[0], lists[-1], min(map(len, lists)) - 1
    return next((i for i in range(max(limit, 0)) if first[i] != last[i]), max(limit, 0))


def plan(rows: Sequence[Sequence[int]]) -> list[Group]:
    """Group rows by what they share.

    Rows about the same long text (several questions on one document) become groups of their own when that
    saves at least `WORTH` tokens of reading; the others stay in one group, which shares what they all share.

    Args:
        rows: Token ids.

    Returns:
        Groups that hold each row once; the group of the others comes last.
    """
    order = sorted(range(len(rows)), key=lambda i: list(rows[i]))
    base = shared_prefix(rows)
    with_next = [shared_prefix([rows[a], rows[b]]) - base for a, b in pairwise(order)]
    groups: list[Group] = []
    others: list[int] = []
    start = 0
    while start < len(order):
        best, size, shared = 0, 1, len(rows[order[start]])
        for count, step in enumerate(with_next[start:], start=2):
            shared = min(shared, step)
            if shared * 2 <= best // max(size - 1, 1):  # the next row has little to do with these
                break
            if shared * (count - 1) > best:
                best, size = shared * (count - 1), count
        members = order[start : start + size]
        if best >= WORTH:
            groups.append(Group(shared_prefix([rows[i] for i in members]), members))
        else:
            members = members[:1]
            others += members
        start += len(members)
    if others:
        groups.append(Group(shared_prefix([rows[i] for i in others]) if len(others) > 1 else 0, others))
    return groups
