"""The laptop's retriever: TF-IDF over character 2- to 4-grams of words, with exact search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from etude.methods.bioelqa.sparse_search import SparseIndex
from etude.runs import read_json, write_json
from etude.runs.atomic import atomic_path

_FILE = "ngrams.json"
_WEIGHTS = "idf.npy"


class CharNgram:
    """TF-IDF of character n-grams, unit vectors; n-grams do not cross words and mark their edges.

    Args:
        shortest: Characters of the shortest n-gram.
        longest: Of the longest.
    """

    name = "tfidf"

    def __init__(self, shortest: int = 2, longest: int = 4) -> None:
        self.shortest, self.longest = shortest, longest
        self._vectorizer: Any = None

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the vectors besides the names, as JSON."""
        return {"retriever": self.name, "ngrams": [self.shortest, self.longest]}

    def fit(self, names: Sequence[str]) -> None:
        """Learn the n-grams of the names and their document frequencies."""
        self._vectorizer = self._new()
        self._vectorizer.fit(names)

    def encode(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Normalized texts to unit rows, (texts, n-grams), float32; n-grams never seen count nothing."""
        return sp.csr_matrix(self._vectorizer.transform(texts))

    def index(self, vectors: Any, owners: np.ndarray) -> SparseIndex:
        """Search over encoded names."""
        return SparseIndex(vectors, owners)

    def save(self, folder: Path) -> None:
        """Write n-grams and weights (JSON and npy; nothing is pickled)."""
        ngrams = sorted(self._vectorizer.vocabulary_, key=self._vectorizer.vocabulary_.get)
        write_json(folder / _FILE, {"range": [self.shortest, self.longest], "ngrams": ngrams})
        with atomic_path(folder / _WEIGHTS) as temporary:
            np.save(temporary, self._vectorizer.idf_, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> CharNgram:
        """Read what `save` wrote."""
        stored = read_json(folder / _FILE)
        made = cls(*stored["range"])
        made._vectorizer = made._new()
        made._vectorizer.vocabulary_ = {ngram: i for i, ngram in enumerate(stored["ngrams"])}
        made._vectorizer.idf_ = np.load(folder / _WEIGHTS, allow_pickle=False)
        return made

    def _new(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            analyzer="char_wb", ngram_range=(self.shortest, self.longest), dtype=np.float32
        )
