"""Climbing to the supremum: many starts at once, the best point of each kept.

The distance is a (near-)convex function of Δ, so its maximum lies on the sphere. For convex maps (RF, DRF)
the conditional gradient Δ <- r g/‖g‖ rises at every step and stops at a fixed point. Attention features are
not convex: there a normalized step of length 2r(1 - t/T), back onto the sphere, starts coarse and ends
fine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from etude.methods.word_sensitivity.perturbation import Rule

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From points (B, d) to values (B,) and gradients (B, d)."""

_SETTLED = 1e-5  # relative rise of every start below which a conditional-gradient ascent has ended


@dataclass(frozen=True)
class Ascent:
    """Where it ended.

    Args:
        values: Best value of each start, (B,).
        points: Where it was found, (B, d).
        trace: Best value over all starts after each evaluation.
        steps: Steps made.
    """

    values: Tensor
    points: Tensor
    trace: list[float]
    steps: int


def ascend(
    objective: Objective,
    starts: Tensor,
    *,
    radius: float,
    steps: int,
    rule: Rule,
    sphere: bool = True,
) -> Ascent:
    """Maximize over the ball or sphere of this radius.

    Args:
        objective: What to maximize.
        starts: (B, d), within the ball.
        radius: Of the ball.
        steps: At most so many.
        rule: How to step.
        sphere: Stay on the sphere; else points inside the ball are kept.
    """
    points = starts
    best_points = starts.clone()
    best = torch.full((len(starts),), -torch.inf, dtype=torch.float64, device=starts.device)
    trace: list[float] = []
    for step in range(steps + 1):
        values, gradients = objective(points)
        better = values > best
        settled = bool(((values - best) <= _SETTLED * values.abs()).all())
        best = torch.where(better, values.to(best), best)
        best_points = torch.where(better[:, None], points, best_points)
        trace.append(float(best.max()))
        if step == steps or (rule == "conditional" and settled):
            break
        lengths = gradients.norm(dim=1, keepdim=True)
        directions = gradients / lengths.clamp(min=1e-30)
        if rule == "conditional":
            points = torch.where(lengths > 0, radius * directions, points)
        else:
            points = project(points + 2 * radius * (1 - step / steps) * directions, radius, sphere=sphere)
    return Ascent(best, best_points, trace, len(trace) - 1)


def project(points: Tensor, radius: float, *, sphere: bool) -> Tensor:
    """The nearest points of the sphere, or of the ball, of this radius. (B, d)."""
    lengths = points.norm(dim=1, keepdim=True).clamp(min=1e-30)
    scale = radius / lengths
    projected: Tensor = points * (scale if sphere else scale.clamp(max=1.0))
    return projected
