"""A feature map around one text: what is left of it when all rows but one are fixed.

For a text X (n, d) and a row i, the perturbed text is X^i(Δ) = X + e_i Δᵀ. A `Perturbation` is the function
Δ -> φ(X^i(Δ)), reduced to what the supremum needs: the distance to φ(X), its gradient, and good places to
start from. Any function of X can be asked; maps that know a shortcut bring a `Perturbation` of their own.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError

Rule: TypeAlias = Literal["conditional", "normalized"]
"""How to climb: Δ <- r g/‖g‖ (convex maps), or normalized steps that shrink, back onto the sphere."""

LinearForms: TypeAlias = Callable[[Tensor], Tensor]
"""From Δ (B, d) to the inner products of φ(X^i(Δ)) with m fixed vectors, (B, m); differentiable."""


@dataclass(frozen=True)
class Bound:
    """A closed form for the supremum.

    Args:
        value: Of ‖φ(X^i(Δ)) - φ(X)‖ / ‖φ(X)‖.
        kind: `lower`: reached by `delta`; `upper`: in expectation over the map's weights never exceeded.
        delta: The Δ that reaches it, (d,), for lower bounds.
    """

    value: float
    kind: Literal["lower", "upper"]
    delta: Tensor | None = None


class Perturbation(ABC):
    """Δ -> φ(X^i(Δ)) for one text and one row.

    Attributes:
        row: x_i, (d,).
        norm: ‖φ(X)‖_F.
        rule: How the supremum is climbed to.
    """

    row: Tensor
    norm: float
    rule: Rule = "normalized"

    @abstractmethod
    def squared_distances(self, deltas: Tensor) -> Tensor:
        """‖φ(X^i(Δ)) - φ(X)‖² for each Δ, (B, d) to (B,), in float64; differentiable."""

    def with_gradients(self, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances (B,) and their gradients (B, d); by autograd unless a map knows better."""
        leaf = deltas.detach().requires_grad_()
        with torch.enable_grad():
            values = self.squared_distances(leaf)
            if not values.requires_grad:  # a constant map
                return values.detach(), torch.zeros_like(deltas)
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        return values.detach(), gradient

    def linear_forms(self, vectors: Tensor) -> LinearForms:
        """⟨φ(X^i(Δ)), v⟩ for fixed vectors (m, features), as a function of Δ.

        Raises:
            EtudeError: This map offers no inner products.
        """
        raise EtudeError(
            f"{type(self).__name__} offers no inner products with its features",
            "Context modification works on rf, drf, raf and relu-raf.",
        )

    def starts(self, count: int, radius: float, random: torch.Generator) -> Tensor:
        """Where ascents begin, (count, d): random directions on the sphere, unless a map knows better."""
        return on_sphere(count, self.row, radius, random)

    def bound(self, radius: float, random: torch.Generator) -> Bound | None:
        """A closed form, if the map has one."""
        return None


@runtime_checkable
class FeatureMap(Protocol):
    """A map X (n, d) -> features that knows its own perturbations."""

    def __call__(self, x: Tensor) -> Tensor:
        """φ(X)."""

    def perturbed(self, x: Tensor, position: int) -> Perturbation:
        """Δ -> φ(X^i(Δ)) for row i = `position`."""

    def describe(self) -> dict[str, Any]:
        """What tells this map from others: `map`, `k`, `depth`, `seed`, as far as it has them."""


AnyMap: TypeAlias = FeatureMap | Callable[[Tensor], Tensor]


class DensePerturbation(Perturbation):
    """Any function of X, evaluated whole for each Δ; gradients by autograd. Slow, and always right.

    Args:
        function: X (n, d) to a tensor of any shape.
        x: The text, (n, d).
        position: i.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor, position: int) -> None:
        self.function = function
        self.x = x
        self.position = position
        self.row = x[position]
        with torch.no_grad():
            self.base = function(x).double()
        self.norm = float(self.base.norm())

    def features(self, deltas: Tensor) -> Tensor:
        """φ(X^i(Δ)), (B, *features)."""
        unit = torch.zeros(len(self.x), 1, dtype=self.x.dtype, device=self.x.device)
        unit[self.position] = 1.0
        return torch.stack([self.function(self.x + unit * delta) for delta in deltas])

    def squared_distances(self, deltas: Tensor) -> Tensor:
        """See `Perturbation`."""
        return (self.features(deltas).double() - self.base).flatten(1).square().sum(1)

    def linear_forms(self, vectors: Tensor) -> LinearForms:
        """See `Perturbation`."""
        return lambda deltas: self.features(deltas).flatten(1) @ vectors.flatten(1).T


def perturb(map_: AnyMap, x: Tensor, position: int) -> Perturbation:
    """The map's own perturbation, or the dense one for a plain function."""
    if isinstance(map_, FeatureMap):
        return map_.perturbed(x, position)
    return DensePerturbation(map_, x, position)


def on_sphere(count: int, row: Tensor, radius: float, random: torch.Generator) -> Tensor:
    """Uniform directions of length `radius`, (count, d), of the type of `row`."""
    drawn = torch.randn(count, len(row), generator=random)
    scaled: Tensor = drawn * (radius / drawn.norm(dim=1, keepdim=True))
    return scaled.to(row)


def generator(*parts: int) -> torch.Generator:
    """A random source that depends on all the parts."""
    state = np.random.SeedSequence([part % 2**64 for part in parts]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) % 2**63)


def fingerprint(x: Tensor) -> int:
    """A number that tells one text from another, to draw what belongs to this text alone."""
    return int.from_bytes(hashlib.sha256(x.detach().cpu().numpy().tobytes()).digest()[:8], "little")


def as_text(x: Any) -> Tensor:
    """A text as a float tensor (n, d), checked.

    Raises:
        EtudeError: Not a matrix, NaN or infinite values, or a row of zeros.
    """
    text = torch.as_tensor(x)
    if text.ndim != 2 or not len(text):
        raise EtudeError(
            f"a text of shape {tuple(text.shape)}", "Give one text as a matrix (tokens, dimension)."
        )
    text = text if text.dtype in (torch.float32, torch.float64) else text.float()
    if not bool(torch.isfinite(text).all()):
        raise EtudeError(
            f"row {int((~torch.isfinite(text)).any(1).nonzero()[0])} of the text holds NaN or infinity",
            "Mend the embeddings.",
        )
    zero = (text == 0).all(1)
    if bool(zero.any()):
        raise EtudeError(
            f"row {int(zero.nonzero()[0])} of the text is zero, so it has no direction and no radius",
            "Drop that token (an unused row of a vocabulary?).",
        )
    return text


def rescale(x: Tensor) -> Tensor:
    """Rows scaled to ‖x_i‖ = √d, the paper's inputs; slice columns before, not after. Any (..., d)."""
    scaled: Tensor = x * (x.shape[-1] ** 0.5 / x.norm(dim=-1, keepdim=True))
    return scaled
