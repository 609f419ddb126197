"""Review sheets: what people are shown, and what their answers amount to.

A sheet is a CSV with one row to judge and an empty column `accept`; filled sheets of two reviewers give
Cohen's kappa, and a pair is accepted when everyone who judged it said yes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.data import read_rows, write_records
from etude.errors import EtudeError
from etude.evidence import Interval, wilson_interval
from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.render import Block, Section, TableBlock, Text, save_page

_YES = {"yes", "y", "1", "true", "ja", "oui"}
_NO = {"no", "n", "0", "false", "nein", "non"}
AUDITED = 200  # analogies of each source (paper, section 3.4)


@dataclass(frozen=True)
class Judgement:
    """One answer on a sheet."""

    key: tuple[str, ...]
    accept: bool
    note: str


def example_analogies(kb: AnalogyKB, one: str, other: str, count: int = 5) -> list[str]:
    """Analogies between the best-known pairs of two relations, as text; they share no word."""
    found = []
    second = kb.pairs(other, 20 * count)
    for a, b in kb.pairs(one, 20 * count):
        match = next((pair for pair in second if not {a, b} & set(pair)), None)
        if match is not None:
            second.remove(match)
            found.append(f"{a} is to {b} as {match[0]} is to {match[1]}")
        if len(found) == count:
            break
    return found


def relation_sheet(kb: AnalogyKB) -> list[dict[str, Any]]:
    """Rows for relation pairs that wait for review."""
    return [
        {"rel_a": row["rel_a"], "rel_b": row["rel_b"], "meta": row["meta"] or "",
         "examples": " | ".join(example_analogies(kb, row["rel_a"], row["rel_b"])), "accept": "", "note": ""}
        for row in kb.relation_pairs
        if row["accepted"] is None
    ]  # fmt: skip


def audit_sheet(kb: AnalogyKB, seed: int, count: int = AUDITED) -> list[dict[str, Any]]:
    """Random same-relation analogies of each source, for people to say whether they are right."""
    generator = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    table = kb.table
    for source in sorted(set(table.source.tolist())):
        places = np.flatnonzero(table.source == source)
        found: dict[tuple[str, ...], None] = {}
        for _ in range(50 * count):
            one = int(generator.choice(places))
            other = int(generator.choice(places[table.rel[places] == table.rel[one]]))
            pairs = (*table.text(one), *table.text(other))
            if len(set(pairs)) == 4:
                found[table.relations[int(table.rel[one])], *pairs] = None
            if len(found) == count:
                break
        rows += [
            {
                "source": source,
                "relation": rel,
                "analogy": f"{a} is to {b} as {c} is to {d}",
                "accept": "",
                "note": "",
            }
            for rel, a, b, c, d in found
        ]
    return rows


def write_sheet(path: Path, rows: Sequence[dict[str, Any]], title: str) -> bool:
    """Write a sheet and a page to read it by; a sheet on which somebody has written is left as it is.

    Returns:
        Whether it was written.
    """
    if path.exists() and any(str(row.get("accept", "")).strip() for _, row in read_rows(path)):
        return False
    write_records(path, rows)
    columns = [name for name in rows[0] if name not in ("accept", "note", "examples")]
    blocks: list[Block] = [Text("Write yes or no into the column accept of the sheet, and why into note.")]
    if "examples" in rows[0]:
        sections = [Section("How", blocks)]
        for row in rows:
            shown = [(text,) for text in str(row["examples"]).split(" | ")]
            tag = str(row["meta"])
            sections.append(
                Section(
                    f"{row['rel_a']} and {row['rel_b']}",
                    [TableBlock(("analogies",), shown)],
                    tag=tag,
                    level=3,
                )
            )
    else:
        sections = [
            Section("Analogies", [*blocks, TableBlock(columns, [[row[c] for c in columns] for row in rows])])
        ]
    save_page(path.with_suffix(".html"), title, sections, lead=str(path.name))
    return True


def read_sheet(path: Path, keys: Sequence[str]) -> list[Judgement]:
    """The filled rows of a sheet.

    Args:
        path: The CSV.
        keys: Columns that name a row.

    Raises:
        EtudeError: An answer is neither yes nor no, a column is missing, or nobody has written anything.
    """
    found: list[Judgement] = []
    for line, row in read_rows(path):
        missing = [key for key in keys if key not in row]
        if missing:
            raise EtudeError(
                f"{path}:{line}: no {', '.join(missing)}", "Fill in the sheet that review wrote."
            )
        said = str(row.get("accept", "")).strip().lower()
        if not said:
            continue
        if said not in _YES | _NO:
            raise EtudeError(f"{path}:{line}: accept: {said!r} is neither yes nor no", "Write yes or no.")
        found.append(Judgement(tuple(str(row[key]) for key in keys), said in _YES, str(row.get("note", ""))))
    if not found:
        raise EtudeError(f"{path}: nobody has written into the column accept", "Write yes or no there.")
    return found


def kappa(first: Sequence[bool], second: Sequence[bool]) -> float | None:
    """Cohen's kappa of two reviewers on the same rows; None where both say one thing only."""
    if not first or (len(set(first)) == 1 and set(first) == set(second)):
        return None
    observed = float(np.mean([a == b for a, b in zip(first, second, strict=True)]))
    yes, also = float(np.mean(first)), float(np.mean(second))
    expected = yes * also + (1 - yes) * (1 - also)
    return (observed - expected) / (1 - expected)


def audited_accuracy(kb_rows: Sequence[Judgement]) -> dict[str, Interval]:
    """Share of right analogies of each source, with its interval. Keys begin with the source."""
    found: dict[str, Interval] = {}
    for source in sorted({row.key[0] for row in kb_rows}):
        own = [row.accept for row in kb_rows if row.key[0] == source]
        interval = wilson_interval(sum(own), len(own))
        if interval is not None:
            found[source] = interval
    return found
