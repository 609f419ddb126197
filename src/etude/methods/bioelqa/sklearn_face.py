"""The linker as a scikit-learn classifier: lists of mentions in, ids out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from etude.methods.bioelqa.case_base import Case
from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.normalization import normalize
from etude.methods.bioelqa.retrievers import retriever_by_name
from etude.methods.bioelqa.selectors import SelectorName
from etude.methods.bioelqa.training import make_selector
from etude.methods.bioelqa.vocabulary import Vocabulary


class MentionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """`fit(mentions, ids)`, `predict(mentions)`, `score(mentions, ids)`, in pipelines and grid searches.

    Args:
        vocabulary: The ids and their names.
        retriever: As in `train`.
        selector: As in `train`.
        model: Of the selector.
        n_options, n_clues, clue_mask, abstain: As in `BioELQA`.
        random_state: Of masking, orders, weights.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        retriever: str = "tfidf",
        selector: SelectorName = "features",
        model: str | None = None,
        n_options: int = 10,
        n_clues: int = 3,
        clue_mask: float = 0.3,
        abstain: bool = False,
        random_state: int = 0,
    ) -> None:
        self.vocabulary, self.retriever, self.selector, self.model = vocabulary, retriever, selector, model
        self.n_options, self.n_clues, self.clue_mask = n_options, n_clues, clue_mask
        self.abstain, self.random_state = abstain, random_state

    def fit(self, X: Sequence[str], y: Sequence[str]) -> MentionClassifier:
        """Learn from mentions with their ids; ids unknown to the vocabulary are left out."""
        cases = [Case(normalize(m), str(i)) for m, i in zip(X, y, strict=True) if str(i) in self.vocabulary]
        self.linker_ = BioELQA(
            retriever_by_name(self.retriever),
            make_selector(self.selector, self.model),
            n_options=self.n_options,
            n_clues=self.n_clues,
            clue_mask=self.clue_mask,
            abstain=self.abstain,
        ).fit_cases(cases, self.vocabulary, seed=self.random_state)
        self.classes_ = np.array([entity.id for entity in self.vocabulary])
        return self

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """Ids, `-1` where the linker abstains."""
        check_is_fitted(self)
        return np.array([id or "-1" for id in self.linker_.predict(list(X))])

    def __sklearn_tags__(self) -> Any:
        """Inputs are texts."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags
