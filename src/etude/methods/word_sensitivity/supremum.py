"""Word sensitivity: S(X) = sup over i and ‖Δ‖ ≤ r‖x_i‖ of ‖φ(X^i(Δ)) - φ(X)‖ / ‖φ(X)‖ (paper eq. 7).

Three ways to find it: `ascent` (from closed-form starts where there are any, else random ones), `bound`
(the closed form alone) and `vocabulary` (the worst real token). An ascent starts at its bound, so it is
never below.
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
from etude.methods.word_sensitivity.perturbation import (
    AnyMap,
    Bound,
    FeatureMap,
    Perturbation,
    as_text,
    fingerprint,
    generator,
    on_sphere,
    perturb,
)
from etude.methods.word_sensitivity.vocabulary import Vocabulary, replacement_distances

Method: TypeAlias = Literal["ascent", "bound", "vocabulary"]
TYPICAL = 16  # random Δ whose median is the typical value


@dataclass(frozen=True)
class Found:
    """What was found at one position.

    Args:
        position: i.
        value: The largest relative change found.
        delta: Where, (d,).
        bound: The closed form, if the map has one.
        bound_kind: Whether it lies below (`lower`) or above (`upper`) the supremum.
        typical: Median relative change over random Δ on the sphere (over the tokens tried, for `vocabulary`).
        norm: ‖φ(X)‖.
        trace: Best value after each step.
        steps: Steps made, or tokens tried.
        token_id: The replacement, for `vocabulary`.
        token: The same as text.
    """

    position: int
    value: float
    delta: np.ndarray
    bound: float | None
    bound_kind: str | None
    typical: float
    norm: float
    trace: tuple[float, ...]
    steps: int
    token_id: int | None = None
    token: str | None = None

    def row(self) -> dict[str, Any]:
        """The columns of a table of results that belong to a position."""
        names = ("position", "value", "bound", "bound_kind", "typical", "norm", "steps", "token_id", "token")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Sensitivity:
    """The supremum over the positions looked at.

    Args:
        value: S.
        position: Where it is reached.
        delta: By which Δ, (d,).
        bound: The closed form at that position, if the map has one.
        bound_kind: `lower` or `upper`.
        trace: Best value after each step at that position.
        typical: Median over random Δ at that position: what a supremum is not.
        token: The worst replacement, for `vocabulary`.
        method: How it was found.
        radius: r, in units of ‖x_i‖.
        positions: What was found at every position looked at.
    """

    value: float
    position: int
    delta: np.ndarray
    bound: float | None
    bound_kind: str | None
    trace: tuple[float, ...]
    typical: float
    token: str | None
    method: str
    radius: float
    positions: tuple[Found, ...]

    def __rich__(self) -> Any:
        """One row a position."""
        from etude.render import table

        rows = [
            (f.position, f.value, f.bound, f.bound_kind, f.typical, f.token)
            for f in sorted(self.positions, key=lambda f: -f.value)
        ]
        columns = ("position", "sensitivity", "bound", "bound is", "typical", "worst token")
        return table(columns, rows, title=f"word sensitivity {self.value:.4g} ({self.method})")


def sensitivity(
    map_: AnyMap,
    x: Any,
    *,
    positions: str | Sequence[int] = "sample:4",
    radius: float = 1.0,
    method: Method = "ascent",
    starts: int = 8,
    steps: int = 40,
    seed: int = 0,
    vocabulary: Vocabulary | None = None,
) -> Sensitivity:
    """How far the worst change of one token moves a map, relative to its size.

    Args:
        map_: A map of this package, or any function of X (n, d).
        x: The text, (n, d), array or tensor. The paper's inputs have rows of norm √d (`rescale`).
        positions: `sample:4` (seeded), `all`, `first`, `middle`, `last`, or positions.
        radius: Of the ball of Δ, in units of ‖x_i‖.
        method: `ascent`, `bound` or `vocabulary`.
        starts: Ascents at each position.
        steps: Steps of each ascent, at most.
        seed: Of positions and starts.
        vocabulary: The replacement tokens, for `vocabulary` (their distance from x_i is not bounded).

    Raises:
        EtudeError: A text or position that cannot be used, φ(X) = 0, or a map without a closed form.
    """
    text = as_text(x)
    check_settings(radius, starts, steps)
    chosen = choose_positions(positions, len(text), seed)
    if method == "vocabulary" and vocabulary is None:
        raise EtudeError("method 'vocabulary' without a vocabulary", "Give vocabulary=Vocabulary(...).")
    found = []
    for position in chosen:
        perturbation = perturb(map_, text, position)
        if method == "vocabulary" and vocabulary is not None:
            found.append(worst_token(perturbation, position, vocabulary))
        else:
            random = generator(seed, position, fingerprint(text))
            found.append(
                worst_vector(perturbation, position, radius, random, method, starts, steps, name_of(map_))
            )
    return best_of(found, method, radius)


def best_of(found: Sequence[Found], method: str, radius: float) -> Sensitivity:
    """The largest value over positions, with the others kept."""
    best = max(found, key=lambda f: f.value)
    return Sensitivity(
        best.value, best.position, best.delta, best.bound, best.bound_kind, best.trace, best.typical,
        best.token, method, radius, tuple(found),
    )  # fmt: skip


def worst_vector(
    perturbation: Perturbation,
    position: int,
    radius: float,
    random: torch.Generator,
    method: Method,
    starts: int,
    steps: int,
    name: str,
) -> Found:
    """The worst Δ at one position, by ascent or by the closed form alone."""
    norm = _norm(perturbation, position)
    reach = radius * float(perturbation.row.norm())
    bound = perturbation.bound(reach, random)
    probes = on_sphere(TYPICAL, perturbation.row, reach, random)
    with torch.no_grad():
        typical = float(perturbation.squared_distances(probes).sqrt().median()) / norm
    if method == "bound":
        if bound is None:
            raise EtudeError(
                f"{name} has no closed form of its sensitivity", "Use the method ascent or vocabulary."
            )
        return _found(position, bound.value, bound.delta, bound, typical, norm, (bound.value,), 0)
    ascent = ascend(
        perturbation.with_gradients,
        perturbation.starts(starts, reach, random),
        radius=reach,
        steps=steps,
        rule=perturbation.rule,
    )
    best = int(ascent.values.argmax())
    trace = tuple(value**0.5 / norm for value in ascent.trace)
    value, delta = trace[-1], ascent.points[best]
    if bound is not None and bound.delta is not None and bound.value > value:
        value, delta = bound.value, bound.delta  # its sets M are drawn apart from those of the starts
    return _found(position, value, delta, bound, typical, norm, trace, ascent.steps)


def worst_token(perturbation: Perturbation, position: int, vocabulary: Vocabulary) -> Found:
    """The worst replacement token at one position."""
    return worst_of(replacement_distances(perturbation, vocabulary), perturbation, position, vocabulary)


def worst_of(squared: Tensor, perturbation: Perturbation, position: int, vocabulary: Vocabulary) -> Found:
    """The worst token, from the squared distances (tokens,) that replacing row i by each has moved φ."""
    norm = _norm(perturbation, position)
    values = squared.sqrt() / norm
    best = int(values.argmax())
    delta = vocabulary.embeddings[best].to(perturbation.row) - perturbation.row
    return Found(
        position=position,
        value=float(values[best]),
        delta=delta.cpu().numpy(),
        bound=None,
        bound_kind=None,
        typical=float(values.median()),
        norm=norm,
        trace=(float(values[best]),),
        steps=len(values),
        token_id=vocabulary.ids[best],
        token=vocabulary.tokens[best],
    )


def choose_positions(positions: str | Sequence[int], n: int, seed: int) -> list[int]:
    """Positions in ascending order.

    Raises:
        EtudeError: Out of range, or words that name no positions.
    """
    named = {"all": range(n), "first": [0], "middle": [n // 2], "last": [n - 1]}
    if isinstance(positions, str):
        if positions in named:
            return list(named[positions])
        word, colon, count = positions.partition(":")
        if word == "sample" and colon and count.isdecimal() and int(count):
            drawn = torch.randperm(n, generator=generator(seed, n))[: int(count)]
            return sorted(int(i) for i in drawn)
        try:
            positions = [int(piece) for piece in positions.split(",")]
        except ValueError as error:
            raise EtudeError(
                f"positions {positions!r}", "Write sample:4, all, first, middle, last, or numbers like 0,5,7."
            ) from error
    outside = [i for i in positions if not 0 <= i < n]
    if outside or not len(positions):
        raise EtudeError(
            f"position {outside[0] if outside else 'of none'} in a text of {n} tokens",
            f"Positions go from 0 to {n - 1}.",
        )
    return sorted(set(positions))


def check_settings(radius: float, starts: int, steps: int) -> None:
    """Refuse settings that make no ascent."""
    if not (radius > 0 and np.isfinite(radius)):
        raise EtudeError(f"radius {radius:g}", "Give a positive radius, in units of the token's norm.")
    if starts < 1 or steps < 1:
        raise EtudeError(f"starts {starts}, steps {steps}", "Both must be at least 1.")


def name_of(map_: AnyMap) -> str:
    """A map's name for tables."""
    if isinstance(map_, FeatureMap):
        return str(map_.describe().get("map", type(map_).__name__))
    return str(getattr(map_, "__name__", type(map_).__name__))


def _norm(perturbation: Perturbation, position: int) -> float:
    if not (perturbation.norm > 0 and np.isfinite(perturbation.norm)):
        raise EtudeError(
            f"the map's value at the text has norm {perturbation.norm:g} (position {position})",
            "Relative change needs a finite norm that is not zero.",
        )
    return perturbation.norm


def _found(
    position: int,
    value: float,
    delta: Tensor | None,
    bound: Bound | None,
    typical: float,
    norm: float,
    trace: tuple[float, ...],
    steps: int,
) -> Found:
    return Found(
        position=position,
        value=value,
        delta=np.empty(0) if delta is None else delta.detach().cpu().numpy(),
        bound=None if bound is None else bound.value,
        bound_kind=None if bound is None else bound.kind,
        typical=typical,
        norm=norm,
        trace=trace,
        steps=steps,
    )
