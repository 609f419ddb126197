"""Labellers that score and then cut: BM25, a sentence encoder, a cross-encoder. Thresholds come from gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.relevance.collection import Pair
from etude.methods.relevance.labels import Label

if TYPE_CHECKING:
    from etude.models import Encoder

POOL = 100
"""A query's best documents by BM25, whose mean and deviation make its scores comparable between queries."""


class Scorer(Protocol):
    """What gives a pair a real number: the higher, the more relevant."""

    @property
    def name(self) -> str:
        """Shown in the labels as the model."""

    def scores(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """One score for each pair, comparable between queries, (pairs,)."""


class ScoreLabeller:
    """A scorer whose scores are cut into grades.

    Args:
        scorer: BM25, an encoder, a cross-encoder, or a sum.
        thresholds: Ascending; a score from the k-th on is at least grade k.
    """

    def __init__(self, scorer: Scorer, thresholds: Sequence[float]) -> None:
        if not thresholds or list(thresholds) != sorted(thresholds):
            raise EtudeError(f"thresholds {list(thresholds)}", "Give ascending ones; see calibrate.")
        self.scorer, self.thresholds = scorer, list(thresholds)

    @property
    def name(self) -> str:
        """The scorer's name."""
        return self.scorer.name

    def label(self, pairs: Sequence[Pair]) -> list[Label]:
        """Score pairs and cut."""
        scores = self.scorer.scores(pairs)
        grades = np.searchsorted(self.thresholds, scores, side="right")
        return [
            Label(
                qid=pair.qid, docid=pair.docid, model=self.name, O=float(grade), score=float(score),
                prompt="thresholds " + ",".join(f"{t:.6g}" for t in self.thresholds),
            )
            for pair, grade, score in zip(pairs, grades, scores, strict=True)
        ]  # fmt: skip


class BM25Scorer:
    """BM25 over the whole collection (bm25s, stems), standardized by each query's 100 best documents.

    Args:
        documents: docid to text: the collection that statistics come from.
        k1: Saturation of repeated words.
        b: Weight of the document's length.
        stems: Whether words are stemmed.

    Raises:
        EtudeError: bm25s is not installed.
    """

    def __init__(
        self, documents: Mapping[str, str], *, k1: float = 1.5, b: float = 0.75, stems: bool = True
    ) -> None:
        try:
            import bm25s
            import Stemmer
        except ImportError as error:
            raise EtudeError("BM25 needs bm25s and PyStemmer", "pip install 'etude[retrieval]'") from error
        self.ids = list(documents)
        self.place = {docid: number for number, docid in enumerate(self.ids)}
        self._stemmer = Stemmer.Stemmer("english") if stems else None
        self._index = bm25s.BM25(k1=k1, b=b)
        texts = list(documents.values())
        self._index.index(self._tokens(texts, return_ids=True), show_progress=False)
        self._known: dict[str, NDArray[np.float64]] = {}

    @property
    def name(self) -> str:
        """`bm25`."""
        return "bm25"

    def ranking(self, query: str) -> NDArray[np.float64]:
        """The query's score of every document, in the order of `ids`."""
        if query not in self._known:
            if len(self._known) > 64:
                self._known.clear()
            [words] = self._tokens([query], return_ids=False)
            known = [word for word in words if word in self._index.vocab_dict]
            scores = self._index.get_scores(known) if known else np.zeros(len(self.ids))
            self._known[query] = np.asarray(scores, dtype=np.float64)
        return self._known[query]

    def scores(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """Scores in deviations from the mean of the query's 100 best documents.

        Raises:
            EtudeError: A document is not in the collection.
        """
        found = np.zeros(len(pairs))
        for number, pair in enumerate(pairs):
            if pair.docid not in self.place:
                raise EtudeError(f"document {pair.docid} is not in the collection", "Index it too.")
            every = self.ranking(pair.query)
            top = np.sort(every)[-POOL:]
            spread = top.std()
            found[number] = (every[self.place[pair.docid]] - top.mean()) / spread if spread > 0 else 0.0
        return found

    def _tokens(self, texts: list[str], *, return_ids: bool) -> Any:
        import bm25s

        return bm25s.tokenize(
            texts, stopwords="en", stemmer=self._stemmer, return_ids=return_ids, show_progress=False
        )


class EncoderScorer:
    """Cosine between query and document under a sentence encoder (MiniLM by default).

    Args:
        model: An encoder's name, or an encoder.
    """

    def __init__(self, model: str | Encoder = "minilm") -> None:
        self.model = model
        self._known: dict[str, NDArray[np.float32]] = {}

    @property
    def name(self) -> str:
        """The encoder's name."""
        return self.model if isinstance(self.model, str) else self.model.name

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, loaded at first use."""
        from etude.models import load_encoder

        return load_encoder(self.model) if isinstance(self.model, str) else self.model

    def remember(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Take vectors that were computed before, (texts, dimension)."""
        self._known.update(zip(texts, vectors, strict=True))

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, (texts, dimension); a text is encoded once as long as it is remembered."""
        if len(self._known) > 20_000:
            self._known.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self.encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])

    def scores(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """Cosines, (pairs,)."""
        queries = self.vectors([pair.query for pair in pairs])
        documents = self.vectors([pair.text for pair in pairs])
        return np.asarray((queries * documents).sum(1), dtype=np.float64)


class CrossEncoderScorer:
    """A cross-encoder that reads query and document together and gives one logit.

    Args:
        model: A directory or hub id of a sequence-classification model with one output.

    Raises:
        EtudeError: It is no such model.
    """

    def __init__(self, model: str) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification

        from etude.models import load_tokenizer, model_directory

        directory = model_directory(model)
        self.model_name = model
        self._tokenizer = load_tokenizer(str(directory))
        try:
            self._model = AutoModelForSequenceClassification.from_pretrained(
                directory, dtype=torch.float32, use_safetensors=True
            ).eval()
        except (ValueError, OSError, KeyError) as error:
            raise EtudeError(f"{model}: cannot be loaded ({error})"[:300], "Give a cross-encoder.") from error
        if self._model.config.num_labels != 1:
            raise EtudeError(
                f"{model} has {self._model.config.num_labels} outputs", "A cross-encoder for ranking has one."
            )

    @property
    def name(self) -> str:
        """The model's name, as it is given on the command line."""
        return f"cross-encoder:{self.model_name}"

    def scores(self, pairs: Sequence[Pair], batch_size: int = 32) -> NDArray[np.float64]:
        """Logits, (pairs,); pairs of similar length share a batch."""
        import torch

        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].text))
        found = np.zeros(len(pairs))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = self._tokenizer(
                [pairs[i].query for i in chosen],
                [pairs[i].text for i in chosen],
                truncation="only_second",
                max_length=min(int(self._tokenizer.model_max_length), 512),
                padding=True,
                return_tensors="pt",
            )
            with torch.inference_mode():
                found[chosen] = self._model(**batch).logits[:, 0].double().numpy()
        return found


class SummedScorer:
    """The sum of several scorers, e.g. an encoder and BM25.

    Args:
        scorers: What is added.
        weights: A factor for each; 1 by default.
    """

    def __init__(self, scorers: Sequence[Scorer], weights: Sequence[float] | None = None) -> None:
        self.scorers = list(scorers)
        self.weights = list(weights or [1.0] * len(scorers))

    @property
    def name(self) -> str:
        """Their names with a plus."""
        return "+".join(scorer.name for scorer in self.scorers)

    def scores(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """The weighted sum, (pairs,)."""
        parts = [w * s.scores(pairs) for w, s in zip(self.weights, self.scorers, strict=True)]
        return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


class BM25Labeller(ScoreLabeller):
    """BM25 with thresholds."""

    def __init__(self, documents: Mapping[str, str], thresholds: Sequence[float]) -> None:
        super().__init__(BM25Scorer(documents), thresholds)


class MiniLMLabeller(ScoreLabeller):
    """MiniLM, or another sentence encoder, with thresholds."""

    def __init__(self, thresholds: Sequence[float], model: str | Encoder = "minilm") -> None:
        super().__init__(EncoderScorer(model), thresholds)


class CrossEncoderLabeller(ScoreLabeller):
    """A cross-encoder with thresholds."""

    def __init__(self, model: str, thresholds: Sequence[float]) -> None:
        super().__init__(CrossEncoderScorer(model), thresholds)
