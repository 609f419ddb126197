"""Small networks over frozen word vectors, trained listwise: softmax over the choices of a question.

`FeatureNetwork` is the scorer that works at this size: 14 similarities, 16 hidden units, one score (257
weights). `RelationEncoder` (and its residual variant) is a negative preset: it learned its training pairs and
lost on public tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etude.methods.analogykb.similarity_features import FEATURES, Floats, similarity_features

HIDDEN = 16
_TEMPERATURE = 0.07
_MASKED = -1e4


class FeatureNetwork(nn.Module):
    """Similarities to a score: Linear(14, 16), ReLU, Linear(16, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(len(FEATURES), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        self.register_buffer("shift", torch.zeros(len(FEATURES)))
        self.register_buffer("scale", torch.ones(len(FEATURES)))
        self.shift: Tensor
        self.scale: Tensor

    def standardize(self, inputs: Tensor, mask: Tensor) -> None:
        """Take shift and scale of the features from training inputs, (questions, choices, 14)."""
        rows = inputs[mask.bool()]
        self.shift.copy_(rows.mean(0))
        self.scale.copy_(rows.std(0).clamp(min=1e-4))

    def scores(self, inputs: Tensor) -> Tensor:
        """(questions, choices, 14) to (questions, choices)."""
        return torch.as_tensor(self.layers((inputs - self.shift) / self.scale).squeeze(-1))

    def forward(self, inputs: Tensor, mask: Tensor, answer: Tensor) -> dict[str, Tensor]:
        """The listwise loss."""
        return {"loss": listwise_loss(self.scores(inputs), mask, answer)}


class RelationEncoder(nn.Module):
    """A pair to a relation vector, r(A, B); the score of a choice is the cosine of r(stem) and r(choice).

    Args:
        dimension: Of the word vectors.
        residual: Add the cosine of the plain differences, weighted by a learned gate that begins at 0.
    """

    def __init__(self, dimension: int, *, residual: bool = False, width: int = 128) -> None:
        super().__init__()
        self.dimension, self.residual = dimension, residual
        self.layers = nn.Sequential(nn.Linear(4 * dimension, width), nn.ReLU(), nn.Linear(width, width))
        self.gate = nn.Parameter(torch.zeros(1))

    def relation(self, pair: Tensor) -> Tensor:
        """(..., 2 * dimension), the two words side by side, to unit vectors (..., width)."""
        a, b = pair[..., : self.dimension], pair[..., self.dimension :]
        return nn.functional.normalize(self.layers(torch.cat([a, b, b - a, a * b], dim=-1)), dim=-1)

    def scores(self, inputs: Tensor) -> Tensor:
        """(questions, 1 + choices, 2 * dimension), the stem first, to (questions, choices)."""
        vectors = self.relation(inputs)
        learned = (vectors[:, :1] * vectors[:, 1:]).sum(-1)
        if self.residual:
            plain = inputs[..., self.dimension :] - inputs[..., : self.dimension]
            fixed = nn.functional.cosine_similarity(plain[:, :1], plain[:, 1:], dim=-1)
            learned = fixed + self.gate * learned
        return learned / _TEMPERATURE

    def forward(self, inputs: Tensor, mask: Tensor, answer: Tensor) -> dict[str, Tensor]:
        """The listwise (contrastive) loss."""
        return {"loss": listwise_loss(self.scores(inputs), mask, answer)}


def listwise_loss(scores: Tensor, mask: Tensor, answer: Tensor) -> Tensor:
    """Mean of -log softmax(scores)[answer] over questions.

    Args:
        scores: (questions, choices).
        mask: 1 for choices, 0 for padding, the same shape.
        answer: (questions,).
    """
    return nn.functional.cross_entropy(scores.masked_fill(mask == 0, _MASKED), answer)


def stacked(
    vectors: dict[str, Floats], stems: Sequence[Any], choices: Sequence[Sequence[Any]], *, features: bool
) -> tuple[Tensor, Tensor]:
    """Inputs of a network and the mask of choices, padded to the longest question.

    Args:
        vectors: Word to centered vector.
        stems: Pairs.
        choices: Pairs of each question.
        features: For `FeatureNetwork`; else for `RelationEncoder`.

    Returns:
        Inputs, and the mask, (questions, choices).
    """
    most = max(len(given) for given in choices)
    dimension = len(next(iter(vectors.values())))
    padded = [list(given) + [given[0]] * (most - len(given)) for given in choices]
    mask = np.array([[1] * len(given) + [0] * (most - len(given)) for given in choices], dtype=np.int64)
    left, right = (
        np.stack([vectors[pair[side]] for given in padded for pair in given]).reshape(
            len(stems), most, dimension
        )
        for side in (0, 1)
    )
    a, b = (np.stack([vectors[stem[side]] for stem in stems])[:, None, :] for side in (0, 1))
    if features:
        return torch.from_numpy(similarity_features(a, b, left, right)), torch.from_numpy(mask)
    stem = np.concatenate([a, b], axis=-1)
    inputs = np.concatenate([stem, np.concatenate([left, right], axis=-1)], axis=1)
    return torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(mask)
