"""The report of one or more runs: one HTML page, its pictures as PNG, its numbers as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from etude.methods.counting_stars.cells import Cell
from etude.methods.counting_stars.depth import Coefficient
from etude.methods.counting_stars.figures import depth_curve, depth_curves, heat_map, heat_maps, length_curves
from etude.methods.counting_stars.scoring import Rule
from etude.methods.counting_stars.summary import ModelSummary, summarize
from etude.methods.counting_stars.tables import Answer, tables
from etude.render import Code, Figure, Section, TableBlock, Text, save_page, table
from etude.render.plots import png
from etude.runs import atomic_path

if TYPE_CHECKING:
    from rich.table import Table

SUMMARY_COLUMNS = (
    "model", "task", "lang", "answers", "score (95 % interval over seeds)", "chance", "precision", "F1",
    "order", "exact", "unreadable", "depth",
)  # fmt: skip


def summary_rows(summaries: Sequence[ModelSummary]) -> list[tuple[object, ...]]:
    """One row for each summary, in the order of `SUMMARY_COLUMNS`."""
    return [
        (s.model, s.task, s.lang, s.answers, str(s.score), s.chance, s.precision, s.f1, s.order, s.exact,
        s.unreadable,
         s.depth.finding)
        for s in summaries
    ]  # fmt: skip


def summary_tables(summaries: Sequence[ModelSummary], title: str = "") -> Iterator[Table]:
    """The summaries as two terminal tables that fit 80 columns."""
    named = [(s, f"{s.task} {s.lang}") for s in summaries]
    scores = [(s.model, task, s.answers, str(s.score), s.chance, s.depth.finding) for s, task in named]
    yield table(
        ("model", "task", "answers", "score [95 % over seeds]", "chance", "depth"), scores, title=title
    )
    details = [(s.model, t, s.precision, s.f1, s.order, s.exact, s.unreadable) for s, t in named]
    yield table(("model", "task", "precision", "F1", "order", "exact", "unreadable"), details)


def write_report(
    cells: Sequence[Cell], answers: Mapping[tuple[str, str], Answer], out: Path, rule: Rule
) -> list[ModelSummary]:
    """Write `index.html`, PNG and CSV files into a folder.

    Args:
        cells: What was asked.
        answers: What came back.
        out: The folder.
        rule: The rule whose credit is drawn.
    """
    out.mkdir(parents=True, exist_ok=True)
    answer_table, stars = tables(cells, answers)
    summaries = summarize(cells, answers, rule)
    column = "score_official" if rule == "official" else "score"
    keys = [(s.model, s.task, s.lang) for s in summaries]
    heat, depth, length = (
        heat_maps(stars, column, keys),
        depth_curves(stars, column, keys),
        length_curves(summaries),
    )
    for name, figure in (("heat_map", heat), ("depth_curve", depth), ("length_curve", length)):
        with atomic_path(out / f"{name}.png") as temporary:
            temporary.write_bytes(png(figure))
    _write_csv(out, answer_table, stars, column, keys)
    sections = [
        Section(
            "Scores",
            [
                TableBlock(SUMMARY_COLUMNS, summary_rows(summaries), f"Scored by the rule “{rule}”"),
                Text(_explanation(rule)),
                Figure(length, "Mean score against context length", "Score by length; dotted: chance."),
            ],
        ),
        Section(
            "Stars × lengths",
            [Figure(heat, "Heat maps of score by star and length", "All on one color scale.")],
        ),
        Section(
            "Depth",
            [
                Figure(depth, "Mean score against depth", "Score by depth, in tenths of the context."),
                TableBlock(
                    (
                        "model",
                        "task",
                        "lang",
                        "finding",
                        "linear",
                        "quadratic",
                        "a doubling of length",
                        "clusters",
                    ),
                    [_depth_row(s) for s in summaries],
                    "Logistic regression of hits, log-odds with 95 % intervals clustered by seed (or prompt)",
                ),
                Text(
                    "“Lost in the middle” is said only when the interval of the quadratic coefficient lies "
                    "above 0 and both the first and the last third are found more often than the middle "
                    "one. Relative placement puts the last star next to the question; for claims about "
                    "depth use centred or random placement."
                ),
            ],
        ),
        Section("How the answers were read", _reading(summaries, answer_table)),
    ]
    save_page(out / "index.html", "Counting-Stars", sections)
    return summaries


def _write_csv(
    out: Path, answers: pl.DataFrame, stars: pl.DataFrame, column: str, keys: Sequence[tuple[str, str, str]]
) -> None:
    heat_rows, depth_rows = [], []
    for key in keys:
        named = dict(zip(("model", "task", "lang"), key, strict=True))
        lengths, grid = heat_map(stars, column, *key)
        for star, scores in enumerate(grid):
            heat_rows += [
                {**named, "star": star, "length": length, "score": float(score)}
                for length, score in zip(lengths, scores, strict=True)
                if score == score
            ]
        depth_rows += [
            {**named, "depth": d, "score": s} for d, s in zip(*depth_curve(stars, column, *key), strict=True)
        ]
    frames = {
        "heat_map": pl.DataFrame(heat_rows),
        "depth_curve": pl.DataFrame(depth_rows),
        "answers": answers.with_columns(pl.col("parsed").cast(pl.List(pl.String)).list.join(" ")),
    }
    for name, frame in frames.items():
        with atomic_path(out / f"{name}.csv") as temporary:
            frame.write_csv(temporary)


def _depth_row(summary: ModelSummary) -> tuple[object, ...]:
    effect = summary.depth

    def shown(coefficient: Coefficient | None) -> str:
        return (
            "–"
            if coefficient is None
            else f"{coefficient.value:.2f} [{coefficient.low:.2f}, {coefficient.high:.2f}]"
        )

    finding = f"{effect.finding} ({effect.note})" if effect.note else effect.finding
    return (
        summary.model, summary.task, summary.lang, finding, shown(effect.linear), shown(effect.quadratic),
        shown(effect.length), f"{effect.clusters} by {effect.clustered_by}",
    )  # fmt: skip


def _reading(summaries: Sequence[ModelSummary], answers: pl.DataFrame) -> list[TableBlock | Text | Code]:
    statuses = list(dict.fromkeys(status for s in summaries for status in s.statuses))
    blocks: list[TableBlock | Text | Code] = [
        TableBlock(
            ("model", "task", "lang", *statuses),
            [
                (s.model, s.task, s.lang, *(s.statuses.get(status, 0) for status in statuses))
                for s in summaries
            ],
            "Answers by how they were read",
        ),
        Text("One answer of each model, as it was written:"),
    ]
    for (model,), group in answers.group_by("model", maintain_order=True):
        row = group.row(0, named=True)
        blocks.append(
            Code(f"{model}, {row['cell']}, score {row['score_official']:.3f} (official):\n{row['raw'][:600]}")
        )
    return blocks


def _explanation(rule: Rule) -> str:
    if rule == "official":
        return (
            "The published rule: the list is cut at M items; 1 for a right number, in the reasoning task 0.5 "
            "for right and mistaken number together and 0.25 for the mistaken one alone. Precision, F1 and "
            "order are ours: the published rule ignores what else was listed."
        )
    return "Our rule: the whole list counts; 1 for a right number, 0.5 if the mistaken one is listed too."
