"""Is the answer forced? A local proof at a solution, by linear algebra.

Directions in which a picture can move without breaking an equation form the null space of the equations'
Jacobian (moving and turning the whole picture are always among them). The goal must not change along any of
them. A goal that passes is determined near this picture; agreement of independent starts makes it
determined among all found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etude.methods.geoeval.quantities import Array

RANK_TOLERANCE = 1e-7
NULL_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Certificate:
    """What stands behind an answer.

    Args:
        holds: Whether all of it speaks for a single answer.
        residual: Largest scaled residual of an equation at the solution.
        null_space_norm: How much the goal changes along the free directions, relative to the goal's size.
        starts_agreeing: Solved starts that give this answer.
        starts_solved: Solved starts with an admissible picture.
        starts: Starts tried.
        least_slack: Distance of the nearest inequality from its bound.
        reason: Why it does not hold, if it does not.
        facts: The facts that the nearest picture breaks most, if there is no picture.
    """

    holds: bool
    residual: float = np.inf
    null_space_norm: float = np.inf
    starts_agreeing: int = 0
    starts_solved: int = 0
    starts: int = 0
    least_slack: float = np.inf
    reason: str = ""
    facts: tuple[str, ...] = ()


def null_space(jacobian: Array) -> Array:
    """Orthonormal directions that change no equation, (directions, unknowns).

    Args:
        jacobian: (equations, unknowns).
    """
    if not len(jacobian):
        return np.eye(jacobian.shape[1])
    _, sizes, directions = np.linalg.svd(jacobian, full_matrices=True)
    rank = int((sizes > RANK_TOLERANCE * max(1.0, sizes[0])).sum())
    return directions[rank:]


def free_change(gradient: Array, jacobian: Array, size: float) -> float:
    """Change of the goal along the free directions, relative to its size.

    Args:
        gradient: Of the goal, (unknowns,).
        jacobian: Of the equations, (equations, unknowns).
        size: The goal's magnitude.
    """
    change = null_space(jacobian) @ gradient
    return float(np.linalg.norm(change) / max(size, 1e-3))
