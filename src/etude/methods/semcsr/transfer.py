"""Transfer tasks (MR, CR, SUBJ, MPQA, SST2, TREC, MRPC): logistic regression on frozen vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, model_validator

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.semcsr.sts import TextEncoder

FOLDS = 10


class TransferRow(BaseModel):
    """A text, or a pair of texts, with its class.

    Args:
        text: The text; for pairs `sentence1` and `sentence2` instead.
        sentence1: First text of a pair.
        sentence2: Second text of a pair.
        label: Its class.
        split: `train` or `test` where the task has a split; else ten folds are used.
    """

    text: str = ""
    sentence1: str = ""
    sentence2: str = ""
    label: str | int = Field()
    split: str = ""

    @model_validator(mode="after")
    def _has_text(self) -> TransferRow:
        if not self.text and not (self.sentence1 and self.sentence2):
            raise ValueError("needs `text`, or `sentence1` and `sentence2`")
        return self


@dataclass(frozen=True)
class TransferResult:
    """Accuracy on one task.

    Args:
        task: The file's name.
        accuracy: Share of right classes.
        rows: Tested rows.
        classes: How many classes.
        protocol: `10 folds` or `given split`.
    """

    task: str
    accuracy: float
    rows: int
    classes: int
    protocol: str


def transfer_eval(encoder: TextEncoder, source: Path, *, seed: int = 0) -> TransferResult:
    """Accuracy of logistic regression on frozen vectors.

    A pair's features are |u - v| and u·v, as in SentEval. The regularization is chosen on the training part
    alone.

    Args:
        encoder: What encodes.
        source: Rows with `text` (or `sentence1`, `sentence2`), `label` and perhaps `split`.
        seed: Of the folds.

    Raises:
        EtudeError: Too few rows, or one class alone.
    """
    rows = list(read_records(source, TransferRow))
    labels = np.array([str(row.label) for row in rows])
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise EtudeError(f"{source}: {len(classes)} class in {len(rows)} rows", "Give rows of two or more.")
    features = _features(encoder, rows)
    given = np.array([row.split for row in rows])
    if (given == "test").any():
        train, test = given == "train", given == "test"
        if len(np.unique(labels[train])) < 2:
            raise EtudeError(f"{source}: the split train has one class", "Name the splits train and test.")
        right = _fitted(features[train], labels[train], seed).predict(features[test]) == labels[test]
        return TransferResult(source.stem, float(right.mean()), int(test.sum()), len(classes), "given split")
    if counts.min() < FOLDS:
        raise EtudeError(
            f"{source}: class {classes[counts.argmin()]!r} has {counts.min()} rows",
            f"Ten folds need {FOLDS} of each class; or give a column split with train and test.",
        )
    from sklearn.model_selection import StratifiedKFold

    hits = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels):
        model = _fitted(features[train], labels[train], seed)
        hits.append(model.predict(features[test]) == labels[test])
    accuracy = float(np.concatenate(hits).mean())
    return TransferResult(source.stem, accuracy, len(rows), len(classes), f"{FOLDS} folds")


def _fitted(features: Any, labels: Any, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    smallest = np.unique(labels, return_counts=True)[1].min()
    model = LogisticRegression(max_iter=1000, random_state=seed)
    if smallest < 3:
        return model.fit(features, labels)
    return GridSearchCV(model, {"C": [0.25, 1, 4, 16]}, cv=3).fit(features, labels)


def _features(encoder: TextEncoder, rows: list[TransferRow]) -> Any:
    """Vectors of texts, (rows, dimension), or of pairs, (rows, 2·dimension); each text is encoded once."""
    paired = [bool(row.sentence1) for row in rows]
    if any(paired) and not all(paired):
        raise EtudeError("some rows are texts and some are pairs", "Give a file of one kind.")
    columns = [[row.sentence1 if paired[0] else row.text for row in rows]]
    if paired[0]:
        columns.append([row.sentence2 for row in rows])
    texts = list(dict.fromkeys(text for column in columns for text in column))
    place = {text: i for i, text in enumerate(texts)}
    vectors = np.asarray(encoder.encode(texts, batch_size=64), dtype=np.float64)
    first = vectors[[place[text] for text in columns[0]]]
    if not paired[0]:
        return first
    second = vectors[[place[text] for text in columns[1]]]
    return np.concatenate([np.abs(first - second), first * second], axis=1)
