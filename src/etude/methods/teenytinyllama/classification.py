"""Classification: labeled texts, baselines that read almost nothing, and a head on the language model.

The paper reports the best *test* accuracy over the epochs, which selects on the test set. Here the weights
are selected on validation rows, the test rows are scored once, and the majority class and a TF-IDF logistic
regression stand beside the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, model_validator
from torch import Tensor
from torch.utils.data import Dataset

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.teenytinyllama.bits_per_byte import encode_text


class Labeled(BaseModel):
    """A text, or a pair of texts, with its label."""

    text: str
    pair: str = ""
    label: str

    @model_validator(mode="before")
    @classmethod
    def _other_names(cls, row: Any) -> Any:
        if not isinstance(row, dict):
            return row
        for names in (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question", "answer")):
            if "text" not in row and all(name in row for name in names):
                row = {**row, "text": row[names[0]], "pair": row[names[1]]}
        found = dict(row)
        if found.get("label") is not None:
            found["label"] = str(found["label"])
        return found


@dataclass(frozen=True)
class Score:
    """One line of the table.

    Attributes:
        scored: `validation` or `test`.
        by: The model or a baseline.
        accuracy, macro_f1: Shares.
        rows: Rows scored.
    """

    scored: str
    by: str
    accuracy: float
    macro_f1: float
    rows: int


def read_labeled(source: Path | str) -> list[Labeled]:
    """Rows with `text` (and `pair`) and `label`; also sentence1/sentence2, premise/hypothesis,
    question/answer.

    Raises:
        EtudeError: Nothing there, or a row lacks a field.
    """
    rows = list(read_records(source, Labeled))
    if not rows:
        raise EtudeError(f"{source}: holds no row", "Give rows with text and label.")
    return rows


def label_names(rows: Sequence[Labeled], source: Path | str) -> list[str]:
    """The labels in order, numbers by value.

    Raises:
        EtudeError: Fewer than two.
    """
    found = {row.label for row in rows}
    if len(found) < 2:
        raise EtudeError(f"{source}: the only label is {min(found)!r}", "Give rows of two labels or more.")
    return sorted(found, key=int) if all(label.isdecimal() for label in found) else sorted(found)


def label_ids(rows: Sequence[Labeled], names: Sequence[str], source: Path | str) -> np.ndarray:
    """Number of each row's label, (rows,).

    Raises:
        EtudeError: A label that the training rows do not have.
    """
    unknown = sorted({row.label for row in rows} - set(names))
    if unknown:
        raise EtudeError(
            f"{source}: label {unknown[0]!r} is in no training row", f"The labels are {', '.join(names)}."
        )
    return np.array([names.index(row.label) for row in rows])


def macro_f1(truth: np.ndarray, chosen: np.ndarray) -> float:
    """Mean over the labels that occur in either of F1 = 2 tp / (2 tp + fp + fn)."""
    scores = []
    for label in np.union1d(truth, chosen):
        hits = float(((truth == label) & (chosen == label)).sum())
        scores.append(2 * hits / float((truth == label).sum() + (chosen == label).sum()))
    return float(np.mean(scores))


def majority(labels: np.ndarray) -> int:
    """The most frequent label, the smallest of equals."""
    counts = Counter(labels.tolist())
    return int(min(counts, key=lambda label: (-counts[label], label)))


def baselines(
    train: Sequence[Labeled], ids: np.ndarray, scored: Mapping[str, tuple[Sequence[Labeled], np.ndarray]]
) -> list[Score]:
    """The majority class of the training rows, and logistic regression on TF-IDF of words and word pairs.

    Args:
        train: Training rows.
        ids: Their labels.
        scored: Split to its rows and labels.
    """
    common = majority(ids)
    choose = tfidf_regression(train, ids)
    found = []
    for split, (rows, truth) in scored.items():
        for by, chosen in (
            ("majority class", np.full_like(truth, common)),
            ("TF-IDF regression", choose(rows)),
        ):
            found.append(
                Score(split, by, float((chosen == truth).mean()), macro_f1(truth, chosen), len(truth))
            )
    return found


def tfidf_regression(train: Sequence[Labeled], ids: np.ndarray) -> Any:
    """Fit the regression; from rows to label numbers. A pair's words are told apart by side, and counted
    where shared.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, tokenizer=str.split, token_pattern=None,
                        lowercase=False),
        LogisticRegression(max_iter=1000, class_weight="balanced"),
    )  # fmt: skip
    model.fit([_words(row) for row in train], ids)
    return lambda rows: model.predict([_words(row) for row in rows])


def _words(row: Labeled) -> str:
    first = ["".join(c for c in word if c.isalnum()) for word in row.text.lower().split()]
    if not row.pair:
        return " ".join(word for word in first if word) or "."
    second = ["".join(c for c in word if c.isalnum()) for word in row.pair.lower().split()]
    shared = sorted({word for word in first if len(word) > 3} & set(second))
    return " ".join(
        [f"a:{w}" for w in first]
        + [f"b:{w}" for w in second]
        + [f"both:{w}" for w in shared]
        + ["shared"] * len(shared)
    )


def classification_ids(tokenizer: Any, row: Labeled, context: int) -> tuple[list[int], bool]:
    """Token ids of a row, the end token last, and whether it was cut to `context` tokens.

    The longer side of a pair is cut; a line break stands between the two.
    """
    first = encode_text(tokenizer, row.text)
    second = encode_text(tokenizer, "\n" + row.pair) if row.pair else []
    room = context - 1
    cut = len(first) + len(second) > room
    if cut and len(second) > room // 2:
        second = second[: max(room - len(first), room // 2)]
    first = first[: room - len(second)]
    return [*first, *second, tokenizer.eos_token_id], cut


class LabeledTokens(Dataset[dict[str, Any]]):
    """Rows as token ids and label numbers."""

    def __init__(self, tokenizer: Any, rows: Sequence[Labeled], ids: np.ndarray, context: int) -> None:
        encoded = [classification_ids(tokenizer, row, context) for row in rows]
        self.ids = [tokens for tokens, _ in encoded]
        self.labels = [int(label) for label in ids]
        self.shortened = sum(cut for _, cut in encoded)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"ids": self.ids[index], "label": self.labels[index]}


def collate_labeled(pad: int, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """A batch padded on the right: input_ids and attention_mask (rows, width), labels (rows,)."""
    width = max(len(item["ids"]) for item in items)
    ids = torch.full((len(items), width), pad)
    mask = torch.zeros(len(items), width, dtype=torch.long)
    for row, item in enumerate(items):
        ids[row, : len(item["ids"])] = torch.tensor(item["ids"])
        mask[row, : len(item["ids"])] = 1
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": torch.tensor([item["label"] for item in items]),
    }


@torch.inference_mode()
def predict_labels(model: Any, tokens: LabeledTokens, pad: int, *, batch_size: int = 16) -> np.ndarray:
    """The most likely label of each row, (rows,); rows of similar length share a batch."""
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(tokens)), key=lambda i: len(tokens.ids[i]))
    chosen = np.zeros(len(tokens), dtype=int)
    for begin in range(0, len(order), batch_size):
        part = order[begin : begin + batch_size]
        batch = collate_labeled(pad, [tokens[i] for i in part])
        del batch["labels"]
        logits = model(**{name: value.to(device) for name, value in batch.items()}).logits
        chosen[part] = logits.argmax(-1).cpu().numpy()
    return chosen
