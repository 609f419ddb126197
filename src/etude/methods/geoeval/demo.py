"""One visible use: a problem, its picture, its solution, and its backward twin."""

from __future__ import annotations

from pathlib import Path

from etude.methods.geoeval.backward import make_backward
from etude.methods.geoeval.building import build
from etude.methods.geoeval.drawing import render_drawing
from etude.methods.geoeval.problems import Problem, read_problems
from etude.methods.geoeval.realiser import Realiser, Solution
from etude.methods.geoeval.scorer_audit import audit_scorer
from etude.methods.geoeval.solving import solve
from etude.render import Block, Demo, Picture, TableBlock, Text

SHOWN = "parallels"


def demo(out: Path) -> Demo:
    """Solve and draw a problem, hide one of its numbers, solve and draw that too.

    Args:
        out: Folder for the backward problems of all samples.
    """
    problems = read_problems("samples")
    problem = next(one for one in problems if one.problem_id == SHOWN)
    solution = Realiser(problem).solve()
    twin = make_backward(problem, seed=1)
    assert twin is not None, "the sample has a backward version"
    inverted = Realiser(twin).solve()
    built = build("backward", problems=Path("samples"), out=out / "backward.jsonl", per_problem=3)
    forward = [solve(Path("samples"), solver="realiser"), solve(Path("samples"), solver="forward-chain")]
    backward = [
        solve(out / "backward.jsonl", solver="realiser"),
        solve(out / "backward.jsonl", solver="forward-chain"),
    ]
    audit = audit_scorer([one.problem_answer for one in problems])
    rows = [
        (name, f"{one.right} of {one.problems}", f"{other.right} of {other.problems}")
        for name, one, other in zip(("realizer", "forward chainer"), forward, backward, strict=True)
    ]
    return Demo(
        headline=(
            f"{solution.exact} is certified as the only answer; hiding the number in {twin.masked_fact} and "
            f"giving the answer instead makes a new problem, whose only answer is {inverted.exact}."
        ),
        went_in=[Text(problem.problem_text_en), _picture(problem, solution, "The problem")],
        came_out=[
            Text(f"Answer: {solution.exact}. {_certified(solution)}"),
            Text(f"Backward twin: {twin.question}"),
            _picture(twin, inverted, "The backward twin"),
            Text(f"Answer: {inverted.exact}. {_certified(inverted)}"),
            TableBlock(
                ("solver", "samples right", "their backward versions right"),
                rows,
                f"{built.built} backward problems from {built.parents} samples; "
                f"{sum(built.rejected.values())} candidates were rejected",
            ),
            TableBlock(
                ("prediction for every problem", "released scorer accepts", "symmetric check accepts"),
                [(row.prediction, f"{row.released:.0%}", f"{row.symmetric:.0%}") for row in audit.rows],
                "The same empty predictions under two scorers",
            ),
        ],
        meaning=(
            "A backward problem is harder only if it is sound: here every one has a picture, found from "
            "several starts, in which nothing the facts leave free changes the asked number."
        ),
    )


def _picture(problem: Problem, solution: Solution, caption: str) -> Block:
    return Picture(render_drawing(problem, solution).png(), problem.problem_text_en, caption)


def _certified(solution: Solution) -> str:
    c = solution.certificate
    return (
        f"Certificate: {c.starts_agreeing} of {c.starts} starts agree; the asked number changes by "
        f"{c.null_space_norm:.0e} along all free directions; the largest residual is {c.residual:.0e}."
    )
