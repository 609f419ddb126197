"""How much the wording alone moves agreement, and the choice of a prompt (or model) by agreement with gold.

Choosing and reporting never share a query. Differences between prompts are paired: both have labelled the
same pairs, and the bootstrap draws queries for both at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etude.data.records import read_rows
from etude.errors import EtudeError
from etude.evidence import Interval
from etude.methods.relevance.agreement import (
    RESAMPLES,
    Agreement,
    agreement,
    by_query,
    weighted_kappa,
)
from etude.methods.relevance.labels import join_grades
from etude.render import Text, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

Grades = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class PromptRow:
    """One prompt on all gold.

    Args:
        name: The prompt, or model#prompt.
        dropped: Pairs of the gold without a usable label of this prompt.
        agreement: Its agreement.
    """

    name: str
    dropped: int
    agreement: Agreement


@dataclass(frozen=True)
class Choice:
    """A prompt chosen on some queries, reported on others.

    Args:
        best: The prompt with the highest kappa on the queries it was chosen on.
        worst: The one with the lowest.
        chosen_on: How many queries decided.
        kappa_there: The best prompt's kappa on them (too good: it was chosen by it).
        held_out: The best prompt's kappa on the other queries.
        gain: Kappa of the best minus the worst, on the other queries, paired.
    """

    best: str
    worst: str
    chosen_on: int
    kappa_there: float
    held_out: Interval | None
    gain: Interval | None


@dataclass(frozen=True)
class PromptStudy:
    """All prompts, best kappa first.

    Args:
        rows: One for each prompt.
        mean: Mean kappa over prompts.
        low: Lowest.
        high: Highest.
        median_kappa: Kappa of the median over all prompts' labels.
        median_gain: That minus the mean single prompt, paired by query.
        choice: The choice by held-out queries, if it was asked for.
    """

    rows: list[PromptRow]
    mean: float
    low: float
    high: float
    median_kappa: Interval | None
    median_gain: Interval | None
    choice: Choice | None = None

    def __rich__(self) -> RenderableType:
        """The table of prompts, the spread, the choice."""
        from rich.console import Group

        rows = [
            (
                row.name,
                row.agreement.pairs,
                row.dropped,
                row.agreement.kappa and str(row.agreement.kappa),
                row.agreement.kappa_graded and row.agreement.kappa_graded.value,
                row.agreement.auc and row.agreement.auc.value,
                f"{row.agreement.prevalence_labels:.1%}",
                "; ".join(row.agreement.alarms),
            )
            for row in self.rows
        ]
        prevalence = self.rows[0].agreement.prevalence_gold
        lines = [
            f"kappa over {len(rows)} prompts: mean {self.mean:.4f} ({self.low:.4f} to {self.high:.4f}); "
            f"relevant in the gold {prevalence:.1%}",
            f"median of all prompts' labels: kappa {self.median_kappa}; minus the mean: {self.median_gain}",
        ]
        if self.choice is not None:
            c = self.choice
            lines.append(
                f"chosen on {c.chosen_on} queries: {c.best} (kappa {c.kappa_there:.3f}); on the others: "
                f"{c.held_out}, minus the worst ({c.worst}): {c.gain}"
            )
        columns = ("prompt", "pairs", "dropped", "kappa", "graded", "AUC", "relevant", "alarms")
        return Group(table(columns, rows), *(show(Text(line)) for line in lines))


def study(
    labels: Mapping[str, Grades],
    gold: Mapping[tuple[str, str], int],
    *,
    binarize: int = 1,
    resamples: int = RESAMPLES,
) -> PromptStudy:
    """Agreement of every prompt's labels with the gold, and of their median.

    Args:
        labels: Prompt to its usable labels.
        gold: (qid, docid) to grade.
        binarize: Grades from here on count as relevant.
        resamples: Of each prompt's own intervals; 0 for none.

    Raises:
        EtudeError: There are no prompts, or one shares no pair with the gold.
    """
    if not labels:
        raise EtudeError("no prompts to study", "Give at least one.")
    rows = []
    for name, given in labels.items():
        found = agreement(gold, given, binarize=binarize, resamples=resamples)
        rows.append(PromptRow(name, found.gold_only, found))
    kappas = [row.agreement.kappa.value for row in rows if row.agreement.kappa]
    if not kappas:
        raise EtudeError(
            "kappa is undefined: the gold has fewer than two classes",
            f"Check the gold and --binarize {binarize}.",
        )
    median = median_labels(labels)

    def gain(
        sets: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]],
    ) -> Callable[..., NDArray[np.float64]]:
        return lambda w: sets[-1](w) - np.mean([one(w) for one in sets[:-1]], axis=0)

    shared = agreement(gold, median, binarize=binarize)
    return PromptStudy(
        rows=sorted(rows, key=lambda row: -(row.agreement.kappa.value if row.agreement.kappa else -2)),
        mean=float(np.mean(kappas)),
        low=min(kappas),
        high=max(kappas),
        median_kappa=shared.kappa,
        median_gain=_paired([*labels.values(), median], gold, binarize, gain),
    )


def select(
    labels: Mapping[str, Grades],
    gold: Mapping[tuple[str, str], int],
    holdout: set[str],
    *,
    binarize: int = 1,
) -> Choice:
    """Choose the prompt with the highest kappa on the other queries, and report it on the held-out ones.

    Args:
        labels: Prompt (or model and prompt) to its usable labels.
        gold: (qid, docid) to grade.
        holdout: Queries that must not decide.
        binarize: Grades from here on count as relevant.

    Raises:
        EtudeError: No queries are left to decide on or to report on, or kappa is undefined there.
    """
    decide = {pair: grade for pair, grade in gold.items() if pair[0] not in holdout}
    report = {pair: grade for pair, grade in gold.items() if pair[0] in holdout}
    if not decide or not report:
        raise EtudeError("no gold to decide on, or none to report on", "Hold out some queries, not all.")
    found: dict[str, float] = {}
    for name, given in labels.items():
        estimate = agreement(decide, given, binarize=binarize, resamples=0).kappa
        if estimate is not None:
            found[name] = estimate.value
    if not found:
        raise EtudeError(
            "kappa is undefined on the queries to decide on", "Give gold of at least two grades."
        )
    best, worst = max(found, key=lambda n: found[n]), min(found, key=lambda n: found[n])
    return Choice(
        best=best,
        worst=worst,
        chosen_on=len({qid for qid, _ in decide}),
        kappa_there=found[best],
        held_out=agreement(report, labels[best], binarize=binarize).kappa,
        gain=_paired(
            [labels[worst], labels[best]], report, binarize, lambda sets: lambda w: sets[1](w) - sets[0](w)
        ),
    )


def with_choice(found: PromptStudy, choice: Choice) -> PromptStudy:
    """The study with its choice."""
    return replace(found, choice=choice)


def median_labels(labels: Mapping[str, Grades]) -> dict[tuple[str, str], float]:
    """The median over prompts of each pair's usable labels."""
    given: dict[tuple[str, str], list[float]] = {}
    for grades in labels.values():
        for pair, grade in grades.items():
            given.setdefault(pair, []).append(grade)
    return {pair: join_grades(grades, "median") for pair, grades in given.items()}


def read_label_matrix(
    path: Path, gold_column: str, scale: tuple[int, int]
) -> tuple[dict[tuple[str, str], int], dict[str, dict[tuple[str, str], float]], dict[str, int]]:
    """A table with qid, docid, a column of gold and one column of labels for each prompt (`model#prompt`).

    Empty cells are no label; values outside the scale are left out and counted.

    Returns:
        The gold, each column's usable labels, and each column's number of values outside the scale.

    Raises:
        EtudeError: A column is missing, a cell is no number, or a pair comes twice.
    """
    gold: dict[tuple[str, str], int] = {}
    labels: dict[str, dict[tuple[str, str], float]] = {}
    outside: dict[str, int] = {}
    for line, row in read_rows(path):
        if not {"qid", "docid", gold_column} <= row.keys():
            raise EtudeError(
                f"{path}:{line}: no qid, docid or {gold_column}", "The table needs these three columns."
            )
        pair = (str(row["qid"]), str(row["docid"]))
        if pair in gold:
            raise EtudeError(f"{path}:{line}: the pair {pair} comes twice", "Keep one row.")
        try:
            gold[pair] = int(row[gold_column])
            for name, cell in row.items():
                if name in ("qid", "docid", gold_column):
                    continue
                value = float(cell)
                column = labels.setdefault(name, {})
                if scale[0] <= value <= scale[1]:
                    column[pair] = value
                else:
                    outside[name] = outside.get(name, 0) + 1
        except ValueError as error:
            raise EtudeError(f"{path}:{line}: {error}", "Cells hold grades, or nothing.") from error
    return gold, labels, outside


def _paired(
    sets: Sequence[Grades],
    gold: Mapping[tuple[str, str], int],
    binarize: int,
    combine: Callable[
        [list[Callable[[NDArray[np.float64]], NDArray[np.float64]]]],
        Callable[[NDArray[np.float64]], NDArray[np.float64]],
    ],
) -> Interval | None:
    """A statistic of several label sets' kappas, with its interval; every set keeps its own usable pairs."""
    pairs = sorted(gold)
    queries, group = np.unique([qid for qid, _ in pairs], return_inverse=True)
    relevant = np.array([int(gold[pair] >= binarize) for pair in pairs])
    kappas: list[Callable[[NDArray[np.float64]], NDArray[np.float64]]] = []
    for given in sets:
        has = np.array([pair in given for pair in pairs])
        found = np.array([int(np.floor(given.get(pair, 0) + 0.5) >= binarize) for pair in pairs])

        def of(
            w: NDArray[np.float64], has: NDArray[np.bool_] = has, found: NDArray[np.int64] = found
        ) -> NDArray[np.float64]:
            return weighted_kappa(relevant[has], found[has], w[:, has])

        kappas.append(of)
    return by_query(combine(kappas), group, len(queries), resamples=999)
