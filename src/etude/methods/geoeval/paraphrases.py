"""Rewordings without a model: the meaning, and so the answer, stays, and solving again certifies it.

`letters` renames the points, `order` shuffles the facts, `words` chooses synonyms, `units` measures in
smaller units (the answer is scaled with them), `mirror` turns the picture over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import Call, Node, Number, Operation, Points, print_cdl, variables_of, walk
from etude.methods.geoeval.constraints import Constraints
from etude.methods.geoeval.mirroring import turn_over
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.realiser import THOROUGH, Realiser
from etude.methods.geoeval.renaming import new_letters, rename_problem
from etude.methods.geoeval.verbalizer import question_of, variants, verbalize
from etude.runs import content_hash

Kind: TypeAlias = Literal["letters", "order", "words", "units", "mirror"]
KINDS: tuple[Kind, ...] = get_args(Kind)
UNIT_FACTOR = 10
_SAME = 1e-6


@dataclass(frozen=True)
class Rewording:
    """A rewording and whether it holds.

    Args:
        problem: The reworded problem.
        kind: How it was reworded.
        certified: Whether the realizer finds the answer that it should have.
        reason: Why not, if not.
    """

    problem: Problem
    kind: str
    certified: bool
    reason: str = ""


def paraphrase(problem: Problem, kind: Kind, seed: int = 0) -> Problem:
    """Reword a problem.

    Args:
        problem: With parseable facts.
        kind: `letters`, `order`, `words`, `units` or `mirror`.
        seed: Of what is chosen at random.

    Raises:
        EtudeError: The kind is unknown, or does not fit (units, where an unknown is tied to a length).
    """
    if kind not in KINDS:
        raise EtudeError(f"kind {kind!r} is unknown", f"There are: {', '.join(KINDS)}.")
    rng = np.random.default_rng([seed, KINDS.index(kind), int(content_hash(problem.problem_id)[:8], 16)])
    if kind == "letters":
        changed = rename_problem(problem, new_letters(problem, rng))
    elif kind == "order":
        changed = problem.changed(
            **{
                name: tuple(getattr(problem, name)[i] for i in rng.permutation(len(getattr(problem, name))))
                for name in ("construction_cdl", "text_cdl", "image_cdl")
            }
        )
        changed = changed.changed(problem_text_en=question_of(changed.text_facts, changed.goal))
    elif kind == "words":
        said = [
            verbalize(fact, 1 + int(rng.integers(max(1, variants(fact) - 1)))) for fact in problem.text_facts
        ]
        asked = verbalize(problem.goal, int(rng.integers(1, variants(problem.goal))))
        changed = problem.changed(problem_text_en=" ".join([*(f"{sentence}." for sentence in said), asked]))
    elif kind == "units":
        changed = _in_smaller_units(problem)
    else:
        changed = _mirrored(problem)
    return changed.changed(
        problem_id=f"{problem.problem_id}-{kind}",
        subset="aug",
        parent_id=problem.problem_id,
        parent_hash=problem.content,
        choices=(),
        choice=None,
    )


def certified(problem: Problem, reworded: Problem, kind: str) -> Rewording:
    """Solve parent and rewording, and compare: the same answer, or the scaled one after a change of units."""
    parent, child = (Realiser(one).solve(least_starts=THOROUGH) for one in (problem, reworded))
    if parent.value is None or child.value is None:
        which = "parent" if parent.value is None else "rewording"
        status = parent.status if parent.value is None else child.status
        return Rewording(reworded, kind, False, f"the {which} has no certified answer ({status})")
    expected = parent.value * (UNIT_FACTOR ** Constraints(problem).goal.power if kind == "units" else 1.0)
    if abs(child.value - expected) > _SAME * max(1.0, abs(expected)):
        return Rewording(reworded, kind, False, f"the answer became {child.value:.6g}")
    if kind == "units":
        answer = child.exact or format(child.value, ".12g")
        reworded = reworded.changed(problem_answer=answer)
    return Rewording(reworded, kind, True)


def _in_smaller_units(problem: Problem) -> Problem:
    """Every stated length ten times as large, every area a hundred times."""
    expressions = Constraints(problem).expressions

    def scaled(fact: Call) -> str:
        if fact.name != "Equal":
            return print_cdl(fact)
        power = max(expressions.measure(side).power for side in fact.arguments)
        if not power:
            return print_cdl(fact)
        if variables_of(fact):
            raise EtudeError(
                f"problem {problem.problem_id}: {print_cdl(fact)} ties an unknown to a unit",
                "Units can be changed only where lengths are given as numbers.",
            )
        factor = Fraction(UNIT_FACTOR) ** int(power)
        return print_cdl(Call("Equal", tuple(_times(side, factor) for side in fact.arguments)))

    changed = problem.changed(
        text_cdl=tuple(map(scaled, problem.text_facts)),
        image_cdl=tuple(map(scaled, problem.image_facts)),
        image=None,
    )
    return changed.changed(problem_text_en=question_of(changed.text_facts, changed.goal))


def _times(node: Node, factor: Fraction) -> Node:
    """A side of an equation in other units: quantities change by themselves, numbers are multiplied."""
    if any(isinstance(inner, Points) for inner in walk(node)):
        return node
    if isinstance(node, Number):
        value = Fraction(node.text) * factor if node.text != "pi" else None
        if value is not None:
            whole = value.denominator == 1
            return Number(str(value.numerator) if whole else f"{float(value):.10g}")
    return Operation("*", Number(str(factor.numerator)), node)


def _mirrored(problem: Problem) -> Problem:
    """The picture turned over: what ran counter-clockwise is written the other way round."""

    def turned(fact: Call) -> str:
        return print_cdl(turn_over(fact))

    positions = problem.points_px
    changed = problem.changed(
        construction_cdl=tuple(map(turned, problem.construction)),
        text_cdl=tuple(map(turned, problem.text_facts)),
        image_cdl=tuple(map(turned, problem.image_facts)),
        goal_cdl=turned(problem.goal),
        points_px=positions and {name: (-x, y) for name, (x, y) in positions.items()},
        image=None,
    )
    return changed.changed(problem_text_en=question_of(changed.text_facts, changed.goal))


def applicable(problem: Problem, kinds: Sequence[Kind], seed: int) -> list[tuple[Kind, Problem | EtudeError]]:
    """Each kind of rewording of a problem, or why it does not fit."""
    found: list[tuple[Kind, Problem | EtudeError]] = []
    for kind in kinds:
        try:
            found.append((kind, paraphrase(problem, kind, seed)))
        except EtudeError as error:
            found.append((kind, error))
    return found
