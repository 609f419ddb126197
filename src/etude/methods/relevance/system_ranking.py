"""Systems scored with gold and with labels: do both rank them alike? Measures are those of ir-measures.

Documents without a judgement are never a silent zero: the user chooses to drop them from the rankings
(condensed) or to count them as not relevant (zero), and their share at the cut-off is printed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.evidence import Interval
from etude.methods.relevance.rank_overlap import PERSISTENCE, ranks, rbo
from etude.methods.relevance.trec import SystemRun

Unjudged: TypeAlias = Literal["condensed", "zero"]
Grades: TypeAlias = Mapping[tuple[str, str], int]
HARDEST = 10
"""Of how many hardest queries the overlap is given."""


@dataclass(frozen=True)
class SystemRanking:
    """Systems under gold and labels by one measure.

    Args:
        measure: Its name in ir-measures.
        runs: Names.
        queries: Ids.
        gold: Score of each run and query with gold, (runs, queries).
        labels: The same with labels.
        unjudged_gold: Share of ranked documents without gold, down to the measure's cut-off.
        unjudged_labels: The same for labels.
    """

    measure: str
    runs: list[str]
    queries: list[str]
    gold: NDArray[np.float64]
    labels: NDArray[np.float64]
    unjudged_gold: float
    unjudged_labels: float

    @property
    def gold_scores(self) -> dict[str, float]:
        """Run to mean score with gold."""
        return dict(zip(self.runs, self.gold.mean(1).tolist(), strict=True))

    @property
    def label_scores(self) -> dict[str, float]:
        """Run to mean score with labels."""
        return dict(zip(self.runs, self.labels.mean(1).tolist(), strict=True))

    @property
    def rbo(self) -> float:
        """Rank-biased overlap of the two rankings of the runs, p = 0.9."""
        return rbo(_rounded(self.gold_scores), _rounded(self.label_scores))

    @property
    def hard_query_rbo(self) -> float:
        """Rank-biased overlap of the queries, the hardest (lowest mean over the runs) first, p = 0.9."""
        return rbo(*self._difficulty())

    @property
    def hard_query_overlap(self) -> float:
        """Share of the hardest queries under gold that are among the hardest under labels."""
        gold, labels = (
            sorted(d, key=lambda q, d=d: (-d[q], q))[:HARDEST]  # type: ignore[misc]
            for d in self._difficulty()
        )
        return len(set(gold) & set(labels)) / len(gold)

    def tau(self, resamples: int = 999) -> Interval | None:
        """Kendall's tau-b between the rankings of the runs, with its bootstrap interval over queries.

        None where all runs have the same score under one of the two.
        """
        value = kendall_tau(self.gold.mean(1), self.labels.mean(1))
        if not np.isfinite(value):
            return None
        if len(self.queries) < 2:
            return Interval(value, -np.inf, np.inf)
        index = np.random.default_rng(0).integers(len(self.queries), size=(resamples, len(self.queries)))
        found = [kendall_tau(self.gold[:, i].mean(1), self.labels[:, i].mean(1)) for i in index]
        low, high = np.nanpercentile(found, [2.5, 97.5])
        return Interval(value, float(low), float(high))

    def _difficulty(self) -> tuple[dict[str, float], dict[str, float]]:
        return (
            _rounded(dict(zip(self.queries, (-self.gold.mean(0)).tolist(), strict=True))),
            _rounded(dict(zip(self.queries, (-self.labels.mean(0)).tolist(), strict=True))),
        )

    def rank_pairs(self) -> tuple[dict[str, int], dict[str, int]]:
        """Run to rank under gold, and under labels."""
        return ranks(_rounded(self.gold_scores)), ranks(_rounded(self.label_scores))


def system_ranking(
    runs: Sequence[SystemRun],
    gold: Grades,
    labels: Grades,
    measures: Sequence[str],
    *,
    unjudged: Unjudged | None = None,
) -> list[SystemRanking]:
    """Score runs with gold and with labels, on the queries that have both.

    Args:
        runs: The systems.
        gold: (qid, docid) to grade.
        labels: (qid, docid) to grade.
        measures: Names in ir-measures: nDCG@10, P@10, AP@100.
        unjudged: What to do with ranked documents that have no judgement; may be left out only if there are
            none.

    Returns:
        One ranking for each measure.

    Raises:
        EtudeError: No shared query, no overlap of runs and labels, an unknown measure, or unjudged documents
            and no choice.
    """
    queries = sorted({q for q, _ in gold} & {q for q, _ in labels})
    if not queries:
        raise EtudeError("gold and labels share no query", "Check the query ids of both files.")
    for run in runs:
        if not any((q, d) in labels for q in queries for d in run.scores.get(q, ())):
            raise EtudeError(
                f"run {run.name}: none of its documents is labelled",
                "Check the ids, or label the pool of this run first (label --pairs RUN).",
            )
    found = []
    for name in measures:
        measure = parse_measure(name)
        cutoff = cutoff_of(name)
        shares = {
            kind: unjudged_share(runs, queries, judged, cutoff)
            for kind, judged in (("gold", gold), ("labels", labels))
        }
        if unjudged is None and max(shares.values()) > 0:
            raise EtudeError(
                f"{name}: {shares['gold']:.1%} of the ranked documents have no gold, "
                f"{shares['labels']:.1%} no label",
                "Choose --unjudged condensed (drop them) or --unjudged zero (not relevant).",
            )
        scores = {
            kind: score_runs(runs, queries, judged, measure, condensed=unjudged == "condensed")
            for kind, judged in (("gold", gold), ("labels", labels))
        }
        found.append(
            SystemRanking(
                name,
                [run.name for run in runs],
                queries,
                scores["gold"],
                scores["labels"],
                shares["gold"],
                shares["labels"],
            )
        )
    return found


def score_runs(
    runs: Sequence[SystemRun], queries: Sequence[str], grades: Grades, measure: Any, *, condensed: bool
) -> NDArray[np.float64]:
    """Score of each run and query, (runs, queries); a query that a run does not answer scores 0."""
    import ir_measures

    wanted = set(queries)
    qrels: dict[str, dict[str, int]] = {}
    for (qid, docid), grade in grades.items():
        if qid in wanted:
            qrels.setdefault(qid, {})[docid] = int(grade)
    place = {qid: number for number, qid in enumerate(queries)}
    found = np.zeros((len(runs), len(queries)))
    evaluator = ir_measures.evaluator([measure], qrels)
    for number, run in enumerate(runs):
        ranked = {
            qid: {d: s for d, s in run.scores[qid].items() if not condensed or d in qrels[qid]}
            for qid in queries
            if qid in run.scores
        }
        for metric in evaluator.iter_calc({qid: docs for qid, docs in ranked.items() if docs}):
            found[number, place[metric.query_id]] = metric.value
    return found


def parse_measure(name: str) -> Any:
    """A measure of ir-measures by its name.

    Raises:
        EtudeError: There is none, or ir-measures is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise EtudeError("ranking needs ir-measures", "pip install 'etude[retrieval]'") from error
    try:
        return ir_measures.parse_measure(name)
    except (NameError, ValueError, SyntaxError, TypeError, KeyError, AttributeError) as error:
        raise EtudeError(f"no measure {name!r}", "Name one of ir-measures: nDCG@10, P@10, AP@100.") from error


def cutoff_of(name: str) -> int | None:
    """The k of a measure's name, if it has one."""
    found = re.search(r"@(\d+)$", name)
    return int(found[1]) if found else None


def unjudged_share(
    runs: Sequence[SystemRun], queries: Sequence[str], grades: Grades, cutoff: int | None
) -> float:
    """Share of ranked documents, down to a cut-off, that have no judgement, over all runs."""
    seen = missing = 0
    for run in runs:
        for qid in queries:
            for docid in run.ranked(qid)[:cutoff]:
                seen += 1
                missing += (qid, docid) not in grades
    return missing / seen if seen else 0.0


def kendall_tau(first: Any, second: Any) -> float:
    """Kendall's tau-b of two lists of scores."""
    from scipy.stats import kendalltau

    return float(kendalltau(np.round(first, 12), np.round(second, 12)).statistic)


def _rounded(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores without the last bits, which differ between equal means."""
    return {name: round(score, 12) for name, score in scores.items()}


__all__ = ["PERSISTENCE", "SystemRanking", "system_ranking"]
