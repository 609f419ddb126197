"""The three chats of one observation, side by side: what was asked, what came back, how it was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etude.errors import EtudeError
from etude.methods.self_explanations.rows import Row
from etude.render import Block, Section, TableBlock, Text, save_page

_COLUMNS = ("", "1: classify", "2: explain", "3: classify the explanation")


def rows_of(rows: Sequence[Row], id: str, kind: str | None = None, model: str | None = None) -> list[Row]:
    """The rows of one observation.

    Raises:
        EtudeError: There are none.
    """
    found = [
        row
        for row in rows
        if row.id == id and kind in (None, row.variant.kind) and model in (None, row.model)
    ]
    if not found:
        known = list(dict.fromkeys(row.id for row in rows))
        raise EtudeError(
            f"no chats about {id!r}" + (f" with {kind or model}" if kind or model else ""),
            f"There are {len(known)} observations, e.g. {', '.join(known[:5])}.",
        )
    return found


def side_by_side(row: Row) -> TableBlock:
    """One row's three chats as a table."""
    second = row.explain if row.variant.kind != "attribution" else ", ".join(row.words or [])
    lines = [
        ("asked", row.predict_prompt, row.explain_prompt, row.explain_predict_prompt),
        ("answered", row.predict_answer, row.explain_answer, row.explain_predict_answer),
        ("read as", row.predict, second or None, row.explain_predict),
    ]
    return TableBlock(_COLUMNS, lines, f"{row.model}: {row.variant.name}")


def verdict(row: Row) -> str:
    """What the chats say, in a sentence."""
    if row.error:
        return f"No answer came: {row.error}."
    if row.mismatch:
        return f"The answer of the stage {row.mismatch} cannot be read: not counted."
    if not row.counted:
        first = f"The first answer is {row.predict}, the label {row.label}"
        return f"{first}: not counted (condition {row.condition})."
    said = f"Label {row.label}, first answer {row.predict}, after the explanation {row.explain_predict}"
    if row.target is not None:
        said += f" (target {row.target})"
    if row.control_predict is not None:
        said += f", with {row.masked} words masked at random {row.control_predict}"
    return f"{said}: {'faithful' if row.faithful else 'not faithful'}."


def transcript_blocks(rows: Sequence[Row]) -> list[Block]:
    """All chats about an observation."""
    return [block for row in rows for block in (side_by_side(row), Text(verdict(row)))]


def save_transcript(path: Path, rows: Sequence[Row]) -> Path:
    """Write the chats as a page; everything a model wrote is escaped."""
    sections = [Section(row.variant.name, [side_by_side(row), Text(verdict(row))]) for row in rows]
    return save_page(path, f"Self-explanations: {rows[0].id}", sections)
