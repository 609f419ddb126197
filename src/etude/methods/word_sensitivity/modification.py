"""Context modification: can a learner that saw a text tell it from the same text with one word changed?

The text X has label y; with its row i changed it shall have label -y. The error is Err = (f(X^i(Δ)) + y)²
of the learner f that has just learned X, minimized over Δ in the ball. Where the old prediction moves by at
most γ < 2, random features have Err ≥ (2 - γ)² up to vanishing terms: they cannot tell (paper section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.word_sensitivity.ascent import ascend
from etude.methods.word_sensitivity.interpolation import Learner, MinNormFit
from etude.methods.word_sensitivity.perturbation import AnyMap, Perturbation, generator, perturb
from etude.methods.word_sensitivity.random_features import DeepRandomFeatures, FeaturePerturbation
from etude.methods.word_sensitivity.supremum import check_settings, choose_positions

Objective: TypeAlias = Literal["loss", "features", "feature_alignment"]
"""What Δ is chosen for: Err itself, F_f -> -1, or F_r -> -1."""


@dataclass(frozen=True)
class Modified:
    """One test text after the best change found.

    Args:
        position: i.
        f0_x: Old prediction on X.
        f0_xd: Old prediction on the changed text.
        f1_x: New prediction on X; its label, since it has been learned.
        f1_xd: New prediction on the changed text.
        alignment: F.
        gamma: |f0_xd - f0_x|.
        error: (f1_xd + y)².
    """

    position: int
    f0_x: float
    f0_xd: float
    f1_x: float
    f1_xd: float
    alignment: float
    gamma: float
    error: float


@dataclass(frozen=True)
class ContextModification:
    """All test texts.

    Args:
        errors: Err of each, (texts,).
        gammas: γ of each.
        alignments: F of each.
        bound: (2 - γ)² of each, below which random features cannot go; 0 where γ ≥ 2.
        texts: Everything about each.
    """

    errors: np.ndarray
    gammas: np.ndarray
    alignments: np.ndarray
    bound: np.ndarray
    texts: tuple[Modified, ...]


class ModificationTask:
    """Features of the training and test texts, and the fit, shared by learners and objectives.

    Args:
        map_: The feature map.
        texts: All texts, (N + tests, n, d); the last ones are tests.
        labels: ±1, (N + tests,).
        n_train: N.
        positions: Of the rows that may be changed, as in `sensitivity`.
        radius: Of the ball of Δ, in units of ‖x_i‖.
        seed: Of positions and starts.
    """

    def __init__(
        self,
        map_: AnyMap,
        texts: Any,
        labels: Sequence[float],
        *,
        n_train: int,
        positions: str | Sequence[int] = "sample:1",
        radius: float = 1.0,
        seed: int = 0,
    ) -> None:
        x = torch.as_tensor(texts).double()
        y = torch.as_tensor(list(labels)).double()
        if x.ndim != 3 or len(x) != len(y) or not 0 < n_train < len(x):
            raise EtudeError(
                f"texts of shape {tuple(x.shape)}, {len(y)} labels, {n_train} for training",
                "Give (texts, tokens, width), one label each, and leave some texts for the test.",
            )
        if set(y.tolist()) != {-1.0, 1.0}:
            raise EtudeError(f"labels {sorted(set(y.tolist()))[:4]}", "Labels are -1 and 1, both of them.")
        self.radius, self.seed = radius, seed
        self.labels = y[n_train:]
        self.positions = choose_positions(positions, x.shape[1], seed)
        features, self.around = _perturbations(map_, x, n_train, self.positions)
        self.fit = MinNormFit(features[:n_train], y[:n_train])
        self.features = features[n_train:].double()

    def minimize(
        self,
        learner: Learner,
        objective: Objective = "loss",
        *,
        penalty: float = 0.0,
        starts: int = 8,
        steps: int = 120,
    ) -> ContextModification:
        """Change each test text for the objective, and see how the learner fares.

        Args:
            learner: `fine_tuned` or `retrained`.
            objective: What Δ is chosen for.
            penalty: Times γ², added to `loss`: forbids the trivial way, in which the old prediction flips.
            starts: Ascents at each position, half of them from closed-form directions and half from their
                negatives, where the map has such directions.
            steps: Steps of each.
        """
        check_settings(self.radius, starts, steps)
        done = []
        for index in range(len(self.labels)):
            tried = [
                self._one(index, position, learner, objective, penalty, starts, steps)
                for position in self.positions
            ]
            done.append(max(tried, key=lambda pair: pair[0])[1])
        gammas = np.array([m.gamma for m in done])
        return ContextModification(
            errors=np.array([m.error for m in done]),
            gammas=gammas,
            alignments=np.array([m.alignment for m in done]),
            bound=np.square(np.maximum(2 - gammas, 0)),
            texts=tuple(done),
        )

    def _one(
        self,
        index: int,
        position: int,
        learner: Learner,
        objective: Objective,
        penalty: float,
        starts: int,
        steps: int,
    ) -> tuple[float, Modified]:
        """The objective reached at one position of one test text, and what it means."""
        around, phi, y = self.around[index, position], self.features[index], float(self.labels[index])
        f0 = float(phi @ self.fit.theta)
        own = self.fit.alignment_vector(phi, learner)
        aims: dict[Objective, Learner] = {"features": "fine_tuned", "feature_alignment": "retrained"}
        aim = aims.get(objective, learner)
        aimed = own if aim == learner else self.fit.alignment_vector(phi, aim)
        forms = around.linear_forms(torch.stack([self.fit.theta, own, aimed]))

        def quality(deltas: Tensor) -> Tensor:
            old, share, toward = forms(deltas).T.double()
            if objective != "loss":
                error: Tensor = (toward + 1).square()
            else:
                error = (old + share * (y - f0) + y).square() + penalty * (old - f0).square()
            return -error

        def climbed(deltas: Tensor) -> tuple[Tensor, Tensor]:
            leaf = deltas.detach().requires_grad_()
            with torch.enable_grad():
                values = quality(leaf)
                (gradient,) = torch.autograd.grad(values.sum(), leaf)
            return values.detach(), gradient

        reach = self.radius * float(around.row.norm())
        random = generator(self.seed, index, position)
        with torch.no_grad():
            half = around.starts((starts + 1) // 2, reach, random)
        begin = torch.cat([half, -half])[:starts]
        ascent = ascend(climbed, begin, radius=reach, steps=steps, rule="normalized", sphere=False)
        best = int(ascent.values.argmax())
        with torch.no_grad():
            old, share, _ = (float(v) for v in forms(ascent.points[best : best + 1])[0])
        new = old + share * (y - f0)
        return float(ascent.values[best]), Modified(
            position, f0, old, y, new, share, abs(old - f0), (new + y) ** 2
        )


def context_modification(
    map_: AnyMap,
    texts: Any,
    labels: Sequence[float],
    *,
    n_train: int,
    learner: Learner = "fine_tuned",
    objective: Objective = "loss",
    penalty: float = 0.0,
    positions: str | Sequence[int] = "sample:1",
    radius: float = 1.0,
    starts: int = 8,
    steps: int = 120,
    seed: int = 0,
) -> ContextModification:
    """Whether a learner on these features tells a text from the same text with one word changed.

    Args:
        map_: A map of this package, or any function of X (n, d).
        texts: (N + tests, n, d); the first N train.
        labels: ±1 of every text.
        n_train: N.
        learner: `fine_tuned` (one exact step) or `retrained` (interpolates N + 1 texts).
        objective: What Δ is chosen for: `loss`, `features` (F_f -> -1) or `feature_alignment` (F_r -> -1).
        penalty: Times γ², added to `loss`.
        positions: Rows that may be changed, as in `sensitivity`; the best one counts.
        radius: Of the ball of Δ, in units of ‖x_i‖.
        starts: Ascents at each position.
        steps: Steps of each.
        seed: Of positions and starts.

    Raises:
        EtudeError: Labels that are not ±1, or more texts than can be interpolated.
    """
    task = ModificationTask(
        map_, texts, labels, n_train=n_train, positions=positions, radius=radius, seed=seed
    )
    return task.minimize(learner, objective, penalty=penalty, starts=starts, steps=steps)


def _perturbations(
    map_: AnyMap, x: Tensor, n_train: int, positions: Sequence[int]
) -> tuple[Tensor, dict[tuple[int, int], Perturbation]]:
    """Features of all texts, (N + tests, p), and (test, position) to what a change there does."""
    if isinstance(map_, DeepRandomFeatures):  # one pass over V serves all texts, which must share it
        first, blocks = map_.project(x, positions)
        return map_.upward(first), {
            (t, i): FeaturePerturbation(map_, x[n_train + t, i], first[n_train + t], blocks[i])
            for t in range(len(x) - n_train)
            for i in positions
        }
    features = torch.stack([map_(text).flatten() for text in x])
    return features, {
        (t, i): perturb(map_, x[n_train + t], i) for t in range(len(x) - n_train) for i in positions
    }
