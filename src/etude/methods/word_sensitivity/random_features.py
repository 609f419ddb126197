"""Random features (RF) and deep random features (DRF): dense layers with Gaussian weights, applied to vec X.

RF: φ(V vec X), V (k, D), V_ab ~ N(0, 1/D), D = n d (paper section 3). DRF of depth L: the first layer has
variance 2/D, the later ones, (k, k), variance 2/k, so that ReLU keeps the norm (section 4.2).

Only the block V_i (k, d) of V sees Δ; everything else enters through z = V vec(X without row i), which is
N(0, ‖X_-i‖²/D) in each coordinate and independent of V_i. So `perturbed` draws the pair (z, V_i) from its
law instead of reading it from V: memory k d instead of k n d. With `lazy=False` it is read from V, which is
drawn in blocks of rows and never held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.word_sensitivity.perturbation import (
    Bound,
    LinearForms,
    Perturbation,
    fingerprint,
    generator,
    on_sphere,
)

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, tuple[Activation, float]] = {
    "relu": (torch.relu, 1.0),
    "tanh": (torch.tanh, 1.0),
    "sigmoid": (torch.sigmoid, 0.25),
    "identity": (lambda h: h, 1.0),
}
"""Name to activation and its Lipschitz constant."""

_BLOCK = 2**24  # entries of V in memory at a time
_FIRST, _LATER, _BLOCK_OF_ROW, _REST = range(4)  # what a random source is for


class DeepRandomFeatures:
    """φ(V_L φ(... φ(V_1 vec X))), with weights that follow from the seed.

    Args:
        n: Tokens of a text.
        d: Width of a token.
        k: Features.
        activation: `relu`, `tanh`, `sigmoid`, `identity`, or a function.
        depth: L.
        seed: Of the weights.
        lazy: Draw (z, V_i) from its law in `perturbed`, instead of reading it from V.
    """

    name = "drf"
    gain = 2.0

    def __init__(
        self,
        n: int,
        d: int,
        k: int,
        activation: str | Activation = "relu",
        *,
        depth: int = 4,
        seed: int = 0,
        lazy: bool = True,
    ) -> None:
        if min(n, d, k, depth) < 1:
            raise EtudeError(f"n={n}, d={d}, k={k}, depth={depth}", "All of them must be at least 1.")
        if isinstance(activation, str) and activation not in ACTIVATIONS:
            raise EtudeError(f"activation {activation!r}", f"Choose {', '.join(ACTIVATIONS)}, or a function.")
        self.n, self.d, self.k, self.depth, self.seed, self.lazy = n, d, k, depth, seed, lazy
        self.activation: Activation = (
            ACTIVATIONS[activation][0] if isinstance(activation, str) else activation
        )
        self.lipschitz = ACTIVATIONS[activation][1] if isinstance(activation, str) else None

    @property
    def scale(self) -> float:
        """Standard deviation of the first layer's weights."""
        return float((self.gain / (self.n * self.d)) ** 0.5)

    @cached_property
    def later(self) -> list[Tensor]:
        """Weights of the layers after the first, (k, k) each."""
        shape, std = (self.k, self.k), (2 / self.k) ** 0.5
        return [
            torch.randn(shape, generator=generator(self.seed, _LATER, layer, self.k)).mul_(std)
            for layer in range(1, self.depth)
        ]

    def describe(self) -> dict[str, Any]:
        """See `FeatureMap`."""
        return {"map": self.name, "k": self.k, "depth": self.depth, "seed": self.seed}

    def __call__(self, x: Tensor) -> Tensor:
        """φ(X) of one text (n, d): (k,); of many (N, n, d): (N, k)."""
        first, _ = self.project(x if x.ndim == 3 else x[None])
        features = self.upward(first)
        return features if x.ndim == 3 else features[0]

    def upward(self, preactivations: Tensor) -> Tensor:
        """From V_1 vec X, (..., k), to the features."""
        features = self.activation(preactivations)
        for weights in self.later:
            features = self.activation(features @ weights.to(features).T)
        return features

    def project(self, texts: Tensor, positions: Sequence[int] = ()) -> tuple[Tensor, dict[int, Tensor]]:
        """V vec X of many texts, and some blocks V_i, in one pass over V.

        Args:
            texts: (N, n, d).
            positions: The i whose blocks are wanted.

        Returns:
            (N, k), and i to V_i (k, d).
        """
        self._check(texts.shape[-2:])
        flat = texts.flatten(1)
        pieces, blocks = [], {i: [] for i in positions}  # type: tuple[list[Tensor], dict[int, list[Tensor]]]
        for rows in self._rows():
            rows = rows.to(flat)
            pieces.append(flat @ rows.T)
            for i in positions:
                blocks[i].append(rows[:, i * self.d : (i + 1) * self.d].clone())
        return torch.cat(pieces, dim=1), {i: torch.cat(parts) for i, parts in blocks.items()}

    def perturbed(self, x: Tensor, position: int) -> FeaturePerturbation:
        """See `FeatureMap`."""
        self._check(x.shape)
        if not self.lazy:
            first, blocks = self.project(x[None], (position,))
            return FeaturePerturbation(self, x[position], first[0], blocks[position])
        shape = (self.n, self.d, self.k)
        block = torch.randn(self.k, self.d, generator=generator(self.seed, _BLOCK_OF_ROW, position, *shape))
        block = block.mul_(self.scale).to(x)
        others = (x.norm().square() - x[position].norm().square()).clamp(min=0).sqrt()
        source = generator(self.seed, _REST, position, fingerprint(x), *shape)
        rest = torch.randn(self.k, generator=source).to(x) * (self.scale * others)
        return FeaturePerturbation(self, x[position], rest + block @ x[position], block)

    def _rows(self) -> Iterator[Tensor]:
        """V in blocks of rows, each with its own random source: (rows, D)."""
        width = self.n * self.d
        height = max(1, _BLOCK // width)
        for start in range(0, self.k, height):
            source = generator(self.seed, _FIRST, start, self.n, self.d, self.k)
            yield torch.randn(min(height, self.k - start), width, generator=source).mul_(self.scale)

    def _check(self, shape: Sequence[int]) -> None:
        if tuple(shape) != (self.n, self.d):
            raise EtudeError(
                f"a text of shape {tuple(shape)} for a map of n={self.n}, d={self.d}",
                "Make the map for the text's own shape.",
            )


class RandomFeatures(DeepRandomFeatures):
    """φ(V vec X), V_ab ~ N(0, 1/D).

    Args:
        n: Tokens of a text.
        d: Width of a token.
        k: Features.
        activation: `relu`, `tanh`, `sigmoid`, `identity`, or a Lipschitz function.
        seed: Of the weights.
        lazy: See `DeepRandomFeatures`.
    """

    name = "rf"
    gain = 1.0

    def __init__(
        self,
        n: int,
        d: int,
        k: int,
        activation: str | Activation = "relu",
        *,
        seed: int = 0,
        lazy: bool = True,
    ) -> None:
        super().__init__(n, d, k, activation, depth=1, seed=seed, lazy=lazy)


class FeaturePerturbation(Perturbation):
    """RF or DRF around one text: only V_i Δ is computed.

    Args:
        map_: The map.
        row: x_i, (d,).
        base: V vec X, (k,).
        block: V_i, (k, d).
    """

    rule = "conditional"

    def __init__(self, map_: DeepRandomFeatures, row: Tensor, base: Tensor, block: Tensor) -> None:
        self.map, self.row, self.base, self.block = map_, row, base, block
        self.features = map_.upward(base)
        self.norm = float(self.features.double().norm())

    def moved(self, deltas: Tensor) -> Tensor:
        """φ(X^i(Δ)), (B, k)."""
        return self.map.upward(self.base + deltas @ self.block.T)

    def squared_distances(self, deltas: Tensor) -> Tensor:
        """See `Perturbation`."""
        return (self.moved(deltas) - self.features).double().square().sum(1)

    def linear_forms(self, vectors: Tensor) -> LinearForms:
        """See `Perturbation`."""
        return lambda deltas: self.moved(deltas) @ vectors.to(self.block).T

    def starts(self, count: int, radius: float, random: torch.Generator) -> Tensor:
        """Random directions; the iteration forgets them within a few steps."""
        return on_sphere(count, self.row, radius, random)

    def bound(self, radius: float, random: torch.Generator) -> Bound | None:
        """‖Δ‖ times the layers' Lipschitz constants over ‖φ(X)‖: √(2/n)(1 + √(d/k)) for a ReLU RF.

        A (k, d) Gaussian matrix has an expected norm of at most √k + √d, so each later layer contributes at
        most 2√k √(2/k): the C of the DRF theorem is 2√2 for ReLU.
        """
        if self.map.lipschitz is None or not self.norm:
            return None
        k, d = self.map.k, self.map.d
        first = self.map.scale * (k**0.5 + d**0.5)
        later = (2 * 2**0.5) ** (self.map.depth - 1)
        return Bound(radius * first * later * self.map.lipschitz**self.map.depth / self.norm, "upper")
