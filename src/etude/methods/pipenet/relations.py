"""Merged relations: many names of the sources become few, some of them turned around (QA-GNN's seventeen).

A merge is a table from a source's relation to a merged one, `reversed` where head and tail change places. A
graph then has the ids 0 .. R-1, and R .. 2R-1 for the same edges walked backwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from etude.data import read_rows
from etude.errors import EtudeError

MOST_RELATIONS = 31  # relation and reverse are bits of one 64-bit mask
OTHER = "relatedto"
_SUFFIX = re.compile(r"_[nvar]{1,2}$")

_QAGNN17: dict[str, tuple[str, ...]] = {
    "antonym": ("distinctfrom",),
    "atlocation": ("locatednear",),
    "capableof": (),
    "causes": ("causesdesire", "*motivatedbygoal"),
    "createdby": (),
    "isa": ("instanceof", "definedas"),
    "desires": (),
    "hassubevent": ("hasfirstsubevent", "haslastsubevent", "hasprerequisite", "entails", "mannerof"),
    "partof": ("*hasa",),
    "hascontext": (),
    "hasproperty": (),
    "madeof": (),
    "notcapableof": (),
    "notdesires": (),
    "receivesaction": (),
    "relatedto": ("similarto", "synonym"),
    "usedfor": (),
}
"""Merged relation to what else becomes it; a star turns head and tail around."""


@dataclass(frozen=True)
class Merge:
    """A merge of relations.

    Attributes:
        name: `qagnn17`, or the file it came from.
        names: The merged relations; a relation's id is its place.
        table: Source relation to merged name and whether head and tail change places.
        dropped: Merged relations whose edges are left out.
    """

    name: str
    names: tuple[str, ...]
    table: Mapping[str, tuple[str, bool]]
    dropped: tuple[str, ...] = ()


def source_name(relation: str) -> str:
    """A source's relation as the tables know it: `/r/IsA` and WordNet's `isa_nn` are `isa`."""
    return _SUFFIX.sub("", relation.strip().lower().removeprefix("/r/"))


def qagnn17() -> Merge:
    """The merge of QA-GNN and PipeNet; the edges of `hascontext` are dropped, its id stays."""
    table = {}
    for merged, others in _QAGNN17.items():
        table[merged] = (merged, False)
        table |= {name.removeprefix("*"): (merged, name.startswith("*")) for name in others}
    return Merge("qagnn17", tuple(_QAGNN17), table, dropped=("hascontext",))


def read_merge(name: str) -> Merge:
    """A merge by name, or from a TSV, CSV or JSONL with the columns relation, merged and, optional, reversed.

    Args:
        name: `qagnn17` or a file.

    Raises:
        EtudeError: No such merge, a row lacks a column, or there are more than 31 merged relations.
    """
    if name == "qagnn17":
        return qagnn17()
    if not Path(name).is_file():
        raise EtudeError(f"there is no merge {name!r}", "Give qagnn17, or a TSV: relation, merged, reversed.")
    table: dict[str, tuple[str, bool]] = {}
    for line, row in read_rows(name):
        absent = [column for column in ("relation", "merged") if not row.get(column)]
        if absent:
            raise EtudeError(
                f"{name}:{line}: no {absent[0]}", "Each row needs relation and merged; reversed is yes or no."
            )
        turned = str(row.get("reversed") or "").lower() in ("1", "yes", "true")
        table[source_name(str(row["relation"]))] = (str(row["merged"]).lower(), turned)
    names = tuple(dict.fromkeys(merged for merged, _ in table.values()))
    if not 1 <= len(names) <= MOST_RELATIONS:
        raise EtudeError(
            f"{name}: {len(names)} merged relations", f"Between 1 and {MOST_RELATIONS}; merge more of them."
        )
    return Merge(Path(name).name, names, table)
