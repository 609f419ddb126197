"""Random attention features (RAF): weights(X W Xᵀ/√d) X with Gaussian W (paper section 3).

W (d, d), W_ab ~ N(0, 1/d), stands for W_Q W_Kᵀ. `softmax` is the paper's map; `relu` divides the rectified
scores of a row by their sum (a row of zeros stays zero). Both have a fast evaluator (`attention_update`); any
other function of the scores is evaluated whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.word_sensitivity.attention_update import AttentionPerturbation, AttentionTerms
from etude.methods.word_sensitivity.perturbation import DensePerturbation, Perturbation, generator

Attention = Literal["softmax", "relu"] | Callable[[Tensor], Tensor]


def relu_weights(scores: Tensor) -> Tensor:
    """Rectified scores over their sum, row by row; a row of zeros stays zero. (..., n, n)."""
    positive = torch.relu(scores)
    total = positive.sum(-1, keepdim=True)
    return positive / torch.where(total > 0, total, torch.ones_like(total))


class RandomAttentionFeatures:
    """X (n, d) -> weights(X W Xᵀ/√d) X, (n, d).

    Args:
        d: Width of a token.
        attention: `softmax`, `relu`, or a function from scores (..., n, n) to weights of the same shape.
        seed: Of W.
    """

    def __init__(self, d: int, attention: Attention = "softmax", *, seed: int = 0) -> None:
        if d < 1:
            raise EtudeError(f"d={d}", "A token has at least one number.")
        if isinstance(attention, str) and attention not in ("softmax", "relu"):
            raise EtudeError(
                f"attention {attention!r}", "Choose softmax or relu, or give a function of the scores."
            )
        self.d, self.seed, self.attention = d, seed, attention
        self._last: AttentionTerms | None = None

    @cached_property
    def weights(self) -> Tensor:
        """W, (d, d)."""
        return torch.randn(self.d, self.d, generator=generator(self.seed, self.d)).mul_(self.d**-0.5)

    @property
    def name(self) -> str:
        """`raf`, `relu-raf`, or the function's name."""
        if isinstance(self.attention, str):
            return {"softmax": "raf", "relu": "relu-raf"}[self.attention]
        return f"{getattr(self.attention, '__name__', 'custom')}-raf"

    def describe(self) -> dict[str, Any]:
        """See `FeatureMap`."""
        return {"map": self.name, "seed": self.seed}

    def __call__(self, x: Tensor) -> Tensor:
        """φ(X), (..., n, d)."""
        if x.shape[-1] != self.d:
            raise EtudeError(f"a text of width {x.shape[-1]} for a map of d={self.d}", "Make the map for it.")
        scores = x @ self.weights.to(x) @ x.transpose(-1, -2) / self.d**0.5
        if self.attention == "softmax":
            return torch.softmax(scores, dim=-1) @ x
        if self.attention == "relu":
            return relu_weights(scores) @ x
        assert not isinstance(self.attention, str)
        return self.attention(scores) @ x

    def perturbed(self, x: Tensor, position: int) -> Perturbation:
        """See `FeatureMap`."""
        if not isinstance(self.attention, str):
            return DensePerturbation(self, x, position)
        if x.shape[-1] != self.d:
            raise EtudeError(f"a text of width {x.shape[-1]} for a map of d={self.d}", "Make the map for it.")
        if self._last is None or self._last.x is not x:
            self._last = AttentionTerms(x, self.weights.to(x))
        return AttentionPerturbation(self._last, position, self.attention)
