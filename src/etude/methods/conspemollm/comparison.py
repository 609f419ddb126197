"""Detectors with and without affect on the same folds: the honest account of whether affect helps.

An arm is a text representation and what is put beside it: `minilm`, `minilm+lexicon`, `tfidf+vad`,
`minilm+shuffled` (VAD values of other texts: the control), `affect` (no text at all), `majority`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack

from etude.errors import EtudeError
from etude.methods.conspemollm.annotator import AffectAnnotator, AffectSettings
from etude.methods.conspemollm.examples import Example
from etude.methods.conspemollm.linear_head import fit_head
from etude.methods.conspemollm.metrics import area_under_curve, macro_f1
from etude.methods.conspemollm.resampled_t import PairedDifference, corrected_resampled_t
from etude.methods.conspemollm.shuffling import other_rows
from etude.methods.conspemollm.splits import SplitRows
from etude.methods.conspemollm.vectors import text_vectors
from etude.models import load_encoder

ARMS = (
    "majority", "affect", "tfidf", "tfidf+lexicon", "tfidf+vad", "minilm", "minilm+lexicon", "minilm+vad",
    "minilm+lexicon+vad", "minilm+shuffled",
)  # fmt: skip
LEXICON_ARMS = ("majority", "affect", "tfidf", "tfidf+lexicon", "minilm", "minilm+lexicon", "minilm+shuffled")
"""The arms that need no EmoBank."""
_PENALTY = 1.0


@dataclass
class Material:
    """Texts, labels and features of a comparison.

    Args:
        examples: Examples of one single-label task.
        emobank: EmoBank's file for the `vad` features, or None.
        encoder: The frozen encoder's name.
        vectors: Text vectors, if they were made otherwise (an affect-tuned encoder).
    """

    examples: Sequence[Example]
    emobank: str | None = None
    encoder: str = "minilm"
    vectors: NDArray[np.float64] | None = None
    _affect: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what folds cannot be made of."""
        if len({one.task for one in self.examples}) != 1 or self.examples[0].conspiracy_task.multi_label:
            raise EtudeError(
                "a comparison takes one task with one class for each text",
                "Use judgment, relatedness or intention.",
            )

    @cached_property
    def labels(self) -> NDArray[np.intp]:
        """Class numbers, (texts,)."""
        return np.array([one.labels[0] for one in self.examples])

    @property
    def classes(self) -> int:
        """How many classes the task has."""
        return len(self.examples[0].conspiracy_task.classes)

    @property
    def groups(self) -> list[int]:
        """The group of each text."""
        return [one.group for one in self.examples]

    @property
    def topics(self) -> list[str]:
        """The topic of each text."""
        return [one.topic for one in self.examples]

    @cached_property
    def text_features(self) -> NDArray[np.float64]:
        """Vectors of the frozen encoder, (texts, dimension)."""
        if self.vectors is not None:
            return self.vectors
        return text_vectors(load_encoder(self.encoder), [one.input for one in self.examples]).astype(float)

    def affect(self, name: str) -> NDArray[np.float64]:
        """Affect values by name: `lexicon`, `vad`, or `shuffled` (VAD, else lexicon, of other texts)."""
        if name == "shuffled":
            values = self.affect("vad" if self.emobank else "lexicon")
            return values[other_rows(len(values), 0)]
        if name not in self._affect:
            settings = AffectSettings((name,), emobank=self.emobank, encoder=self.encoder)  # type: ignore[arg-type]
            self._affect[name] = AffectAnnotator(settings).matrix([one.input for one in self.examples])
        return self._affect[name]


@dataclass(frozen=True)
class FoldScore:
    """An arm on one split.

    Args:
        macro_f1: On the test texts.
        auc: On the test texts, where both sides occur.
        right: Id of each test text to whether its class was named.
    """

    macro_f1: float
    auc: float | None
    right: Mapping[str, bool]


def fold_scores(arm: str, material: Material, splits: Sequence[SplitRows]) -> dict[str, FoldScore]:
    """Fit an arm on each split's training rows and score it on the test rows.

    Args:
        arm: See the module.
        material: Texts and features.
        splits: The splits.

    Raises:
        EtudeError: There is no such arm.
    """
    base, *added = arm.split("+")
    known = ("majority", "affect", "tfidf", "minilm")
    if base not in known or not set(added) <= {"lexicon", "vad", "shuffled"}:
        raise EtudeError(f"no arm {arm!r}", f"There are {', '.join(ARMS)}.")
    if base == "affect":
        added = ["lexicon", "vad"] if material.emobank else ["lexicon"]
    affect = np.hstack([material.affect(name) for name in added]) if added else None
    found = {}
    for split in splits:
        y = material.labels[split.train]
        if base == "majority" or len(set(y.tolist())) < 2:
            most = np.bincount(y, minlength=material.classes)
            each = np.tile(most / most.sum(), (len(split.test), 1))
        elif base == "tfidf":
            each = _tfidf(material, split, affect)
        else:
            features = [material.text_features] if base == "minilm" else []
            x = np.hstack([*features, *([affect] if affect is not None else [])])
            head = fit_head(x[split.train], [(int(at),) for at in y], material.classes, multi_label=False)
            each = head.probabilities(x[split.test])
        true = material.labels[split.test]
        score = macro_f1(true.tolist(), each.argmax(1).tolist(), material.classes)
        area = 0.5 if base == "majority" else area_under_curve([(int(t),) for t in true], each)
        names = [material.examples[row].id for row in split.test]
        hits = (each.argmax(1) == true).tolist()
        found[split.name] = FoldScore(score, area, dict(zip(names, hits, strict=True)))
    return found


def _tfidf(material: Material, split: SplitRows, affect: NDArray[np.float64] | None) -> NDArray[np.float64]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = [one.input for one in material.examples]
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=1, max_features=50_000)
    train: Any = vectorizer.fit_transform([texts[row] for row in split.train])
    test: Any = vectorizer.transform([texts[row] for row in split.test])
    if affect is not None:
        center, scale = affect[split.train].mean(0), affect[split.train].std(0)
        scale[scale == 0] = 1.0
        small = 0.1 * (affect - center) / scale  # on the scale of TF-IDF weights
        train = hstack([train, csr_matrix(small[split.train])]).tocsr()
        test = hstack([test, csr_matrix(small[split.test])]).tocsr()
    fitted = LogisticRegression(C=10 * _PENALTY, max_iter=1000).fit(train, material.labels[split.train])
    each = np.zeros((len(split.test), material.classes))
    each[:, fitted.classes_] = fitted.predict_proba(test)
    return each


def difference(
    arm: dict[str, FoldScore], baseline: dict[str, FoldScore], splits: Sequence[SplitRows]
) -> PairedDifference:
    """Corrected resampled t of the paired differences in macro-F1."""
    share = float(np.mean([len(split.test) / len(split.train) for split in splits]))
    return corrected_resampled_t([arm[s.name].macro_f1 - baseline[s.name].macro_f1 for s in splits], share)


def baseline_of(arm: str) -> str | None:
    """The arm without affect that an arm is compared with."""
    base, plus, _ = arm.partition("+")
    return base if plus else None
