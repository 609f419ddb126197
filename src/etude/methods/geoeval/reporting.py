"""The report of one or more runs: one HTML page, and its rows as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.methods.geoeval.baselines import chance_level
from etude.methods.geoeval.items import Item
from etude.methods.geoeval.summary import (
    GROUPINGS,
    ArmSummary,
    PairedTest,
    Rule,
    arm_labels,
    arms_of,
    paired_tests,
    summarize,
)
from etude.methods.geoeval.tables import Responses, result_table
from etude.render import Code, Figure, Section, TableBlock, Text, new_figure, save_page, table
from etude.render.plots import COLORS
from etude.runs import atomic_path

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

_HEADINGS = {
    "subset": "by subset",
    "source": "by source",
    "diagram": "by form of the problem",
    "complexity": "by complexity (thirds of question and solution length)",
    "step_band": "by theorem steps of a known solution",
    "knowledge": "by need of knowledge from outside",
}
_SHOWN = 1_500
_EXAMPLES = 3


def summary_tables(
    summaries: Sequence[ArmSummary], tests: Sequence[PairedTest] = (), *, groups: bool = False
) -> Iterator[Table]:
    """Accuracies of the arms, with the groups and tests if asked for, as terminal tables."""
    title = (
        ""
        if not summaries or summaries[0].rule == "symmetric"
        else "Scored by the released, one-sided comparison"
    )
    yield table(*_overall(summaries), title=title)
    if groups:
        for name in GROUPINGS:
            columns, rows = _grouped(summaries, name)
            if len(columns) > 2:
                yield table(columns, rows, title=f"Accuracy {_HEADINGS[name]}")
    if tests:
        yield table(*_tested(tests), title="Paired tests (McNemar, exact; p after Holm)")


def write_report(items: Sequence[Item], responses: Responses, out: Path, rule: Rule) -> list[ArmSummary]:
    """Write `index.html` and `results.csv` into a folder.

    Args:
        items: What was asked.
        responses: What came back.
        out: The folder.
        rule: The scorer.
    """
    results = result_table(items, responses)
    summaries, tests = summarize(results, rule), paired_tests(results, rule)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_path(out / "results.csv") as temporary:
        results.write_csv(temporary)
    columns, rows = _overall(summaries)
    bars = Figure(_bars(summaries), "Accuracy of each arm with its interval", "Bars: 95 % Wilson intervals.")
    sections = [
        Section("Accuracy", [TableBlock(columns, rows), bars, *_remarks(items, results, rule)]),
    ]
    if groups := list(_group_tables(summaries)):
        sections.append(Section("By group", groups))
    if tests:
        note = (
            "Only pairs in which just one of the two is right tell anything. A subset is paired with the "
            "problems it was built from."
        )
        caption = "McNemar's exact test; p after Holm"
        sections.append(Section("Paired tests", [TableBlock(*_tested(tests), caption), Text(note)]))
    sections.append(Section("How the answers were read", list(_reading(results))))
    save_page(out / "index.html", "GeoEval", sections, lead=f"{len(items)} problems, {len(summaries)} arms.")
    return summaries


def _overall(summaries: Sequence[ArmSummary]) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    columns = ("model", "input", "method", "problems", "accuracy [95 %]", "no answer", "tokens")
    rows = []
    for s in summaries:
        unread = s.accuracy.items - s.statuses.get("answered", 0)
        rows.append((s.model, s.input, s.method, s.accuracy.items, str(s.accuracy), unread, s.tokens))
    return columns, rows


def _grouped(summaries: Sequence[ArmSummary], name: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    names = list(dict.fromkeys(group for s in summaries for group in s.groups[name]))
    rows = [
        (label, *(_cell(s.groups[name].get(group)) for group in names))
        for label, s in zip(_labels(summaries), summaries, strict=True)
    ]
    return ["arm", *names], rows


def _labels(summaries: Sequence[ArmSummary]) -> list[str]:
    return list(arm_labels([(s.model, s.input, s.method) for s in summaries]).values())


def _cell(accuracy: Any) -> str:
    if accuracy is None:
        return "–"
    return f"{accuracy.share:.1%} of {accuracy.items} [{100 * accuracy.low:.0f}, {100 * accuracy.high:.0f}]"


def _tested(tests: Sequence[PairedTest]) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    columns = ("first", "second", "pairs", "only first", "only second", "difference", "p")
    rows = [
        (
            t.first,
            t.second,
            t.pairs,
            t.only_first,
            t.only_second,
            f"{100 * t.difference:+.1f} points",
            t.p_adjusted,
        )
        for t in tests
    ]
    return columns, rows


def _group_tables(summaries: Sequence[ArmSummary]) -> Iterator[TableBlock]:
    for name in GROUPINGS:
        columns, rows = _grouped(summaries, name)
        if len(columns) > 2:
            yield TableBlock(columns, rows, f"Accuracy {_HEADINGS[name]}")


def _bars(summaries: Sequence[ArmSummary]) -> Any:
    figure, axes = new_figure(height=0.9 + 0.42 * len(summaries))
    for place, summary in enumerate(reversed(summaries)):
        share, low, high = summary.accuracy.share, summary.accuracy.low, summary.accuracy.high
        axes.errorbar(
            [share], [place], xerr=[[max(share - low, 0)], [max(high - share, 0)]], fmt="o", color=COLORS[0]
        )
    names = [label[:60] for label in reversed(_labels(summaries))]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xlabel("accuracy")
    return figure


def _remarks(items: Sequence[Item], results: pl.DataFrame, rule: Rule) -> Iterator[Text]:
    if rule == "released":
        yield Text(
            "Scored by the published script's comparison, prediction − answer < 0.001 without an absolute "
            "value: any small enough number counts as right. Do not compare models by it."
        )
    else:
        yield Text(
            "An answer is right within 0.001 or 0.5 % of a gold answer that was written with decimals, "
            "within one millionth of an exact one, in both directions."
        )
    if chance := chance_level(items):
        yield Text(f"Random choices would be right in {chance:.1%} of the problems that have choices.")
    if "text" in results["input"] and results["diagram"].any():
        yield Text(
            "With the input “text”, what stands only in a diagram is not shown: on those problems the "
            "accuracy measures guessing."
        )


def _reading(results: pl.DataFrame) -> Iterator[TableBlock | Text | Code]:
    statuses = results["status"].unique(maintain_order=True).to_list()
    rows = []
    arms = arms_of(results)
    for name, group in arms.items():
        counts = dict(group["status"].value_counts().iter_rows())
        rows.append((name, *(counts.get(status, 0) for status in statuses)))
    yield TableBlock(("arm", *statuses), rows, "Responses by how they were read")
    yield Text("Some responses of each arm, as they were written:")
    for name, group in arms.items():
        for row in group.head(_EXAMPLES).iter_rows(named=True):
            verdict = "right" if row["correct"] else "wrong"
            heading = f"{name}, {row['id']}: read {row['pred']!r}, gold {row['gold']!r}, {verdict}"
            yield Code(f"{heading}\n{row['response'][:_SHOWN]}")
