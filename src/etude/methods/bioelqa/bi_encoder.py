"""The paper's retriever: one encoder f for mentions and names, s(m, n) = f(m)·f(n) of unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etude.methods.bioelqa.dense_search import DenseIndex
from etude.models import Encoder, load_encoder
from etude.models.encoder import Pooling
from etude.models.quiet import quiet_transformers
from etude.runs import read_json, write_json

_FILE = "bi_encoder.json"
_WEIGHTS = "encoder"


class BiEncoder:
    """An encoder as a retriever.

    Args:
        model: An embedded name (`minilm`), a directory, or a hub id. The paper starts from SapBERT
            (`cambridgeltl/SapBERT-from-PubMedBERT-fulltext`, pooling `cls`).
        pooling: How tokens become one vector; by default what the model's files say.
        device: `cpu`, `cuda` ...; default: the GPU if there is one.
    """

    name = "bi-encoder"

    def __init__(
        self, model: str = "minilm", pooling: Pooling | None = None, *, device: str | None = None
    ) -> None:
        self.encoder: Encoder = load_encoder(model, pooling=pooling, device=device)
        self.model = model
        self.trained = False

    @property
    def identity(self) -> dict[str, Any]:
        """Content of the model's files, and pooling."""
        return {
            "retriever": self.name,
            "revision": self.encoder.revision,
            "pooling": self.encoder.pooling,
            "trained": self.trained,
        }

    def fit(self, names: Sequence[str]) -> None:
        """Nothing: see `contrastive.train_bi_encoder`."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Normalized texts to unit rows, (texts, dimension); each different text is encoded once."""
        unique = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = self.encoder.encode(list(unique))
        return vectors[[unique[text] for text in texts]] if texts else vectors

    def index(self, vectors: Any, owners: np.ndarray) -> DenseIndex:
        """Search over encoded names."""
        return DenseIndex(vectors, owners)

    def save(self, folder: Path) -> None:
        """Write the encoder in the Hugging Face format."""
        with quiet_transformers():
            self.encoder.model.save_pretrained(folder / _WEIGHTS)
            self.encoder.tokenizer.save_pretrained(folder / _WEIGHTS)
        write_json(
            folder / _FILE,
            {"model": self.model, "pooling": self.encoder.pooling, "trained": self.trained},
        )

    @classmethod
    def load(cls, folder: Path) -> BiEncoder:
        """Read what `save` wrote."""
        stored = read_json(folder / _FILE)
        made = cls(str(folder / _WEIGHTS), stored["pooling"])
        made.model, made.trained = stored["model"], stored["trained"]
        return made
