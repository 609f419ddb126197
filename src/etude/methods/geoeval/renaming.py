"""Other letters for the same picture."""

from __future__ import annotations

import string
from collections.abc import Mapping

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import (
    Call,
    Negative,
    Node,
    Operation,
    Points,
    points_of,
    print_cdl,
    variables_of,
)
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.verbalizer import question_of


def rename(node: Node, letters: Mapping[str, str]) -> Node:
    """A tree with other point letters; unknowns keep theirs."""
    if isinstance(node, Points):
        return Points("".join(letters.get(letter, letter) for letter in node.letters))
    if isinstance(node, Call):
        return Call(node.name, tuple(rename(argument, letters) for argument in node.arguments))
    if isinstance(node, Operation):
        return Operation(node.symbol, rename(node.left, letters), rename(node.right, letters))
    if isinstance(node, Negative):
        return Negative(rename(node.operand, letters))
    return node


def letters_of(problem: Problem) -> str:
    """All point and circle letters of a problem."""
    facts = (*problem.construction, *problem.facts, problem.goal)
    return "".join(dict.fromkeys("".join(points_of(fact) for fact in facts)))


def new_letters(problem: Problem, rng: np.random.Generator) -> dict[str, str]:
    """A random one-to-one choice of new letters, none of them an unknown of the problem."""
    old = letters_of(problem)
    unknowns = {name for fact in (*problem.facts, problem.goal) for name in variables_of(fact)}
    free = [letter for letter in string.ascii_uppercase if letter not in unknowns]
    if len(free) < len(old):
        raise EtudeError(
            f"problem {problem.problem_id}: {len(old)} points", "At most 26 letters can be given."
        )
    return dict(zip(old, rng.permutation(free)[: len(old)].tolist(), strict=True))


def rename_problem(problem: Problem, letters: Mapping[str, str]) -> Problem:
    """The same problem in other letters; its question is said anew from the facts.

    Args:
        problem: With parseable facts.
        letters: Old to new letter, one to one.
    """

    def renamed(facts: tuple[Call, ...]) -> tuple[str, ...]:
        return tuple(print_cdl(rename(fact, letters)) for fact in facts)

    goal = rename(problem.goal, letters)
    text_facts = [rename(fact, letters) for fact in problem.text_facts]
    assert isinstance(goal, Call)
    positions = problem.points_px
    return problem.changed(
        construction_cdl=renamed(problem.construction),
        text_cdl=renamed(problem.text_facts),
        image_cdl=renamed(problem.image_facts),
        goal_cdl=print_cdl(goal),
        problem_text_en=question_of([f for f in text_facts if isinstance(f, Call)], goal),
        points_px=positions and {letters.get(p, p): place for p, place in positions.items()},
        image=None,
    )
