"""Rates as tables: on a terminal, in Markdown, as JSON and as a page with a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from etude.evidence import Interval
from etude.evidence.evidence import finite
from etude.methods.self_explanations.rates import Cell
from etude.methods.self_explanations.wordings import WORDING_VERSION, wording_hash
from etude.render import Figure, Section, TableBlock, Text, new_figure, save_page
from etude.render.terminal import cell as as_text
from etude.runs import write_json, write_text

SCOPE = (
    "A rate says how often an explanation predicts what the same model does in a fresh conversation, for "
    "this model, task and wording. It says nothing about chain-of-thought: reasoning that precedes an "
    "answer is another matter."
)
HOW = (
    "Counted: right first answers (condition correct) all of whose answers could be read. Control: as many "
    "words masked at random places. Delta = faithfulness - control, over the same texts: what a model that "
    "says unknown at any mask cannot earn. Flips: another answer than the first."
)


def rate_table(cells: Sequence[Cell]) -> TableBlock:
    """The rates, one row for each cell."""
    rows = [
        (
            cell.model,
            cell.variant,
            f"{cell.counted}/{cell.correct}/{cell.n}",
            _shown(cell.faithfulness),
            None if cell.control is None else cell.control.value,
            _shown(cell.delta),
            cell.p_adjusted,
            cell.flip,
        )
        for cell in cells
    ]
    columns = ("model", "explanation", "counted", "faithfulness", "control", "Delta", "p", "flips")
    caption = "Faithfulness with 95 % intervals (counted / right / asked); p of Delta, Holm-corrected"
    return TableBlock(columns, rows, caption)


def detail_table(cells: Sequence[Cell]) -> TableBlock:
    """What was dropped, what the explanations look like, what they cost."""
    rows = [
        (
            cell.model,
            cell.variant,
            "/".join(str(count) for count in cell.mismatch.values()),
            cell.errors,
            cell.masked_share,
            cell.edit_ratio,
            cell.changed,
            cell.violations,
            None if cell.reference is None else cell.reference.value,
            cell.tokens,
            round(cell.seconds, 1),
        )
        for cell in cells
    ]
    columns = (
        "model", "explanation", "unread", "errors", "masked", "edits", "changed", "violations", "occlusion",
        "tokens", "s",
    )  # fmt: skip
    return TableBlock(columns, rows, "Unread answers in chat 1, 2, 3; means over what is counted")


def read_as(cells: Sequence[Cell]) -> str:
    """How labels were read and which answers count, in words."""
    modes = sorted({f"labels: {cell.answers}, condition: {cell.condition}" for cell in cells})
    return f"{'; '.join(modes)}; wording {WORDING_VERSION} ({wording_hash()})"


def warnings_of(cells: Sequence[Cell]) -> list[str]:
    """Every warning, with its cell."""
    return [f"{cell.model}, {cell.variant}: {warning}" for cell in cells for warning in cell.warnings]


def write_reports(cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Write `report.json`, `report.md` and `report.html` into a folder."""
    paths = [folder / f"report.{suffix}" for suffix in ("json", "md", "html")]
    write_json(paths[0], {"wording": wording_hash(), "cells": [finite(asdict(cell)) for cell in cells]})
    write_text(paths[1], _markdown(cells))
    drawn = [cell for cell in cells if cell.faithfulness is not None]
    save_page(
        paths[2],
        "Self-explanations: are they faithful?",
        [
            Section("Rates", [rate_table(cells), *(Text(f"Warning: {line}") for line in warnings_of(cells)),
                              Text(HOW)]),
            *([Section("Picture", [_figure(drawn)])] if drawn else []),
            Section("Details", [detail_table(cells), Text(read_as(cells)), Text(SCOPE)]),
        ],
    )  # fmt: skip
    return paths


def _figure(drawn: Sequence[Cell]) -> Figure:
    figure, axes = new_figure(6.4, 1.2 + 0.42 * len(drawn))
    for name, color, shift in (("faithfulness", "C0", -0.12), ("control", "C1", 0.12)):
        found = [(row, getattr(cell, name)) for row, cell in enumerate(drawn)]
        found = [(row, interval) for row, interval in found if interval is not None]
        if found:
            axes.errorbar(
                [interval.value for _, interval in found],
                [row + shift for row, _ in found],
                xerr=[
                    [max(i.value - i.low, 0) for _, i in found],
                    [max(i.high - i.value, 0) for _, i in found],
                ],
                fmt="o",
                color=color,
                label=name if name == "faithfulness" else "random words",
            )
    axes.set_yticks(range(len(drawn)), [f"{cell.model}: {cell.task}, {cell.variant}" for cell in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share of explanations that are faithful")
    figure.legend(loc="outside upper center", ncols=2)
    return Figure(figure, "Faithfulness and its random control with 95 % intervals")


def _markdown(cells: Sequence[Cell]) -> str:
    def table(block: TableBlock) -> str:
        def line(values: Sequence[Any]) -> str:
            return "| " + " | ".join(as_text(v).replace("|", r"\|").replace("\n", " ") for v in values) + " |"

        rule = "|" + "---|" * len(block.columns)
        return "\n".join([block.caption, "", line(block.columns), rule, *map(line, block.rows)])

    warnings = [f"- Warning: {line}" for line in warnings_of(cells)]
    tables = table(rate_table(cells)), table(detail_table(cells))
    parts = ["# Self-explanations", tables[0], *warnings, HOW, tables[1], read_as(cells), SCOPE]
    return "\n\n".join(parts) + "\n"


def _shown(interval: Interval | None) -> str | None:
    return None if interval is None else str(interval)
