"""Real replacement words: the rows of an embedding matrix, and the one that moves the map farthest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.word_sensitivity.perturbation import Perturbation, generator

_BATCH = 64


@dataclass(frozen=True)
class Vocabulary:
    """Replacement tokens.

    Args:
        embeddings: One row each, (tokens, d), in the scale of the texts.
        ids: Token ids.
        tokens: As text.
    """

    embeddings: Tensor
    ids: tuple[int, ...]
    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse an empty or uneven one."""
        if not len(self.embeddings) == len(self.ids) == len(self.tokens) or not self.ids:
            raise EtudeError(
                f"a vocabulary of {len(self.embeddings)} rows, {len(self.ids)} ids and {len(self.tokens)} "
                "tokens",
                "Give one of each per token, at least one.",
            )


def sample_ids(usable: Sequence[int], count: int, seed: int) -> list[int]:
    """A seeded sample of token ids in ascending order; all of them when `count` is 0 or too large."""
    if not 0 < count < len(usable):
        return list(usable)
    chosen = torch.randperm(len(usable), generator=generator(seed, len(usable)))[:count]
    return sorted(usable[int(i)] for i in chosen)


def replacement_distances(
    perturbation: Perturbation, vocabulary: Vocabulary, *, batch: int = _BATCH
) -> Tensor:
    """‖φ(X with row i replaced) - φ(X)‖² for each token, (tokens,), without gradients."""
    rows = vocabulary.embeddings.to(perturbation.row)
    with torch.no_grad():
        parts = [
            perturbation.squared_distances(part - perturbation.row)
            for part in torch.split(rows, max(1, batch))
        ]
    return torch.cat(parts)
