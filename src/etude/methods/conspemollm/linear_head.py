"""A logistic head over features that do not change: text vectors, affect values, or both side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError

PENALTY = 0.1
"""Inverse strength of the L2 penalty on standardized features; fixed beforehand and the same for all arms."""


@dataclass(frozen=True)
class LinearHead:
    """A fitted head.

    Args:
        weights: (features, classes) on standardized features.
        bias: (classes,).
        center: Mean of each training feature, (features,).
        scale: Its standard deviation, (features,); 1 where that is 0.
        multi_label: Whether classes are independent of each other.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    multi_label: bool

    def probabilities(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Probability of each class, (texts, classes)."""
        scores = ((features - self.center) / self.scale) @ self.weights + self.bias
        if self.multi_label:
            return np.asarray(1 / (1 + np.exp(-scores.clip(-500, 500))))
        shifted = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(shifted / shifted.sum(1, keepdims=True))

    def tensors(self, name: str) -> dict[str, NDArray[np.float64]]:
        """The arrays, to be stored under a task's name."""
        fields = ("weights", "bias", "center", "scale")
        return {f"{name}.{field}": np.ascontiguousarray(getattr(self, field)) for field in fields}

    @classmethod
    def of_tensors(
        cls, name: str, tensors: Mapping[str, NDArray[np.float64]], multi_label: bool
    ) -> LinearHead:
        """What `tensors` gave."""
        weights, bias, center, scale = (
            tensors[f"{name}.{field}"] for field in ("weights", "bias", "center", "scale")
        )
        return cls(weights, bias, center, scale, multi_label)


def fit_head(
    features: NDArray[Any], labels: Sequence[Sequence[int]], classes: int, *, multi_label: bool
) -> LinearHead:
    """Fit logistic regression.

    Args:
        features: (texts, features).
        labels: The class numbers of each text.
        classes: How many classes there are; one that never occurs gets the least probability.
        multi_label: Each class by itself instead of one against the others.

    Raises:
        EtudeError: All training texts have the same class.
    """
    from sklearn.linear_model import LogisticRegression

    x = np.asarray(features, dtype=np.float64)
    center, scale = x.mean(0), x.std(0)
    scale[scale == 0] = 1.0
    x = (x - center) / scale
    weights, bias = np.zeros((x.shape[1], classes)), np.full(classes, -20.0)
    if multi_label:
        for at in range(classes):
            y = np.array([at in row for row in labels])
            if y.all() or not y.any():
                bias[at] = 20.0 if y.all() else -20.0
                continue
            fitted = LogisticRegression(C=PENALTY, max_iter=2000).fit(x, y)
            weights[:, at], bias[at] = fitted.coef_[0], fitted.intercept_[0]
        return LinearHead(weights, bias, center, scale, True)
    y = np.array([row[0] for row in labels])
    if len(set(y.tolist())) < 2:
        raise EtudeError("all training texts have the same class", "Give examples of at least two classes.")
    fitted = LogisticRegression(C=PENALTY, max_iter=2000).fit(x, y)
    if len(fitted.classes_) == 2:  # scikit-learn keeps one row for two classes
        weights[:, fitted.classes_[1]] = fitted.coef_[0]
        bias[fitted.classes_[0]], bias[fitted.classes_[1]] = 0.0, fitted.intercept_[0]
    else:
        weights[:, fitted.classes_], bias[fitted.classes_] = fitted.coef_.T, fitted.intercept_
    return LinearHead(weights, bias, center, scale, False)
