"""The learners of context modification: min-norm interpolation, fine-tuned or re-trained on one more text.

Φ (N, p) holds the features of the training texts, Y their labels, θ0 = Φ⁺Y. A new text X with label y is
learned by one exact step, θ_f = θ0 + φ(X)(y - φ(X)ᵀθ0)/‖φ(X)‖², or by interpolating all N + 1 texts, θ_r.
For any changed text,

    φ(X')ᵀθ = φ(X')ᵀθ0 + F (y - φ(X)ᵀθ0),   F_f = ⟨φ(X'), φ(X)⟩/‖φ(X)‖²,   F_r = ⟨φ(X'), P⊥φ(X)⟩/‖P⊥φ(X)‖²

with P⊥ = I - Φ⁺Φ (paper section 5), so two inner products with φ(X') say what either learner predicts. P⊥φ is
φ - Φᵀ K⁻¹ Φφ with K = ΦΦᵀ (N, N): nothing of size p x p is made.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from etude.errors import EtudeError

Learner: TypeAlias = Literal["fine_tuned", "retrained"]

_CUT = 1e-12  # eigenvalues of K below this part of the largest count as zero
_MISS = 1e-4  # of a label: what an interpolator may miss


class MinNormFit:
    """θ0 = Φ⁺Y, and the projection beside the training features. Everything in float64.

    Args:
        features: Φ, (N, p).
        labels: Y, ±1, (N,).

    Raises:
        EtudeError: No θ fits all labels (more texts than the rank of Φ).
    """

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features = features.double()
        values, vectors = torch.linalg.eigh(self.features @ self.features.T)
        kept = values > _CUT * values[-1].clamp(min=0)
        self.rank = int(kept.sum())
        inverse = torch.where(kept, 1 / torch.where(kept, values, torch.ones_like(values)), 0 * values)
        self.inverse = (vectors * inverse) @ vectors.T  # K⁺
        self.theta = self.features.T @ (self.inverse @ labels.double())
        miss = float((self.features @ self.theta - labels.double()).abs().max())
        if not miss <= _MISS:
            raise EtudeError(
                f"{len(labels)} labels cannot be interpolated: the features have rank {self.rank}, and the "
                f"best fit misses a label by {miss:.3g}",
                "Use fewer training texts, more features (k, n, d), or drop texts that occur twice.",
            )

    def beside(self, feature: Tensor) -> Tensor:
        """P⊥φ, (p,)."""
        phi = feature.double()
        once: Tensor = phi - self.features.T @ (self.inverse @ (self.features @ phi))
        again: Tensor = self.features.T @ (self.inverse @ (self.features @ once))  # what rounding left
        return once - again

    def alignment_vector(self, feature: Tensor, learner: Learner) -> Tensor:
        """V with F = ⟨φ(X'), v⟩ after learning the text with this feature φ(X), (p,).

        Raises:
            EtudeError: φ(X) lies in the span of the training features, so no re-training can learn X.
        """
        direction = feature.double() if learner == "fine_tuned" else self.beside(feature)
        squared = direction.square().sum()
        if not float(squared) > _CUT * float(feature.double().square().sum()):
            raise EtudeError(
                "the new text's features lie in the span of the training features",
                "Use fewer training texts or more features: interpolation of the new text is impossible.",
            )
        return direction / squared
