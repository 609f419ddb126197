"""How far labels agree with gold: Cohen's kappa, MAE, preference AUC, with intervals and prevalence.

Intervals are bootstrapped by query, since the documents of one query are judged together. Kappa depends on
how common relevance is, so it is never given without it (section 4 of the paper).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.evidence import Interval, bootstrap_interval
from etude.render import Text, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

RESAMPLES = 1999
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """Agreement of labels with gold on the pairs that both have.

    Args:
        pairs: How many pairs.
        queries: Of how many queries.
        gold_only: Pairs of the gold that have no label (unusable answers, or never labelled).
        labels_only: Labelled pairs without gold.
        binarize: Grades from here on count as relevant.
        kappa: Cohen's kappa of relevant or not.
        kappa_graded: Cohen's kappa of the grades, unweighted.
        auc: Probability that of two documents with different gold the better one has the higher label.
        mae: Mean absolute error in grades.
        bias: Mean of label minus gold.
        prevalence_gold: Share of relevant pairs in the gold.
        prevalence_labels: The same in the labels.
        confusion: Gold grade to label to count.
        alarms: What a user must not overlook.
    """

    pairs: int
    queries: int
    gold_only: int
    labels_only: int
    binarize: int
    kappa: Interval | None
    kappa_graded: Interval | None
    auc: Interval | None
    mae: Interval
    bias: float
    prevalence_gold: float
    prevalence_labels: float
    confusion: dict[int, dict[int, int]]
    alarms: list[str] = field(default_factory=list)

    def __rich__(self) -> RenderableType:
        """The numbers with their intervals, the confusion table and the alarms."""
        from rich.console import Group

        def shown(one: Interval | None) -> str:
            return "undefined" if one is None else str(one)

        rows = [
            (f"kappa, relevant from grade {self.binarize}", shown(self.kappa)),
            ("kappa of the grades", shown(self.kappa_graded)),
            ("preference AUC", shown(self.auc)),
            ("mean absolute error", shown(self.mae)),
            ("mean label minus gold", f"{self.bias:+.3f}"),
            ("relevant in the gold", f"{self.prevalence_gold:.1%}"),
            ("relevant in the labels", f"{self.prevalence_labels:.1%}"),
        ]
        labels = sorted({label for row in self.confusion.values() for label in row})
        counts = [(g, *(row.get(x, 0) for x in labels)) for g, row in sorted(self.confusion.items())]
        title = f"{self.pairs:,} pairs of {self.queries:,} queries, 95 % intervals by query"
        left = (
            f"left out: {self.gold_only:,} pairs of the gold without a label, {self.labels_only:,} labels "
            "without gold"
        )
        people = (
            "for comparison, people with people (published): kappa 0.52 between two trained groups, 0.24 to "
            "0.52 crowd, 0.58 laboratory"
        )
        return Group(
            table(("measure", "value"), rows, title=title),
            table(("gold \\ label", *map(str, labels)), counts),
            *(show(Text(line)) for line in (left, people, *(f"ALARM: {a}" for a in self.alarms))),
        )


def agreement(
    gold: Mapping[tuple[str, str], int],
    labels: Mapping[tuple[str, str], float],
    *,
    binarize: int = 1,
    resamples: int = RESAMPLES,
) -> Agreement:
    """Compare labels with gold.

    Args:
        gold: (qid, docid) to grade.
        labels: (qid, docid) to label; labels that are not whole (means over judges) are rounded, half up, for
            kappa and confusion, and taken as they are for AUC and MAE.
        binarize: Grades from here on count as relevant.
        resamples: Of the bootstrap by query.

    Raises:
        EtudeError: They share no pair.
    """
    shared = sorted(gold.keys() & labels.keys())
    if not shared:
        raise EtudeError(
            "gold and labels share no pair", "Check that both use the same query and document ids."
        )
    queries, group = np.unique([qid for qid, _ in shared], return_inverse=True)
    g = np.array([gold[pair] for pair in shared], dtype=np.int64)
    x = np.array([labels[pair] for pair in shared], dtype=np.float64)
    whole = np.floor(x + 0.5).astype(np.int64)
    relevant, found = (g >= binarize).astype(np.int64), (whole >= binarize).astype(np.int64)

    def estimate(statistic: Callable[[Floats], Floats]) -> Interval | None:
        return by_query(statistic, group, len(queries), resamples)

    alarms = []
    if len(set(g.tolist())) < 2:
        alarms.append("the gold has one grade only on these pairs: kappa and AUC are undefined")
    elif len(set(relevant.tolist())) < 2:
        alarms.append(f"with relevance from grade {binarize} on, all gold is alike: that kappa is undefined")
    mae = estimate(lambda w: w @ np.abs(x - g) / w.sum(1))
    assert mae is not None
    several = len(set(g.tolist())) > 1
    auc = estimate(lambda w: weighted_auc(g, x, w)) if several else None
    binary = estimate(lambda w: weighted_kappa(relevant, found, w)) if len(set(relevant)) > 1 else None
    if (binary and binary.high < 0) or (auc and auc.high < 0.5):
        alarms.append("the labels disagree with the gold systematically: is the scale turned round?")
    confusion: dict[int, dict[int, int]] = {}
    for (a, b), count in sorted(Counter(zip(g.tolist(), whole.tolist(), strict=True)).items()):
        confusion.setdefault(a, {})[b] = count
    return Agreement(
        pairs=len(shared),
        queries=len(queries),
        gold_only=len(gold) - len(shared),
        labels_only=len(labels) - len(shared),
        binarize=binarize,
        kappa=binary,
        kappa_graded=estimate(lambda w: weighted_kappa(g, whole, w)) if several else None,
        auc=auc,
        mae=mae,
        bias=float((x - g).mean()),
        prevalence_gold=float(relevant.mean()),
        prevalence_labels=float(found.mean()),
        confusion=confusion,
        alarms=alarms,
    )


def by_query(
    statistic: Callable[[Floats], Floats], group: NDArray[Any], groups: int, resamples: int = RESAMPLES
) -> Interval | None:
    """A weighted statistic with its bootstrap interval over groups (queries).

    Args:
        statistic: From weights (resamples, pairs) to values (resamples,).
        group: Group of each pair, (pairs,).
        groups: How many groups.
        resamples: How many resamples; 0 for the value alone.

    Returns:
        The estimate, or None where it is undefined on the data themselves.
    """
    value = float(statistic(np.ones((1, len(group))))[0])
    if not np.isfinite(value):
        return None
    if not resamples:
        return Interval(value, -np.inf, np.inf)

    def resampled(index: Ints, seed: Ints) -> Floats:
        counts = np.stack([np.bincount(row, minlength=groups) for row in index]).astype(np.float64)
        found = statistic(counts[:, group])
        return np.where(np.isfinite(found), found, value)  # a resample of one grade tells nothing

    low, high = bootstrap_interval(resampled, groups, resamples=resamples)
    return Interval(value, low, high)


def weighted_kappa(gold: Ints, labels: Ints, weights: Floats) -> Floats:
    """Cohen's kappa, (p_o - p_e) / (1 - p_e), for each row of weights.

    Args:
        gold: Categories, (pairs,).
        labels: Categories, (pairs,).
        weights: (rows, pairs).

    Returns:
        (rows,); NaN where chance agreement is 1.
    """
    total = weights.sum(1)
    observed = weights @ (gold == labels).astype(np.float64) / total
    expected = np.zeros_like(total)
    for category in np.union1d(gold, labels):
        ours, theirs = (gold == category).astype(np.float64), (labels == category).astype(np.float64)
        expected += (weights @ ours) * (weights @ theirs) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1 - 1e-12, (observed - expected) / (1 - expected), np.nan)


def weighted_auc(gold: Ints, scores: Floats, weights: Floats) -> Floats:
    """Probability that of two pairs with different gold the better one scores higher (ties count half).

    Args:
        gold: Grades, (pairs,).
        scores: Any real numbers, (pairs,).
        weights: (rows, pairs).

    Returns:
        (rows,); NaN where all gold is alike.
    """
    order = np.argsort(scores, kind="stable")
    g, w = gold[order], weights[:, order]
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])  # one group of ties each
    won, compared = np.zeros(len(w)), np.zeros(len(w))
    for grade in np.unique(g)[1:]:
        better = np.add.reduceat(w * (g == grade), starts, axis=1)  # (rows, ties)
        worse = np.add.reduceat(w * (g < grade), starts, axis=1)
        below = np.cumsum(worse, axis=1) - worse
        won += (better * (below + worse / 2)).sum(1)
        compared += better.sum(1) * worse.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return won / compared


def kappa(gold: Sequence[int] | Ints, labels: Sequence[int] | Ints) -> float:
    """Cohen's kappa of two lists of categories; NaN where it is undefined."""
    g, x = np.asarray(gold, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    return float(weighted_kappa(g, x, np.ones((1, len(g))))[0])


def auc(gold: Sequence[int] | Ints, scores: Sequence[float] | Floats) -> float:
    """Preference AUC of scores; NaN where all gold is alike."""
    g, x = np.asarray(gold, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    return float(weighted_auc(g, x, np.ones((1, len(g))))[0])
