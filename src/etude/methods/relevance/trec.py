"""TREC qrels (`qid 0 docid grade`) and runs (`qid Q0 docid rank score tag`), in and out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TypeAlias

from etude.data.records import read_lines
from etude.errors import EtudeError
from etude.runs import atomic_path

Qrels: TypeAlias = dict[tuple[str, str], int]
"""(qid, docid) to grade."""
_MOST = 20


@dataclass(frozen=True)
class SystemRun:
    """One system's ranking.

    Args:
        name: The file's name without its suffix.
        scores: Query to document to score; the higher, the earlier.
    """

    name: str
    scores: Mapping[str, Mapping[str, float]]

    def ranked(self, qid: str) -> list[str]:
        """The query's documents, best first; ties fall by docid descending, as trec_eval has it."""
        found = self.scores.get(qid, {})
        return sorted(found, key=lambda d: (found[d], d), reverse=True)


def parse_grade_map(text: str) -> dict[int, int]:
    """A map from codes to ascending grades, from text such as `1:2,2:2,3:1,4:1,-1:0`.

    Raises:
        EtudeError: The text is no such map.
    """
    try:
        pairs = [piece.split(":") for piece in text.split(",")]
        grades = {int(code): int(grade) for code, grade in pairs}
    except ValueError as error:
        raise EtudeError(
            f"--grade-map {text!r}: not a map", "Write code:grade pairs, as 1:2,2:2,3:1,4:1,-1:0."
        ) from error
    if len(grades) < len(pairs) or min(grades.values()) < 0:
        raise EtudeError(f"--grade-map {text!r}", "Name each code once; grades are 0 or more.")
    return grades


def split_fields(line: str) -> list[str]:
    """A line's fields: by blanks or tabs, or by commas or semicolons where there are none."""
    fields = line.split()
    for mark in (",", ";"):
        if len(fields) == 1 and mark in line:
            fields = [field.strip() for field in line.strip().split(mark)]
    return fields


def read_qrels(path: Path, grade_map: Mapping[int, int] | None = None) -> Qrels:
    """Read judgements.

    Args:
        path: The qrels.
        grade_map: Code to grade; needed where codes are not ascending grades from 0.

    Raises:
        EtudeError: A line is malformed, the same pair is judged twice with different grades, a code is not in
            the map, or the codes are not ascending grades and there is no map.
    """
    found: Qrels = {}
    lines: dict[tuple[str, str], int] = {}
    codes: set[int] = set()
    bad: list[str] = []
    for number, fields in _rows(path):
        if len(fields) != 4:
            bad.append(f"{path}:{number}: {len(fields)} fields, a judgement has 4 (qid 0 docid grade)")
            continue
        try:
            code = int(fields[3])
        except ValueError:
            bad.append(f"{path}:{number}: grade {fields[3]!r} is not a whole number")
            continue
        codes.add(code)
        if grade_map is not None and code not in grade_map:
            bad.append(f"{path}:{number}: code {code} is not in the grade map")
            continue
        grade = code if grade_map is None else grade_map[code]
        pair = (fields[0], fields[2])
        if found.setdefault(pair, grade) != grade:
            bad.append(
                f"{path}:{number}: query {pair[0]}, document {pair[1]} is judged {grade}, "
                f"but {found[pair]} in line {lines[pair]}"
            )
        lines.setdefault(pair, number)
    if bad:
        raise EtudeError("\n".join(bad[:_MOST]), "Mend these lines; conflicting judgements must be settled.")
    if not found:
        raise EtudeError(f"{path}: no judgements", "Give a file of lines: qid 0 docid grade.")
    if grade_map is None and (min(codes) < 0 or (0 not in codes and len(codes) > 1)):
        raise EtudeError(
            f"{path}: the codes {', '.join(map(str, sorted(codes)))} are not ascending grades from 0",
            "Give --grade-map CODE:GRADE,..., e.g. 1:2,2:2,3:1,4:1,-1:0 (in some collections 1 is best).",
        )
    return found


def write_qrels(path: Path, grades: Iterable[tuple[str, str, int]]) -> int:
    """Write (qid, docid, grade) rows as qrels, in one step, and return how many."""
    count = 0
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as handle:
        for qid, docid, grade in grades:
            handle.write(f"{qid} 0 {docid} {grade}\n")
            count += 1
    return count


def read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Stream the (qid, docid) pairs of qrels, of a run, or of two columns; a pair may come again.

    Raises:
        EtudeError: A line has neither 2, 4 nor 6 fields.
    """
    for number, fields in _rows(path):
        if len(fields) not in (2, 4, 6):
            raise EtudeError(
                f"{path}:{number}: {len(fields)} fields",
                "Pairs are qrels (qid 0 docid grade), a run (qid Q0 docid rank score tag), or qid docid.",
            )
        yield fields[0], fields[1] if len(fields) == 2 else fields[2]


def read_run(path: Path) -> SystemRun:
    """Read one run.

    Raises:
        EtudeError: A line is malformed, a score is no number, or a document is ranked twice for a query.
    """
    scores: dict[str, dict[str, float]] = {}
    for number, fields in _rows(path):
        if len(fields) != 6:
            raise EtudeError(
                f"{path}:{number}: {len(fields)} fields", "A run's line is: qid Q0 docid rank score tag."
            )
        qid, _, docid, _, text, _ = fields
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise EtudeError(f"{path}:{number}: score {text!r} is not a number", "Mend the run.")
        ranked = scores.setdefault(qid, {})
        if docid in ranked:
            raise EtudeError(
                f"{path}:{number}: document {docid} is ranked twice for query {qid}", "Mend the run."
            )
        ranked[docid] = score
    if not scores:
        raise EtudeError(f"{path}: an empty run", "Leave it out.")
    return SystemRun(path.stem, scores)


def read_runs(pattern: str) -> list[SystemRun]:
    """Read the runs that a pattern such as `runs/*.trec` names (or a folder's files), sorted by name.

    Raises:
        EtudeError: There are fewer than two, or two share a name.
    """
    paths = sorted(Path(p) for p in glob(f"{pattern}/*" if Path(pattern).is_dir() else pattern))
    runs = [read_run(path) for path in paths if path.is_file()]
    if len(runs) < 2:
        raise EtudeError(f"{pattern!r} names {len(runs)} runs", "At least two systems can be ranked.")
    if len({run.name for run in runs}) < len(runs):
        raise EtudeError(f"{pattern!r}: two runs share a name", "Rename one of the files.")
    return runs


def write_run(path: Path, run: SystemRun, depth: int = 1000) -> None:
    """Write a run, best documents first, in one step."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as handle:
        for qid in run.scores:
            for rank, docid in enumerate(run.ranked(qid)[:depth], start=1):
                handle.write(f"{qid} Q0 {docid} {rank} {run.scores[qid][docid]:.6f} {run.name}\n")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            yield number, split_fields(line)
