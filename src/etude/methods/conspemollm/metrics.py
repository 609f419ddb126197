"""Scores of predictions: accuracy, precision, recall, F1 (macro and weighted), AUC, calibration, intervals.

Intervals are by bootstrap over groups (documents and their near duplicates), from each group's confusion
counts. An invalid answer is an error of its class and stands in no class of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etude.evidence import Interval, bootstrap_interval
from etude.methods.conspemollm.tasks import ConspTask

_BINS = 10


@dataclass(frozen=True)
class Scores:
    """What predictions are worth.

    Args:
        count: Texts.
        groups: Independent groups of them.
        accuracy: Share of right answers (multi-label: of exactly right lists).
        macro_f1: Mean of the classes' F1.
        weighted_f1: The same, weighted by the classes' sizes.
        macro_precision: Mean of the classes' precision.
        macro_recall: Mean of the classes' recall.
        weighted_precision: By the classes' sizes.
        weighted_recall: By the classes' sizes.
        auc: Area under the ROC curve, one class against the others, mean over classes; None where some text
            has no probabilities or only one class is there.
        calibration_error: Expected calibration error of the likeliest class, ten equal bins.
        invalid: Answers that name no class.
        by_class: F1 of each class.
    """

    count: int
    groups: int
    accuracy: Interval
    macro_f1: Interval
    weighted_f1: Interval
    macro_precision: float
    macro_recall: float
    weighted_precision: float
    weighted_recall: float
    auc: float | None
    calibration_error: float | None
    invalid: int
    by_class: dict[str, float]


def scores_of(
    task: ConspTask,
    true: Sequence[Sequence[int]],
    said: Sequence[Sequence[int] | None],
    probabilities: NDArray[np.float64] | None = None,
    groups: Sequence[int] | None = None,
) -> Scores:
    """Score predictions.

    Args:
        task: The task.
        true: The right class numbers of each text.
        said: The predicted ones; None for an answer that names no class.
        probabilities: (texts, classes), if there are any.
        groups: A number for each text; texts of one group are resampled together.
    """
    classes = len(task.classes)
    counts = confusion(true, said, classes)  # (texts, 3, classes): hits, false alarms, misses
    exact = np.array(
        [s is not None and set(t) == set(s) for t, s in zip(true, said, strict=True)], dtype=float
    )
    numbers = np.unique(np.arange(len(true)) if groups is None else np.asarray(groups), return_inverse=True)[
        1
    ]
    size = int(numbers.max()) + 1 if len(numbers) else 0
    by_group = np.zeros((size, 3, classes))
    np.add.at(by_group, numbers, counts)
    right, weight = np.bincount(numbers, exact, size), np.bincount(numbers, minlength=size)
    total = by_group.sum(0)
    precision, recall, f1 = rates(total)
    support = total[0] + total[2]
    share = support / max(1.0, support.sum())
    present = total.sum(0) > 0

    def interval(kind: str) -> tuple[float, float]:
        def resampled(rows: NDArray[np.intp], _: NDArray[np.intp]) -> NDArray[np.float64]:
            if kind == "accuracy":
                return np.asarray(right[rows].sum(1) / weight[rows].sum(1))
            return np.array([_mean_f1(by_group[row].sum(0), kind) for row in rows])

        return bootstrap_interval(resampled, size, resamples=999)

    return Scores(
        count=len(true),
        groups=size,
        accuracy=Interval(float(exact.mean()), *interval("accuracy")),
        macro_f1=Interval(_mean_f1(total, "macro"), *interval("macro")),
        weighted_f1=Interval(_mean_f1(total, "weighted"), *interval("weighted")),
        macro_precision=float(precision[present].mean()),
        macro_recall=float(recall[present].mean()),
        weighted_precision=float(precision @ share),
        weighted_recall=float(recall @ share),
        auc=None if probabilities is None else area_under_curve(true, probabilities),
        calibration_error=None
        if probabilities is None or task.multi_label
        else calibration_error(true, probabilities),
        invalid=sum(one is None for one in said),
        by_class={label: float(value) for label, value in zip(task.classes, f1, strict=True)},
    )


def macro_f1(true: Sequence[int], said: Sequence[int], classes: int) -> float:
    """Mean F1 of the classes that occur among the right or the predicted ones."""
    return _mean_f1(confusion([(t,) for t in true], [(s,) for s in said], classes).sum(0), "macro")


def confusion(
    true: Sequence[Sequence[int]], said: Sequence[Sequence[int] | None], classes: int
) -> NDArray[np.float64]:
    """Hits, false alarms and misses of each text and class, (texts, 3, classes)."""
    counts = np.zeros((len(true), 3, classes))
    for row, (right, answer) in enumerate(zip(true, said, strict=True)):
        named = set(answer or ())
        for at in range(classes):
            if at in named:
                counts[row, 0 if at in right else 1, at] = 1
            elif at in right:
                counts[row, 2, at] = 1
    return counts


def rates(total: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Precision, recall and F1 of each class from (hits, false alarms, misses); 0 where nothing was named."""
    hits, alarms, misses = total
    precision = hits / np.maximum(hits + alarms, 1)
    recall = hits / np.maximum(hits + misses, 1)
    return precision, recall, 2 * hits / np.maximum(2 * hits + alarms + misses, 1)


def area_under_curve(true: Sequence[Sequence[int]], probabilities: NDArray[np.float64]) -> float | None:
    """ROC AUC, mean over classes that are right for some texts and not for others."""
    from sklearn.metrics import roc_auc_score

    if not np.isfinite(probabilities).all():
        return None
    areas = []
    for at in range(probabilities.shape[1]):
        y = np.array([at in row for row in true])
        if y.any() and not y.all():
            areas.append(float(roc_auc_score(y, probabilities[:, at])))
    return float(np.mean(areas)) if areas else None


def calibration_error(true: Sequence[Sequence[int]], probabilities: NDArray[np.float64]) -> float | None:
    """Mean distance of confidence and accuracy over ten bins of confidence, weighted by their sizes."""
    if not np.isfinite(probabilities).all() or not len(true):
        return None
    confidence, chosen = probabilities.max(1), probabilities.argmax(1)
    right = np.array([row[0] for row in true]) == chosen
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        np.mean(bins == at) * abs(float(confidence[bins == at].mean()) - float(right[bins == at].mean()))
        for at in np.unique(bins)
    ]
    return float(np.sum(gaps))


def _mean_f1(total: NDArray[np.float64], kind: str) -> float:
    f1 = rates(total)[2]
    support = total[0] + total[2]
    if not support.sum():
        return 0.0
    return float(f1[total.sum(0) > 0].mean()) if kind == "macro" else float(f1 @ support / support.sum())
