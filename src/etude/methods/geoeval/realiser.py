"""The realizer: from facts to a picture, from it to the answer, and a certificate that it is the only one.

    solution = Realiser(problem).solve()
    solution.exact, solution.certificate.holds      # '5*sqrt(2)', True

One core with four uses: it solves, certifies built problems, gives the renderer its coordinates, and checks a
picture against its facts. It never sees the right answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.canonical import canonical_form
from etude.methods.geoeval.cdl import print_cdl
from etude.methods.geoeval.certificate import NULL_TOLERANCE, Certificate, free_change
from etude.methods.geoeval.constraints import Constraints
from etude.methods.geoeval.exact_forms import exact_form
from etude.methods.geoeval.layout import planar_layout, starts
from etude.methods.geoeval.levenberg_marquardt import least_squares
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.quantities import Array

Status: TypeAlias = Literal["solved", "no picture", "free", "several answers", "boundary", "one start"]

SOLVED = 1e-6
AGREE = 1e-6
ROUNDS = ((14, True), (16, False), (24, True))
THOROUGH = 30


@dataclass(frozen=True)
class Solution:
    """What was found.

    Args:
        status: `solved`, or why there is no answer: `no picture` realizes the facts; the goal is `free`;
            there are `several answers`; the picture lies on the `boundary` of an inequality; only `one
            start` came home.
        value: The answer as a number; None without a certificate.
        exact: The exact number it stands for, if there is a short one.
        coordinates: Point to (x, y).
        radii: Circle to radius.
        unknowns: Variable to value.
        certificate: What stands behind the answer.
        candidates: Every answer that an admissible picture gave.
    """

    status: Status
    value: float | None = None
    exact: str | None = None
    coordinates: dict[str, tuple[float, float]] = field(default_factory=dict)
    radii: dict[str, float] = field(default_factory=dict)
    unknowns: dict[str, float] = field(default_factory=dict)
    certificate: Certificate = field(default_factory=lambda: Certificate(False))
    candidates: tuple[float, ...] = ()


class Realiser:
    """Realizes one problem.

    Args:
        problem: With parseable facts and a goal `Value(expression)`.
        seed: Of the starts.

    Raises:
        EtudeError: A fact cannot be read, or names a point that is drawn nowhere.
    """

    def __init__(self, problem: Problem, *, seed: int = 0) -> None:
        self.form = canonical_form(problem)
        try:
            self.constraints = Constraints(self.form.problem)
        except EtudeError:
            Constraints(problem)  # says it in the letters that the user wrote
            raise
        self.seed = seed

    def solve(self, *, least_starts: int = 1) -> Solution:
        """Search from ever more starts; stop when two or more agree and certify.

        Args:
            least_starts: Do not stop before so many starts: a second answer may hide from the first ones.
        """
        c = self.constraints
        rng = np.random.default_rng(self.seed)
        construction = sorted(self.form.problem.construction, key=print_cdl)
        layout = planar_layout(construction, list(c.measures.points), c.centers)
        homes = np.empty((0, c.measures.size))
        nearest = _Nearest()
        for count, usual in ROUNDS:
            begin = starts(layout, len(c.measures.others), count, rng)
            found, worst = _search(c, begin, usual)
            nearest.update(found, worst)
            nearest.tried += count
            homes = np.concatenate([homes, found[worst < SOLVED]])
            solution = self._judge(homes, nearest, usual=True)
            if solution.status not in ("solved", "free") and not usual:
                solution = self._judge(homes, nearest, usual=False)
            if nearest.tried < least_starts:
                continue
            if solution.status == "solved" or (solution.status == "free" and len(solution.candidates) > 1):
                break
        return solution

    def _judge(self, homes: Array, nearest: _Nearest, *, usual: bool) -> Solution:
        """The solution that the solved starts so far amount to.

        Args:
            homes: Solved starts, (starts, unknowns).
            nearest: The best start, for the report if none is solved.
            usual: Whether pictures must also keep what is only usual.
        """
        c = self.constraints
        if len(
            homes
        ):  # turns were measured from -90 degrees on in some starts: here they count from 0 to 360
            r, _ = c.residuals(homes, np.zeros((len(homes), 1)))
            homes = homes[np.abs(r).max(1, initial=0.0) < 10 * SOLVED]
        if not len(homes):
            return self._no_picture(nearest)
        slack = c.slack(homes)[int(usual)]
        admissible = slack > 0
        if not admissible.any():
            fact = self.form.original(c.most_violated(homes[int(np.argmax(slack))]))
            reason = f"the facts break the drawing: {fact} closes up or does not run counter-clockwise"
            certificate = Certificate(
                False, starts=nearest.tried, least_slack=float(slack.max()), reason=reason, facts=(fact,)
            )
            return Solution("boundary", certificate=certificate)
        homes, slack = np.array([self._polish(z) for z in homes[admissible]]), slack[admissible]
        values, gradients = c.goal_values(homes)
        r, jacobian = c.residuals(homes, np.zeros((len(homes), 1)))
        size = max(float(np.abs(values[0])), 1e-2)
        agree = np.abs(values - values[0]) <= AGREE * size
        free = free_change(gradients[0], jacobian[0], size)
        status: Status = "solved"
        reason = ""
        if free > NULL_TOLERANCE:
            status, reason = (
                "free",
                f"{self.form.original(self.form.problem.goal.arguments[0])} can change while all facts hold",
            )
        elif not agree.all():
            status, reason = "several answers", "pictures that keep all facts give different answers"
        elif len(homes) < 2:
            status, reason = "one start", "only one start found a picture"
        certificate = Certificate(
            status == "solved",
            float(np.abs(r[0]).max(initial=0.0)),
            free,
            int(agree.sum()),
            len(homes),
            nearest.tried,
            float(slack.min()),
            reason,
        )
        value = float(values[0]) if status == "solved" else None
        candidates = tuple(sorted({float(f"{v:.6g}") for v in values}))
        return Solution(
            status,
            value,
            None if value is None else exact_form(value),
            *self._read_off(homes[self._clearest(homes)]),
            certificate=certificate,
            candidates=candidates,
        )

    def _no_picture(self, nearest: _Nearest) -> Solution:
        """Facts that contradict each other, or a search that failed: what the nearest compromise breaks."""
        facts: tuple[str, ...] = ()
        if nearest.z is not None:
            r, _ = self.constraints.residuals(nearest.z[None], np.zeros((1, 1)))
            order = [i for i in np.argsort(-np.abs(r[0]))[:3] if abs(r[0, i]) > SOLVED]
            facts = tuple(
                dict.fromkeys(self.form.original(self.constraints.equations[i].fact) for i in order)
            )
        reason = f"no picture keeps all facts; the nearest breaks {' and '.join(facts) or 'one'}"
        certificate = Certificate(False, nearest.residual, starts=nearest.tried, reason=reason, facts=facts)
        return Solution("no picture", certificate=certificate)

    def _clearest(self, homes: Array) -> int:
        """The picture whose nearest two points are farthest apart, for its size."""
        count = 2 * len(self.constraints.measures.points)
        points = homes[:, :count].reshape(len(homes), -1, 2)
        apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
        apart += np.where(np.eye(points.shape[1], dtype=bool), np.inf, 0.0)
        finite = np.where(np.isinf(apart), 0.0, apart)
        return int(np.argmax(apart.min((1, 2), initial=np.inf) / (finite.max((1, 2), initial=0.0) + 1e-12)))

    def _read_off(
        self, z: Array
    ) -> tuple[dict[str, tuple[float, float]], dict[str, float], dict[str, float]]:
        """Coordinates, radii and unknowns of a picture."""
        m = self.constraints.measures
        names = {new: old for old, new in self.form.letters.items()}
        turn = -1.0 if self.form.mirrored else 1.0
        coordinates = {
            names.get(p, p): (turn * float(z[2 * i]) * m.unit, float(z[2 * i + 1]) * m.unit)
            for p, i in m.points.items()
        }
        radii: dict[str, float] = {}
        unknowns: dict[str, float] = {}
        for name, i in m.others.items():
            kind, _, own = name.partition(" ")
            entry = float(z[2 * len(m.points) + i])
            if kind == "radius":
                radii[names.get(own, own)] = entry * m.unit
            else:
                unknowns[own] = entry * self.constraints.expressions.variable_scale.get(own, 1.0)
        return coordinates, radii, unknowns

    def _polish(self, z: Array) -> Array:
        """Two Gauss-Newton steps of least norm: from six digits to twelve."""
        for _ in range(2):
            r, jacobian = self.constraints.residuals(z[None], np.zeros((1, 1)))
            z = z - np.linalg.lstsq(jacobian[0], r[0], rcond=1e-9)[0]
        return z


@dataclass
class _Nearest:
    """The start that came nearest to a picture."""

    residual: float = np.inf
    z: Array | None = None
    tried: int = 0

    def update(self, found: Array, worst: Array) -> None:
        best = int(np.argmin(worst))
        if worst[best] < self.residual:
            self.residual, self.z = float(worst[best]), found[best]


def _search(c: Constraints, begin: Array, usual: bool) -> tuple[Array, Array]:
    """From starts to pictures: first with order and orientation pushed past their margins, then facts alone.

    Args:
        c: The problem's constraints.
        begin: (starts, unknowns).
        usual: Whether what is only usual counts at first.
    """
    cut = np.where(np.arange(len(begin)) % 3 == 2, 0.0, -90.0)[:, None]
    near, _ = least_squares(lambda z, rows: c.search_residuals(z, cut[rows], usual), begin, tolerance=1e-4)
    return least_squares(lambda z, rows: c.residuals(z, cut[rows]), near)
