"""`review`: people accept or refuse analogous relations, and audit mined analogies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.errors import EtudeError
from etude.evidence import Interval
from etude.methods import verb
from etude.methods.analogykb.kb_files import RELATION_PAIRS, write_relation_pairs
from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.methods.analogykb.review_sheets import (
    Judgement,
    audit_sheet,
    audited_accuracy,
    kappa,
    read_sheet,
    relation_sheet,
    write_sheet,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

SHEET, AUDIT = "review.csv", "audit.csv"
DISAGREE = "reviewers disagree"


@dataclass(frozen=True)
class ReviewResult:
    """A sheet to fill in, or what filled sheets say.

    Args:
        sheet: The sheet that was written or found; empty when sheets were read.
        written: Whether it was written now.
        rows: Rows to judge, or judged.
        accepted: Relation pairs accepted by everyone who judged them.
        refused: Refused by everyone.
        disagreed: Judged differently; they wait for a decision.
        kappa: Cohen's kappa of the first two sheets on the rows both judged; None where undefined.
        accuracy: Of an audit: share of right analogies by source.
    """

    sheet: str
    written: bool
    rows: int
    accepted: int = 0
    refused: int = 0
    disagreed: int = 0
    kappa: float | None = None
    accuracy: dict[str, Interval] | None = None

    def __rich__(self) -> RenderableType:
        """What is next, or the outcome."""
        from rich.console import Group

        from etude.render import TableBlock, Text, show

        if self.sheet:
            state = "written" if self.written else "left as it is: somebody has filled it in"
            page = Path(self.sheet).with_suffix(".html")
            return show(
                Text(f"{self.rows} rows. {self.sheet}: {state}. Read {page}; fill in a copy for each "
                     "reviewer, then: etude analogykb review KB --sheets alice.csv bob.csv")
            )  # fmt: skip
        agreement = "undefined" if self.kappa is None else f"{self.kappa:.3f}"
        parts = [show(Text(f"{self.rows} rows judged. Cohen's kappa: {agreement}."))]
        if self.accuracy is not None:
            lines = [(source, str(share)) for source, share in self.accuracy.items()]
            parts.append(show(TableBlock(("source", "right analogies"), lines, "Audit")))
        else:
            counts = f"Accepted {self.accepted}, refused {self.refused}, disagreed {self.disagreed}."
            parts.append(show(Text(counts)))
        return Group(*parts)


@verb
def review(
    kb: Path, *, sheets: tuple[Path, ...] = (), audit: bool = False, count: int = 200, seed: int = 0
) -> ReviewResult:
    """Let people decide: write a sheet of analogous relations (or analogies to audit), or read filled ones.

    Without --sheets it writes KB/review.csv and a page with five example analogies of each pair; a sheet that
    somebody has filled in is never overwritten. With --sheets it reads them: a pair is accepted when everyone
    who judged it said yes, refused when everyone said no; else it waits.

    Args:
        kb: A knowledge base (what mine wrote), after relate.
        sheets: Filled sheets, one for each reviewer.
        audit: Judge random mined analogies of each source instead (KB/audit.csv).
        count: Analogies of each source in an audit.
        seed: Of their choice.

    Raises:
        EtudeError: Nothing waits for review, or a sheet cannot be read (line and reason).
    """
    base = AnalogyKB(kb)
    if sheets:
        keys = ("source", "relation", "analogy") if audit else ("rel_a", "rel_b")
        judged = {sheet: read_sheet(sheet, keys) for sheet in sheets}
        return _audited(judged) if audit else _import(base, judged)
    rows = audit_sheet(base, seed, count) if audit else relation_sheet(base)
    if not rows:
        raise EtudeError(f"{kb}: nothing waits for review", "Run `etude analogykb relate` first.")
    path = kb / (AUDIT if audit else SHEET)
    return ReviewResult(str(path), write_sheet(path, rows, f"Review of {kb.name}"), len(rows))


def agreement(judged: list[list[Judgement]]) -> float | None:
    """Kappa of the first two sheets, on the rows both judged."""
    if len(judged) < 2:
        return None
    first, second = ({one.key: one.accept for one in sheet} for sheet in judged[:2])
    shared = [key for key in first if key in second]
    return kappa([first[key] for key in shared], [second[key] for key in shared])


def _audited(judged: dict[Path, list[Judgement]]) -> ReviewResult:
    everything = [one for sheet in judged.values() for one in sheet]
    return ReviewResult(
        "", False, len({one.key for one in everything}), kappa=agreement(list(judged.values())),
        accuracy=audited_accuracy(everything),
    )  # fmt: skip


def _import(base: AnalogyKB, judged: dict[Path, list[Judgement]]) -> ReviewResult:
    rows = base.relation_pairs
    by_key = {(row["rel_a"], row["rel_b"]): row for row in rows}
    said: dict[tuple[str, ...], list[tuple[str, Judgement]]] = {}
    for sheet, found in judged.items():
        for one in found:
            if one.key not in by_key:
                raise EtudeError(
                    f"{sheet}: {' and '.join(one.key)} is no pair of {base.folder}",
                    "Fill in the sheet of this KB.",
                )
            said.setdefault(one.key, []).append((sheet.stem, one))
    outcome: Counter[str] = Counter()
    for key, given in said.items():
        row, answers = by_key[key[0], key[1]], {one.accept for _, one in given}
        row["reviewer"] = ", ".join(name for name, _ in given)
        notes = "; ".join(one.note for _, one in given if one.note)
        if len(answers) > 1:
            row["accepted"], row["note"] = None, "; ".join(filter(None, (DISAGREE, notes)))
            outcome[DISAGREE] += 1
        else:
            row["accepted"], row["note"] = answers.pop(), notes
            outcome[str(row["accepted"])] += 1
    write_relation_pairs(base.folder / RELATION_PAIRS, rows)
    return ReviewResult(
        "",
        False,
        len(said),
        outcome["True"],
        outcome["False"],
        outcome[DISAGREE],
        agreement(list(judged.values())),
    )
