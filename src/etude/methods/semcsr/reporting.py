"""Pages: what curation kept and dropped, and how encoders compare. All text from data is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.methods.semcsr.curation import Dropped, reasons
from etude.methods.semcsr.results import audit_rows
from etude.methods.semcsr.triple_audit import Audit
from etude.methods.semcsr.triples import Triple
from etude.render import Block, Figure, Section, TableBlock, Text, new_figure, save_page

_SHOWN = 8
_COLUMNS = ("sentence", "positive", "score", "hard negative", "score")


def write_curation_page(
    path: Path,
    rows: Sequence[Triple],
    kept: Sequence[Triple],
    dropped: Sequence[Dropped],
    before: Audit,
    after: Audit,
) -> None:
    """Write the page of a curation."""
    lead = f"{len(kept):,} of {len(rows):,} triples were kept."
    save_page(path, "Curation of triples", curation_sections(kept, dropped, before, after), lead=lead)


def curation_sections(
    kept: Sequence[Triple], dropped: Sequence[Dropped], before: Audit, after: Audit
) -> list[Section]:
    """Audit, histograms, examples of what was kept, and of each reason to drop."""
    sections = [
        Section(
            "Audit", [Text(before.words()), TableBlock(("", "given", "kept"), audit_rows(before, after))]
        ),
        Section("Scores", [_histogram(before)]),
        Section("Kept", [TableBlock(_COLUMNS, [_row(row) for row in kept[:_SHOWN]])]),
    ]
    for reason, count in reasons(dropped).items():
        examples = [_row(one.triple) for one in dropped if one.reason == reason][:_SHOWN]
        sections.append(
            Section(f"Dropped: {reason}", [TableBlock(_COLUMNS, examples, f"{count:,} rows")], level=3)
        )
    return sections


def _row(triple: Triple) -> tuple[Any, ...]:
    return (triple.sent0, triple.sent1, triple.positive_score, triple.hard_neg, triple.negative_score)


def _histogram(found: Audit) -> Block:
    figure, axes = new_figure(5.2, 2.6)
    places = range(5)
    axes.bar([i - 0.2 for i in places], found.positive_histogram, 0.4, label="positives")
    axes.bar([i + 0.2 for i in places], found.negative_histogram, 0.4, label="hard negatives")
    axes.set_xticks(list(places), ["0-1", "1-2", "2-3", "3-4", "4-5"])
    axes.set_xlabel("similarity to the sentence")
    axes.set_ylabel("rows")
    axes.legend()
    return Figure(figure, "Histogram of the scores of positives and hard negatives")


def evaluation_sections(
    sts: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
    transfer: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> list[Section]:
    """Correlations, differences and transfer tasks."""
    sections = []
    for heading, rows in (("Similarity", sts), ("Differences", differences), ("Transfer", transfer)):
        if rows:
            sections.append(Section(heading, [_table(rows)]))
    if differences:
        sections[-1 if not transfer else -2] = Section(
            "Differences", [_table(differences), _plot(differences)]
        )
    if notes:
        sections.append(Section("Notes", [Text(note) for note in notes]))
    return sections


def _table(rows: Sequence[Mapping[str, Any]]) -> TableBlock:
    return TableBlock(list(rows[0]), [list(row.values()) for row in rows])


def _plot(rows: Sequence[Mapping[str, Any]]) -> Block:
    figure, axes = new_figure(5.4, 0.9 + 0.4 * len(rows))
    for at, row in enumerate(rows):
        axes.plot([row["low"], row["high"]], [at, at], lw=2, color="C0")
        axes.plot([row["difference"]], [at], "o", ms=5, color="C0")
    axes.axvline(0, color="0.4", lw=1, ls="--")
    axes.set_yticks(range(len(rows)), [f"against {row['against']}, {row['file']}" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("difference in Spearman x 100, 95 % interval over pairs")
    return Figure(figure, "Differences in correlation with their intervals")
