"""Backward problems: one given number is hidden, the answer is given, the hidden number is asked for.

An item is kept only if the realizer certifies that the hidden number is forced by the other facts and comes
out as it was. A number that does not influence the answer (the apex angle of an isosceles triangle whose
asked side is the given one) makes an ill-posed problem: it is rejected, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import (
    Call,
    Negative,
    Node,
    Number,
    Operation,
    Variable,
    print_cdl,
    variables_of,
    walk,
)
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.realiser import THOROUGH, Realiser, Solution
from etude.methods.geoeval.verbalizer import question_of, verbalize
from etude.runs import content_hash

_FRESH = "xyzwuvtsrqpnmkhgfdcba"
_SAME = 1e-6


class BackwardProblem(Problem):
    """A problem with a number hidden.

    Args:
        masked_fact: The fact of the parent in which the number was.
        hidden_value: The number, which is the answer.
        question: The whole problem in words.
        facts_en: Every fact in words, the hidden number as an unknown.
        certificate: `residual`, `null_space_norm`, `starts_agreeing` of the realizer.
    """

    masked_fact: str = ""
    hidden_value: str = ""
    question: str = ""
    facts_en: tuple[str, ...] = ()
    certificate: dict[str, Any] = {}  # noqa: RUF012  (a pydantic field: copied for each record)


@dataclass(frozen=True)
class Candidate:
    """A number that could be hidden.

    Args:
        fact: Where it is.
        number: The number.
        masked: The fact with the unknown in its place.
        unknown: The unknown's letter.
    """

    fact: Call
    number: Number
    masked: Call
    unknown: str


@dataclass
class Rejections:
    """Why candidates were not kept: reason to how many."""

    counts: Counter[str] = field(default_factory=Counter)


def candidates(problem: Problem) -> list[Candidate]:
    """Every number of the given facts that can be hidden: stated values and numbers inside expressions."""
    used = {name for fact in (*problem.facts, problem.goal) for name in variables_of(fact)}
    unknown = next((letter for letter in _FRESH if letter not in used), None)
    if unknown is None:
        return []
    return [
        Candidate(fact, number, masked, unknown)
        for fact in problem.facts
        if fact.name == "Equal"
        for number, masked in _hidden(fact, Variable(unknown))
        if isinstance(masked, Call)
    ]


def make_backward(
    problem: Problem, seed: int = 0, *, rejections: Rejections | None = None
) -> BackwardProblem | None:
    """One certified backward version of a problem, or None if none of its numbers can be asked back.

    Args:
        problem: With facts the realizer solves.
        seed: Chooses among the candidates.
        rejections: Counts the candidates that were rejected.

    Raises:
        EtudeError: The problem's facts cannot be read.
    """
    return next(backward_versions(problem, seed, rejections=rejections), None)


def backward_versions(
    problem: Problem, seed: int = 0, *, rejections: Rejections | None = None
) -> Iterator[BackwardProblem]:
    """All certified backward versions, in a random order."""
    rejected = rejections if rejections is not None else Rejections()
    forward = Realiser(problem).solve(least_starts=THOROUGH)
    if forward.value is None:
        rejected.counts["the parent has no certified answer"] += 1
        return
    found = candidates(problem)
    if not found:
        rejected.counts["the parent states no number"] += 1
    rng = np.random.default_rng([seed, int(content_hash(problem.problem_id)[:8], 16)])
    for i in rng.permutation(len(found)):
        item = _inverted(problem, forward, found[i])
        reason, certified = certify(item)
        if certified is None:
            rejected.counts[reason] += 1
        else:
            yield certified


def certify(item: BackwardProblem) -> tuple[str, BackwardProblem | None]:
    """Solve a backward item: `("", item with certificate)`, or the reason to reject it and None."""
    try:
        solution = Realiser(item).solve(least_starts=THOROUGH)
    except EtudeError as error:
        return error.problem.partition(": ")[2], None
    hidden = float(item.hidden_value)
    if solution.value is None:
        return _REASONS[solution.status], None
    if abs(solution.value - hidden) > _SAME * max(1.0, abs(hidden)):
        return "another number comes back", None
    certificate = {
        "residual": solution.certificate.residual,
        "null_space_norm": solution.certificate.null_space_norm,
        "starts_agreeing": solution.certificate.starts_agreeing,
    }
    return "", item.changed(certificate=certificate)


_REASONS = {
    "free": "the number does not influence the answer",
    "several answers": "several numbers give this answer",
    "no picture": "no picture was found",
    "boundary": "the picture closes up",
    "one start": "only one start agrees",
}


def _inverted(problem: Problem, forward: Solution, candidate: Candidate) -> BackwardProblem:
    """The backward item of one candidate, not yet certified."""
    assert forward.value is not None
    [asked] = problem.goal.arguments
    answer = forward.exact or format(forward.value, ".12g")
    known = f"Equal({print_cdl(asked)},{answer})"

    def swapped(facts: tuple[Call, ...]) -> tuple[str, ...]:
        return tuple(print_cdl(candidate.masked if fact == candidate.fact else fact) for fact in facts)

    name = content_hash([print_cdl(candidate.masked), candidate.number.text])[:6]
    item = BackwardProblem(
        problem_id=f"{problem.problem_id}-b{name}",
        source=problem.source,
        subset="backward",
        construction_cdl=tuple(map(print_cdl, problem.construction)),
        text_cdl=(*swapped(problem.text_facts), known),
        image_cdl=swapped(problem.image_facts),
        goal_cdl=f"Value({candidate.unknown})",
        problem_answer=candidate.number.text,
        theorem_seqs=problem.theorem_seqs,
        points_px=problem.points_px,
        parent_id=problem.problem_id,
        parent_hash=problem.content,
        masked_fact=print_cdl(candidate.fact),
        hidden_value=candidate.number.text,
    )
    said = tuple(dict.fromkeys([*item.text_facts, candidate.masked]))
    question = question_of(said, item.goal)
    facts = tuple(dict.fromkeys(verbalize(fact) for fact in (*item.construction, *item.facts)))
    return item.changed(question=question, problem_text_en=question, facts_en=facts)


def _hidden(node: Node, unknown: Variable) -> Iterator[tuple[Number, Node]]:
    """Every number of a tree with the tree in which the unknown stands for it; exponents stay."""
    if isinstance(node, Number):
        if node.text != "pi":
            yield node, unknown
    elif isinstance(node, Call) and any(
        isinstance(part, Number | Operation | Call | Negative) for part in walk(node)
    ):
        for i, argument in enumerate(node.arguments):
            for number, masked in _hidden(argument, unknown):
                yield number, Call(node.name, (*node.arguments[:i], masked, *node.arguments[i + 1 :]))
    elif isinstance(node, Operation):
        for number, masked in _hidden(node.left, unknown):
            yield number, Operation(node.symbol, masked, node.right)
        if node.symbol != "^":
            for number, masked in _hidden(node.right, unknown):
                yield number, Operation(node.symbol, node.left, masked)
    elif isinstance(node, Negative):
        for number, masked in _hidden(node.operand, unknown):
            yield number, Negative(masked)
