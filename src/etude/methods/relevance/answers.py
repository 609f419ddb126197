"""From what a model wrote to a grade, or to the reason why there is none. No answer becomes 0 silently.

The whole answer as JSON first (`ok`); then the named field anywhere in the text, then a lone number (both
`repaired`). Two values that disagree, a grade outside the scale, a range that echoes the question ("0 to 2")
and a wrong number of judges are no label.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal, TypeAlias

LabelStatus: TypeAlias = Literal["ok", "repaired", "unparsed", "refused", "truncated"]
STATUSES: tuple[LabelStatus, ...] = ("ok", "repaired", "unparsed", "refused", "truncated")
USABLE: frozenset[str] = frozenset(("ok", "repaired"))

_FENCED = re.compile(r"\A\s*```(?:json)?\s*(.*?)\s*```\s*\Z", re.DOTALL | re.IGNORECASE)
_NUMBER = r"(?P<value>[-+]?\d+(?:\.\d+)?)"
_NO_RANGE = r"(?!\.?\d)(?!\s*(?:-|–|/|to\b|or\b|out of\b|\.\.)\s*\d)"
_LONE = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?![\w])")
_DECLINED = re.compile(r"\b(?:sorry|cannot|can't|can’t|unable|won't|won’t|not able)\b", re.IGNORECASE)


@dataclass(frozen=True)
class ParsedLabel:
    """A label as it was read.

    Args:
        O: The overall grade, the mean over judges; None unless the status is `ok` or `repaired`.
        aspects: Aspect to its grade, the mean over judges.
        rows: O of each judge.
        status: `ok`: the JSON that was asked for. `repaired`: one clear grade in another form. `unparsed`:
            none, or several that disagree. `refused`: the model declined. `truncated`: cut off before the
            grade was complete.
    """

    O: float | None
    aspects: dict[str, float] = field(default_factory=dict)
    rows: tuple[int, ...] = ()
    status: LabelStatus = "ok"


def parse_label(
    text: str,
    scale: tuple[int, int] = (0, 2),
    aspects: Sequence[str] = (),
    judges: int = 1,
    stop_reason: str = "stop",
) -> ParsedLabel:
    """Read an answer.

    Args:
        text: What the model wrote.
        scale: Lowest and highest grade; others are no grades.
        aspects: Aspects that were asked for.
        judges: How many rows were asked for.
        stop_reason: `stop`, `length` or `refused`, as the model's reply says.
    """
    if stop_reason == "refused":
        return ParsedLabel(None, status="refused")
    failed: LabelStatus = "truncated" if stop_reason == "length" else "unparsed"
    value = _as_json(text)
    if value is not _NOTHING:
        rows = _judge_rows(value, judges)
        if rows is None:
            return ParsedLabel(None, status=failed)
        graded = [_graded(row, scale, aspects) for row in rows]
        if any(one is None for one in graded):
            return ParsedLabel(None, status=failed)
        return _of_rows([one for one in graded if one is not None], "ok")
    if judges > 1 or stop_reason == "length":  # rows cannot be told apart in prose; a cut grade may go on
        return ParsedLabel(None, status=_why(text, failed))
    found = {name: _named(text, name, scale) for name in (*aspects, "O")}
    overall = found["O"]
    if overall is _NOTHING:
        overall = _lone(text, scale)
    if not isinstance(overall, int):
        return ParsedLabel(None, status=_why(text, failed))
    named = {name: float(v) for name, v in found.items() if name != "O" and isinstance(v, int)}
    return ParsedLabel(float(overall), named, (overall,), "repaired")


_NOTHING: Any = object()


def _as_json(text: str) -> Any:
    """The answer as JSON, or `_NOTHING`; a key that is given twice makes its value unusable."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            values[key] = None if key in values and values[key] != value else value
        return values

    fenced = _FENCED.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        return _NOTHING
    return value if isinstance(value, dict | list) else _NOTHING


def _judge_rows(value: Any, judges: int) -> list[dict[str, Any]] | None:
    """The judges' rows, if there are as many as were asked for."""
    if isinstance(value, dict) and judges > 1 and "O" not in value and len(value) == 1:
        value = next(iter(value.values()))  # {"raters": [...]}
    rows = value if isinstance(value, list) else [value]
    if len(rows) != judges or not all(isinstance(row, dict) for row in rows):
        return None
    return rows


def _graded(
    row: dict[str, Any], scale: tuple[int, int], aspects: Sequence[str]
) -> tuple[int, dict[str, int]] | None:
    overall = _grade(row.get("O"), scale)
    if overall is None:
        return None
    read = {name: _grade(row.get(name), scale) for name in aspects}
    return overall, {name: grade for name, grade in read.items() if grade is not None}


def _grade(value: Any, scale: tuple[int, int]) -> int | None:
    """A whole number within the scale, given as a number or as its text."""
    if isinstance(value, str):
        value = float(value) if re.fullmatch(r"\s*[-+]?\d{1,9}(?:\.0+)?\s*", value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value != value or not scale[0] <= value <= scale[1] or value != int(value):
        return None
    return int(value)


def _of_rows(rows: Sequence[tuple[int, dict[str, int]]], status: LabelStatus) -> ParsedLabel:
    names = dict.fromkeys(name for _, aspects in rows for name in aspects)
    means = {name: fmean(aspects[name] for _, aspects in rows if name in aspects) for name in names}
    overall = tuple(grade for grade, _ in rows)
    return ParsedLabel(fmean(overall), means, overall, status)


def _named(text: str, name: str, scale: tuple[int, int]) -> Any:
    """The grade behind a field's name: an int, None where it is unusable, `_NOTHING` where no name stands."""
    label = (
        rf"(?:{re.escape(name)}|overall(?: grade| score)?|final score)" if name == "O" else re.escape(name)
    )
    pattern = rf"(?<![\w'’])[\"'*]*{label}[\"'*]*\s*[:=]\s*[\"'*]*{_NUMBER}{_NO_RANGE}"
    anywhere = re.search(rf"(?<![\w'’])[\"'*]*{label}[\"'*]*\s*[:=]", text)
    values = {match["value"] for match in re.finditer(pattern, text, re.IGNORECASE if len(name) > 1 else 0)}
    grades = {_grade(value, scale) for value in values}
    if not values:
        return None if anywhere else _NOTHING
    return grades.pop() if len(grades) == 1 else None


def _lone(text: str, scale: tuple[int, int]) -> int | None:
    """The grade of an answer that holds a single number and little else."""
    numbers = _LONE.findall(text)
    return _grade(numbers[0], scale) if len(numbers) == 1 and len(text.split()) <= 12 else None


def _why(text: str, failed: LabelStatus) -> LabelStatus:
    declined = failed == "unparsed" and _DECLINED.search(text) and not _LONE.search(text)
    return "refused" if declined else failed
