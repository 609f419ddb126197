"""The verbs that compare labels that are there: agree, rank, ensemble, monitor. No model is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.data import write_records
from etude.errors import EtudeError
from etude.evidence import Interval
from etude.methods import verb
from etude.methods.relevance.agreement import Agreement, agreement
from etude.methods.relevance.circularity import Circularity, circularity
from etude.methods.relevance.drift import MonitorResult, monitor_batches
from etude.methods.relevance.labels import (
    Rule,
    joined,
    read_label_grades,
    read_labels,
)
from etude.methods.relevance.system_ranking import Unjudged, system_ranking
from etude.methods.relevance.trec import parse_grade_map, read_qrels, read_runs, write_qrels
from etude.render import Section, TableBlock, Text, save_page, show

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class AgreeResult:
    """Agreement, and the labels that are no grade.

    Args:
        agreement: On the shared pairs.
        unusable: Status to number of labels that are no grade; empty for qrels, which do not say.
    """

    agreement: Agreement
    unusable: dict[str, int]

    def __rich__(self) -> RenderableType:
        """The agreement, then what was left out for its status."""
        from rich.console import Group

        counts = ", ".join(f"{count} {status}" for status, count in self.unusable.items())
        return Group(self.agreement, *([show(Text(f"labels that are no grade: {counts}"))] if counts else []))


@dataclass(frozen=True)
class MeasureResult:
    """One measure's rankings under gold and labels.

    Args:
        measure: Its name in ir-measures.
        tau: Kendall's tau-b between the two rankings of the runs.
        rbo: Rank-biased overlap of them, p = 0.9.
        queries: Queries that both judged.
        hard_query_rbo: Rank-biased overlap of the queries by difficulty.
        hard_query_overlap: Share of the ten hardest queries in common.
        unjudged_gold: Share of ranked documents without gold down to the cut-off.
        unjudged_labels: The same for labels.
        circularity: Rank under gold minus rank under labels of every run.
    """

    measure: str
    tau: Interval | None
    rbo: float
    queries: int
    hard_query_rbo: float
    hard_query_overlap: float
    unjudged_gold: float
    unjudged_labels: float
    circularity: Circularity


@dataclass(frozen=True)
class RankResult:
    """How gold and labels rank the systems.

    Args:
        measures: One entry for each measure.
        kappa: Agreement of the same labels, to be read beside the rankings.
        page: The HTML page, if asked for.
    """

    measures: list[MeasureResult]
    kappa: Interval | None
    page: str | None = None

    def __rich__(self) -> RenderableType:
        """The summary, then the runs of each measure."""
        from rich.console import Group

        drawn: list[Any] = [show(block) for block in self.blocks()]
        return Group(*drawn, *([show(Text(f"page: {self.page}"))] if self.page else []))

    def blocks(self) -> list[Any]:
        """The tables."""
        summary = [
            (
                m.measure,
                "undefined" if m.tau is None else str(m.tau),
                m.rbo,
                m.hard_query_rbo,
                f"{m.hard_query_overlap:.0%}",
                f"{m.unjudged_gold:.1%}",
                f"{m.unjudged_labels:.1%}",
            )
            for m in self.measures
        ]
        columns = (
            "measure", "Kendall tau", "RBO 0.9", "hard queries RBO", "ten hardest", "no gold", "no label",
        )  # fmt: skip
        queries = self.measures[0].queries if self.measures else 0
        blocks: list[Any] = [
            TableBlock(columns, summary, f"Systems under gold and under labels, {queries} queries"),
            Text(f"kappa of the same labels: {self.kappa or 'undefined'} (it can be low while tau is high)"),
        ]
        for m in self.measures:
            shifts = [
                (s.run, s.gold_rank, s.label_rank, f"{s.gain:+d}", "shares a model" if s.shares_model else "")
                for s in m.circularity.shifts
            ]
            caption = f"{m.measure}: rank under gold, under labels, and what the labels give"
            blocks.append(TableBlock(("run", "gold", "labels", "gain", "circular?"), shifts, caption))
            if m.circularity.lift is not None:
                blocks.append(
                    Text(f"runs that share a model gain {m.circularity.lift} ranks more than the others")
                )
        return blocks


@dataclass(frozen=True)
class EnsembleResult:
    """Joined labels.

    Args:
        out: The qrels; the JSONL lies beside it.
        judges: How many label sets were joined.
        labels: Usable joined labels.
        unusable: Pairs without one.
    """

    out: str
    judges: int
    labels: int
    unusable: int

    def __rich__(self) -> RenderableType:
        """One line."""
        return show(
            Text(f"{self.labels:,} labels of {self.judges} judges, {self.unusable} pairs without: {self.out}")
        )


@verb
def agree(
    gold: Path, labels: Path, *, binarize: int = 1, grade_map: str | None = None, label_map: str | None = None
) -> AgreeResult:
    """Agreement of labels with gold: kappa with prevalence, AUC, MAE, intervals by query.

    Args:
        gold: TREC qrels (qid 0 docid grade).
        labels: Qrels, or the JSONL that label writes (which also knows unusable answers).
        binarize: Grades from here on count as relevant.
        grade_map: Codes of the gold to ascending grades, as 1:2,2:2,3:1,4:1,-1:0.
        label_map: The same for the labels.

    Raises:
        EtudeError: A file is malformed, codes are no ascending grades, or no pair is shared.
    """
    codes = None if grade_map is None else parse_grade_map(grade_map)
    other = None if label_map is None else parse_grade_map(label_map)
    grades, dropped = read_label_grades(labels, other)
    return AgreeResult(agreement(read_qrels(gold, codes), grades, binarize=binarize), dropped)


@verb
def rank(
    *,
    runs: str,
    gold: Path,
    labels: Path,
    measures: str = "nDCG@10,P@10,AP@100",
    unjudged: Unjudged | None = None,
    shared: str = "",
    binarize: int = 1,
    grade_map: str | None = None,
    out: Path | None = None,
) -> RankResult:
    """Rank systems with gold and with labels: tau, RBO, hard queries, and which run the labels favor.

    Args:
        runs: TREC runs: a pattern in quotes ('runs/*.trec') or a folder; a run's name is its file's.
        gold: Qrels.
        labels: Qrels, or the JSONL that label writes.
        measures: Names of ir-measures, with commas.
        unjudged: Ranked documents without a judgement: condensed drops them, zero counts them as not
            relevant. Must be chosen where there are any.
        shared: Runs that share a model with the labeller: names or patterns with commas ('minilm*,*hybrid*').
        binarize: For kappa.
        grade_map: Codes of the gold to ascending grades.
        out: Also write a page (.html).

    Raises:
        EtudeError: A file is malformed, runs and labels do not overlap, or unjudged documents need a choice.
    """
    codes = None if grade_map is None else parse_grade_map(grade_map)
    judged, (found, _) = read_qrels(gold, codes), read_label_grades(labels)
    whole = {pair: int(grade + 0.5) for pair, grade in found.items()}
    systems = read_runs(runs)
    names = [name.strip() for name in measures.split(",") if name.strip()]
    patterns = [pattern for pattern in shared.split(",") if pattern.strip()]
    rankings = system_ranking(systems, judged, whole, names, unjudged=unjudged)
    result = RankResult(
        [
            MeasureResult(
                r.measure, r.tau(), r.rbo, len(r.queries), r.hard_query_rbo, r.hard_query_overlap,
                r.unjudged_gold, r.unjudged_labels, circularity(r, patterns),
            )
            for r in rankings
        ],
        agreement(judged, found, binarize=binarize).kappa,
    )  # fmt: skip
    if out is not None:
        save_page(out, "Systems under gold and labels", [Section("Rankings", result.blocks())])
        return RankResult(result.measures, result.kappa, str(out))
    return result


@verb
def ensemble(labels: tuple[Path, ...], *, out: Path, rule: Rule = "median") -> EnsembleResult:
    """Join the labels of several models or prompts into one label for each pair.

    Args:
        labels: JSONL files that label wrote; a pair needs a usable label of more than half of them.
        out: The joined qrels; a JSONL lies beside it.
        rule: median, mean, or majority (ties to the lower grade).

    Raises:
        EtudeError: Fewer than two files, or one is malformed.
    """
    if len(labels) < 2:
        raise EtudeError("an ensemble of fewer than two", "Give at least two JSONL files that label wrote.")
    given = [{(one.qid, one.docid): one for one in read_labels(path)} for path in labels]
    pairs = sorted({pair for one in given for pair in one})
    name = f"{rule}({', '.join(path.stem for path in labels)})"
    made = []
    for qid, docid in pairs:
        blank = next(one[qid, docid] for one in given if (qid, docid) in one).model_copy(
            update={"status": "unparsed", "O": None}
        )
        made.append(joined([one.get((qid, docid), blank) for one in given], rule, name))
    usable_ones = [one for one in made if one.usable]
    write_records(out.with_suffix(".jsonl"), made)
    write_qrels(out, ((one.qid, one.docid, one.grade) for one in usable_ones))
    return EnsembleResult(str(out), len(labels), len(usable_ones), len(made) - len(usable_ones))


@verb
def monitor(
    gold: Path, labels: tuple[Path, ...], *, binarize: int = 1, grade_map: str | None = None
) -> MonitorResult:
    """Watch a labeller: the same gold probes in every batch, compared with the first; alarm on drift.

    Args:
        gold: Qrels of the probes, which label --probes has mixed into every batch.
        labels: JSONL of the batches, oldest first.
        binarize: Grades from here on count as relevant.
        grade_map: Codes of the gold to ascending grades.

    Raises:
        EtudeError: A file is malformed, or a batch holds no probe.
    """
    if not labels:
        raise EtudeError("no batch of labels", "Give the JSONL files that label wrote, oldest first.")
    codes = None if grade_map is None else parse_grade_map(grade_map)
    return monitor_batches(
        read_qrels(gold, codes), [(path.stem, read_labels(path)) for path in labels], binarize
    )
