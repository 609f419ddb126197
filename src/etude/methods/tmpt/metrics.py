"""Scores of a classification: macro-F1 over a fixed list of labels, where an absent class counts as zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.evidence import bootstrap_interval


@dataclass(frozen=True)
class Scores:
    """How good predictions are.

    Attributes:
        macro_f1: Mean of the classes' F1.
        weighted_f1: The same weighted by the classes' sizes.
        accuracy: Share that is right.
        per_class: Label to precision, recall, f1 and support.
        confusion: Row: true label; column: predicted; in the order of `per_class`.
        rows: How many.
        ci95: Of macro_f1, by resampling groups; None with fewer than two groups.
    """

    macro_f1: float
    weighted_f1: float
    accuracy: float
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)
    rows: int = 0
    ci95: tuple[float, float] | None = None


def confusion_matrix(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Counts, (true, predicted)."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def f1_of(confusion: NDArray[Any]) -> NDArray[np.float64]:
    """F1 of each class from counts (..., true, predicted); 0 for a class that is nowhere."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    seen = confusion.sum(-1) + confusion.sum(-2)
    return np.asarray(np.divide(2 * right, seen, out=np.zeros_like(right), where=seen > 0))


def macro_f1(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> float:
    """Mean of the classes' F1."""
    return float(f1_of(confusion_matrix(truth, predicted, classes)).mean())


def group_confusions(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], groups: Sequence[str], classes: int
) -> NDArray[np.int64]:
    """Counts of each group, (groups, true, predicted), in the sorted order of the groups."""
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    flat = number * classes * classes + truth * classes + predicted
    return np.bincount(flat, minlength=len(names) * classes * classes).reshape(len(names), classes, classes)


def score(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], labels: Sequence[str], groups: Sequence[str]
) -> Scores:
    """All scores.

    Args:
        truth: Label numbers.
        predicted: Label numbers.
        labels: Fixed in advance.
        groups: Of each row; rows of one group (a post, a video) are resampled together.
    """
    classes = len(labels)
    matrix = confusion_matrix(truth, predicted, classes)
    each, sizes, chosen = f1_of(matrix), matrix.sum(1), matrix.sum(0)
    right = np.diagonal(matrix)
    by_group = group_confusions(truth, predicted, groups, classes)

    def resampled(index: NDArray[Any], _: NDArray[Any]) -> NDArray[np.float64]:
        return np.array([f1_of(by_group[row].sum(0)).mean() for row in index])

    interval = bootstrap_interval(resampled, len(by_group), resamples=1999) if len(by_group) > 1 else None
    return Scores(
        macro_f1=float(each.mean()),
        weighted_f1=float((each * sizes).sum() / max(1, sizes.sum())),
        accuracy=float(right.sum() / max(1, matrix.sum())),
        per_class={
            label: {
                "precision": float(right[i] / max(1, chosen[i])),
                "recall": float(right[i] / max(1, sizes[i])),
                "f1": float(each[i]),
                "support": int(sizes[i]),
            }
            for i, label in enumerate(labels)
        },
        confusion=matrix.tolist(),
        rows=int(matrix.sum()),
        ci95=interval,
    )
