"""Valence, arousal and dominance from a frozen encoder: a ridge or MLP head trained on EmoBank.

All three dimensions in one pass. The weights are plain arrays in safetensors; nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.methods.conspemollm.emobank import DIMENSIONS, HIGH, LOW, EmoBank
from etude.methods.conspemollm.vectors import text_vectors
from etude.models import Encoder, load_encoder
from etude.runs import atomic_path, content_hash

HeadKind: TypeAlias = Literal["ridge", "mlp"]
_ALPHAS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class VadHead:
    """A trained head.

    Args:
        encoder: Name of the encoder it reads.
        revision: The encoder's content.
        layers: (weights, bias) of each layer; between layers stands a ReLU.
        quality: Pearson's r with the ratings of sentences it was not trained on, by dimension.
        trained_on: How many sentences it was trained on.
    """

    encoder: str
    revision: str
    layers: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
    quality: dict[str, float]
    trained_on: int

    def ratings(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Valence, arousal, dominance from 1 to 5, (texts, 3), of the encoder's vectors."""
        states = vectors.astype(np.float64)
        for place, (weights, bias) in enumerate(self.layers):
            states = states @ weights + bias
            if place + 1 < len(self.layers):
                states = np.maximum(states, 0)
        return states.clip(LOW, HIGH)

    def save(self, path: Path) -> None:
        """Write as safetensors, in one step."""
        tensors = {}
        for place, (weights, bias) in enumerate(self.layers):
            tensors[f"{place}.weights"], tensors[f"{place}.bias"] = np.ascontiguousarray(weights), bias.copy()
        facts = {"encoder": self.encoder, "revision": self.revision, "trained_on": str(self.trained_on)}
        facts |= {f"r.{name}": repr(value) for name, value in self.quality.items()}
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata=facts)

    @classmethod
    def load(cls, path: Path) -> VadHead:
        """Read what `save` wrote.

        Raises:
            EtudeError: It is not there or is something else.
        """
        try:
            tensors = load_file(path)
            with safe_open(path, "np") as handle:
                facts = handle.metadata() or {}
            layers = tuple(
                (tensors[f"{place}.weights"], tensors[f"{place}.bias"]) for place in range(len(tensors) // 2)
            )
            quality = {name: float(facts[f"r.{name}"]) for name in DIMENSIONS if f"r.{name}" in facts}
            return cls(facts["encoder"], facts["revision"], layers, quality, int(facts["trained_on"]))
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise EtudeError(f"{path}: not a VAD head ({error})", "Train it again from EmoBank.") from error


def train_vad_head(
    encoder: Encoder,
    train: EmoBank,
    held_out: EmoBank | None = None,
    *,
    kind: HeadKind = "ridge",
    seed: int = 0,
) -> VadHead:
    """Train a head on EmoBank.

    Args:
        encoder: A frozen encoder.
        train: Sentences to learn from.
        held_out: Sentences for the stated quality; a tenth of the training sentences when not given, which
            are then not learned from.
        kind: `ridge` (penalty by leave-one-out on the training sentences) or `mlp` (one hidden layer of 64).
        seed: Of the MLP and of the tenth.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.neural_network import MLPRegressor

    if held_out is None:
        order = np.random.default_rng(seed).permutation(len(train))
        cut = max(1, len(train) // 10)
        train, held_out = train.take(order[cut:]), train.take(order[:cut])
    vectors = text_vectors(encoder, train.texts)
    if kind == "ridge":
        fitted = RidgeCV(alphas=_ALPHAS).fit(vectors, train.ratings)
        layers: tuple[Any, ...] = ((fitted.coef_.T.astype(np.float64), fitted.intercept_.astype(np.float64)),)
    else:
        fitted = MLPRegressor(
            hidden_layer_sizes=(64,), early_stopping=True, random_state=seed, max_iter=200,
            learning_rate_init=2e-3,
        ).fit(vectors, train.ratings)  # fmt: skip
        layers = tuple(
            (weights.astype(np.float64), bias.astype(np.float64))
            for weights, bias in zip(fitted.coefs_, fitted.intercepts_, strict=True)
        )
    head = VadHead(encoder.name, encoder.revision, layers, {}, len(train))
    said = head.ratings(text_vectors(encoder, held_out.texts))
    return VadHead(encoder.name, encoder.revision, layers, correlations(said, held_out.ratings), len(train))


def correlations(said: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, float]:
    """Pearson's r of each dimension; 0 for a constant prediction."""
    found = {}
    for column, name in enumerate(DIMENSIONS):
        constant = np.ptp(said[:, column]) == 0 or np.ptp(true[:, column]) == 0
        found[name] = 0.0 if constant else float(np.corrcoef(said[:, column], true[:, column])[0, 1])
    return found


def vad_head(splits: dict[str, EmoBank], encoder: str = "minilm", kind: HeadKind = "ridge") -> VadHead:
    """The head of an encoder and EmoBank, trained once and kept in the cache."""
    loaded = load_encoder(encoder)
    train = splits["train"]
    key = content_hash([loaded.revision, kind, list(train.ids), train.ratings.tolist(), 1])
    file = cache_root() / "conspemollm" / f"vad-{key[:24]}.safetensors"
    if not file.is_file():
        train_vad_head(loaded, train, splits.get("dev"), kind=kind).save(file)
    return VadHead.load(file)


def vad_of(head: VadHead, texts: Sequence[str]) -> NDArray[np.float64]:
    """Ratings of texts, (texts, 3); long texts are read in chunks and averaged."""
    return head.ratings(text_vectors(load_encoder(head.encoder), texts, "mean", keep=False))
