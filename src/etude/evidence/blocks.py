"""Evidence as blocks: the arms table, the findings, the paired-difference plot, where it was run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etude.evidence.evidence import Evidence, Finding, PartFinding
from etude.render import Block, Figure, Section, TableBlock, Text, new_figure

_ARROW = {"lower": "↓", "higher": "↑"}


def evidence_blocks(evidence: Evidence) -> list[Block]:
    """What a terminal shows: arms, facts, findings, and last, where the eye is, verdicts and notes."""
    blocks: list[Block] = [Text(evidence.statement), arms_table(evidence), *facts_tables(evidence)]
    blocks += extra_tables(evidence)
    blocks += [findings_table(part) for part in evidence.parts]
    blocks.append(verdict_table(evidence))
    blocks += [Text(f"Note: {note}") for note in evidence.notes]
    return blocks


def evidence_sections(evidence: Evidence, figures: Sequence[Block] = ()) -> list[Section]:
    """What a page shows, part by part, with plots and provenance."""
    head = Section(
        evidence.name,
        [
            Text(evidence.statement),
            *(Text(note) for note in evidence.notes),
            arms_table(evidence),
            *facts_tables(evidence),
        ],
    )
    parts = [
        Section(
            f"{part.name}: {part.statement}",
            [findings_table(part), *difference_plots(part)],
            tag=part.verdict,
            level=3,
        )
        for part in evidence.parts
    ]
    details: list[Block] = [*extra_tables(evidence), *figures, provenance_table(evidence)]
    return [head, *parts, Section("Details and provenance", details, level=3)]


def verdict_table(evidence: Evidence) -> TableBlock:
    """Part, statement, verdict."""
    rows = [(part.name, part.statement, part.verdict) for part in evidence.parts]
    return TableBlock(("part", "statement", "verdict"), rows, f"{evidence.name}: verdicts")


def arms_table(evidence: Evidence) -> TableBlock:
    """Every arm with its means over units and seeds, and its standard deviation over seeds."""
    metrics = list(evidence.metrics)
    rows: list[list[Any]] = []
    for arm in evidence.arms:
        row: list[Any] = [arm.name]
        for metric in metrics:
            row.append(arm.mean(metric))
            row.append(arm.spread(metric))
        row.append(", ".join(f"seed {s}: {e}" for s, e in arm.errors.items()) or len(arm.measurements))
        rows.append(row)
    header = ["arm"]
    for metric in metrics:
        header += [f"{metric} {_ARROW[evidence.metrics[metric]]}", "± seeds"]
    header.append("runs")
    seeds = ", ".join(map(str, evidence.seeds))
    return TableBlock(header, rows, f"Arms, mean over units and standard deviation over seeds {seeds}")


def facts_tables(evidence: Evidence) -> list[TableBlock]:
    """What else the arms recorded: the claim's columns, if it has any."""
    if not evidence.columns:
        return []
    rows = [[arm.name, *(arm.fact(column) for column in evidence.columns)] for arm in evidence.arms]
    return [TableBlock(("arm", *evidence.columns), rows, "Facts of each arm, mean over seeds")]


def findings_table(part: PartFinding) -> TableBlock:
    """Every entry of a part with value, interval, p-values, verdict."""
    rows = [
        (
            f.statement,
            f.value,
            f"{f.low:.4g} to {f.high:.4g}" if f.low is not None and f.high is not None else None,
            f.p_adjusted,
            f.units or None,
            f.verdict + (f" ({f.detail})" if f.detail else ""),
        )
        for f in part.findings
    ]
    columns = ("entry", "difference", "95 % interval", "p (Holm)", "units", "verdict")
    return TableBlock(columns, rows, f"Part {part.name}: {part.verdict}")


def difference_plots(part: PartFinding) -> list[Block]:
    """One plot per metric: each comparison's paired difference with its interval and its seeds."""
    plots: list[Block] = []
    for metric in dict.fromkeys(
        f.metric for f in part.findings if f.kind == "comparison" and f.low is not None
    ):
        plots.append(
            _difference_plot(metric, [f for f in part.findings if f.metric == metric and f.low is not None])
        )
    return plots


def _difference_plot(metric: str, findings: Sequence[Finding]) -> Figure:
    figure, axes = new_figure(5.6, 1.0 + 0.42 * len(findings))
    for row, finding in enumerate(findings):
        axes.plot([finding.low, finding.high], [row, row], color="C0", lw=2)
        axes.plot(list(finding.by_seed.values()), [row] * len(finding.by_seed), "|", color="C1", ms=9)
        axes.plot([finding.value], [row], "o", color="C0", ms=5)
    axes.axvline(0, color="0.4", lw=1, ls="--")
    axes.set_yticks(
        range(len(findings)), [f"{f.arm} – {f.baseline}" if f.arm else f.statement for f in findings]
    )
    axes.set_ylim(len(findings) - 0.5, -0.5)
    axes.set_xlabel(
        f"paired difference in {metric} ({findings[0].better} is better); bars: 95 %, ticks: seeds"
    )
    return Figure(figure, f"Paired differences in {metric} with 95 % intervals")


def extra_tables(evidence: Evidence) -> list[TableBlock]:
    """The claim's own tables, as stored."""
    return [TableBlock(t["columns"], t["rows"], t["caption"]) for t in evidence.tables]


def provenance_table(evidence: Evidence) -> TableBlock:
    """Date, seconds, machine, versions, configuration."""
    p = evidence.provenance
    rows = [
        ("date", p.get("date")),
        ("measuring", f"{p.get('seconds')} s"),
        ("machine", ", ".join(f"{k} {v}" for k, v in p.get("host", {}).items())),
        ("versions", ", ".join(f"{k} {v}" for k, v in p.get("versions", {}).items())),
        *((f"config: {key}", str(value)[:200]) for key, value in evidence.config.items()),
    ]
    return TableBlock(("", "provenance"), rows)
