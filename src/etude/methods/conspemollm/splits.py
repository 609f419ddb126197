"""Splits that do not leak: groups stay whole, classes stay balanced; and whole topics held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError


@dataclass(frozen=True)
class SplitRows:
    """One split.

    Args:
        name: E.g. `repeat 0 fold 3` or `coronavirus to sandy hook`.
        train: Row numbers.
        test: Row numbers; no group is on both sides.
    """

    name: str
    train: NDArray[np.intp]
    test: NDArray[np.intp]


def grouped_folds(
    labels: Sequence[int],
    groups: Sequence[int],
    *,
    folds: int,
    repeats: int,
    seed: int = 0,
    size: int | None = None,
) -> list[SplitRows]:
    """Stratified cross-validation over groups, repeated with other partitions.

    Args:
        labels: The class of each row.
        groups: The group of each row.
        folds: Folds of a partition.
        repeats: Partitions.
        seed: Of the first partition.
        size: Train on this many rows at most, drawn at random.

    Raises:
        EtudeError: Fewer groups than folds in some class.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    y, g = np.asarray(labels), np.asarray(groups)
    fewest = min(len(set(g[y == label])) for label in set(labels)) if len(labels) else 0
    if fewest < folds:
        raise EtudeError(
            f"{fewest} groups of the rarest class are too few for {folds} folds",
            "Give more examples, or fewer --folds.",
        )
    made = []
    for repeat in range(repeats):
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + repeat)
        for fold, (train, test) in enumerate(splitter.split(np.zeros(len(y)), y, g)):
            if size is not None and size < len(train):
                train = np.sort(
                    np.random.default_rng([seed + repeat, fold]).choice(train, size, replace=False)
                )
            made.append(SplitRows(f"repeat {repeat} fold {fold}", train, test))
    return made


def cross_topic(topics: Sequence[str], groups: Sequence[int]) -> list[SplitRows]:
    """Train on one topic, test on another, for every ordered pair; what is near both sides is left out of
    training.
    """
    known = np.asarray(topics)
    names = sorted({topic for topic in topics if topic})
    g = np.asarray(groups)
    made = []
    for source in names:
        for target in names:
            if source == target:
                continue
            test = np.flatnonzero(known == target)
            train = np.flatnonzero((known == source) & ~np.isin(g, g[test]))
            if len(train) and len(test):
                made.append(SplitRows(f"{source} to {target}", train, test))
    return made
