"""Levenberg-Marquardt least squares on many starts at once.

Every start has its own damping and is retired alone: when it is solved, when it no longer gets better, or
at the last iteration. The normal equations of all starts are solved by one batched call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray
Residuals: TypeAlias = Callable[[Array, Array], tuple[Array, Array]]

_LEAST_DAMPING, _MOST_DAMPING = 1e-11, 1e8
_PATIENCE = 8


def least_squares(
    residuals: Residuals, start: Array, *, iterations: int = 60, tolerance: float = 1e-10
) -> tuple[Array, Array]:
    """Minimize Σ r² from every start.

    Args:
        residuals: From pictures (starts, unknowns) and the numbers of their starts to residuals
            (starts, equations) and Jacobians (starts, equations, unknowns).
        start: (starts, unknowns).
        iterations: At most so many steps.
        tolerance: A start is solved when its largest residual is below this.

    Returns:
        The final pictures and the largest absolute residual of each, (starts,).
    """
    z = start.copy()
    active = np.arange(len(z))
    r, jacobian = residuals(z, active)
    worst = _largest(r)
    cost = (r * r).sum(1)
    damping = np.full(len(z), 0.1)
    milestone = cost.copy()
    identity = np.eye(z.shape[1])
    for iteration in range(iterations):
        unfinished = worst[active] > tolerance
        if iteration and iteration % _PATIENCE == 0:
            unfinished &= cost[active] < 0.7 * milestone[active]
            milestone[active] = cost[active]
        if not unfinished.all():
            active, r, jacobian = active[unfinished], r[unfinished], jacobian[unfinished]
        if not len(active):
            break
        transposed = jacobian.transpose(0, 2, 1)
        normal = transposed @ jacobian
        floor = _LEAST_DAMPING + 1e-13 * normal.diagonal(axis1=1, axis2=2).max(1)
        damped = damping[active] * np.minimum(1.0, np.sqrt(cost[active])) + floor
        normal += damped[:, None, None] * identity
        step = np.linalg.solve(normal, -(transposed @ r[:, :, None]))[:, :, 0]
        trial = z[active] + step
        trial_r, trial_jacobian = residuals(trial, active)
        trial_cost = (trial_r * trial_r).sum(1)
        better = trial_cost < cost[active]
        accepted = active[better]
        z[accepted], cost[accepted] = trial[better], trial_cost[better]
        r[better], jacobian[better] = trial_r[better], trial_jacobian[better]
        worst[accepted] = _largest(trial_r[better])
        damping[active] = np.clip(damping[active] * np.where(better, 0.2, 4.0), 1e-6, _MOST_DAMPING)
    return z, worst


def _largest(r: Array) -> Array:
    largest: Array = np.abs(r).max(1, initial=0.0)
    return largest
