"""The verbs `solve` and `render`: answers with certificates, and pictures, of annotated problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.geoeval.building import file_name, in_processes, readable
from etude.methods.geoeval.drawing import render_drawing
from etude.methods.geoeval.equivalence import check_answer
from etude.methods.geoeval.forward_chaining import forward_chain
from etude.methods.geoeval.problems import Problem, read_problems
from etude.methods.geoeval.realiser import Realiser
from etude.render import table
from etude.runs import atomic_path, write_text

if TYPE_CHECKING:
    from rich.console import RenderableType

Solver: TypeAlias = Literal["realiser", "forward-chain"]
_CHUNK = 25
_SHOWN = 40
STEP_BANDS = ("1-2", "3-4", "5-7", "8+")


@dataclass(frozen=True)
class Solved:
    """One problem's answer.

    Args:
        id: The problem.
        status: `solved`, or why there is no answer.
        value: The answer as a number.
        exact: The exact number it stands for.
        gold: The answer on record.
        correct: Whether they agree; None without an answer or without a gold answer.
        steps: Theorem steps of the human solution.
        milliseconds: CPU time.
        explanation: The certificate, or the steps of the derivation, in words.
    """

    id: str
    status: str
    value: float | None
    exact: str | None
    gold: str
    correct: bool | None
    steps: int
    milliseconds: float
    explanation: tuple[str, ...] = ()


@dataclass(frozen=True)
class SolveResult:
    """All answers, and how many are right.

    Args:
        solver: Who answered.
        problems: How many there were.
        right: Right answers.
        wrong: Wrong answers.
        unanswered: No answer.
        median_milliseconds: CPU time a problem.
        by_steps: Theorem steps to (right, wrong, unanswered).
        answers: One per problem.
        skipped: Problems that could not be read.
        explain: Whether explanations shall be shown.
    """

    solver: str
    problems: int
    right: int
    wrong: int
    unanswered: int
    median_milliseconds: float
    by_steps: dict[str, tuple[int, int, int]]
    answers: tuple[Solved, ...]
    skipped: tuple[str, ...] = ()
    explain: bool = False

    def __rich__(self) -> RenderableType:
        """The answers, the confusion by theorem steps, the totals."""
        from rich.console import Group
        from rich.text import Text

        rows = [
            (a.id, a.status, a.exact or a.value, a.gold or None, a.correct, round(a.milliseconds, 1))
            for a in self.answers[:_SHOWN]
        ]
        parts: list[RenderableType] = [
            table(("problem", "status", "answer", "gold", "right", "CPU ms"), rows)
        ]
        if len(self.answers) > _SHOWN:
            parts.append(Text(f"... and {len(self.answers) - _SHOWN} more; --out FILE keeps all.\n"))
        if self.explain:
            for answer in self.answers[:_SHOWN]:
                parts.append(
                    Text("\n".join([f"{answer.id}:", *(f"  {line}" for line in answer.explanation)]))
                )
        steps = [(band, *counts, sum(counts)) for band, counts in self.by_steps.items()]
        parts.append(table(("theorem steps", "right", "wrong", "no answer", "all"), steps))
        parts.append(
            Text(
                f"{self.solver}: {self.right} of {self.problems} right, {self.wrong} wrong, "
                f"{self.unanswered} without an answer; median {self.median_milliseconds:.1f} ms CPU"
            )
        )
        parts += [Text(f"skipped: {text}") for text in self.skipped]
        return Group(*parts)


@dataclass(frozen=True)
class RenderResult:
    """Pictures that were drawn, and problems that have none.

    Args:
        written: Files.
        without: Problem to why it has no picture.
    """

    written: tuple[str, ...]
    without: dict[str, str]

    def __rich__(self) -> RenderableType:
        """One row a picture."""
        rows = [("written", name) for name in self.written] + [
            (k, f"no picture: {v}") for k, v in self.without.items()
        ]
        return table(("what", "which"), rows)


@verb
def solve(
    problems: Path,
    *,
    solver: Solver = "realiser",
    ids: tuple[str, ...] = (),
    explain: bool = False,
    skip_unsupported: bool = False,
    processes: int = 1,
    out: Path | None = None,
) -> SolveResult:
    """Solve problems from their facts; an answer comes with a certificate, or not at all.

    Args:
        problems: Your problems (.jsonl) with facts.
        solver: realiser searches for the picture; forward-chain applies theorems and solves no equations.
        ids: Only these problems.
        explain: Show the certificate, or the derivation.
        skip_unsupported: Leave out, and name, problems whose facts cannot be read.
        processes: Processes that solve at the same time.
        out: Also write the answers (.jsonl, .csv, .parquet).

    Raises:
        EtudeError: A problem cannot be read, or an id is not there.
    """
    chosen, skipped = readable(chosen_problems(read_problems(problems), ids), skip_unsupported)
    chunks = [chosen[i : i + _CHUNK] for i in range(0, len(chosen), _CHUNK)]
    work = _realised if solver == "realiser" else _chained
    answers = tuple(answer for found in in_processes(work, chunks, processes) for answer in found)
    if out is not None:
        write_records(out, ({**vars(a), "explanation": "\n".join(a.explanation)} for a in answers))
    outcome = Counter(_outcome(answer) for answer in answers)
    by_steps = {
        band: Counter(_outcome(a) for a in answers if step_band(a.steps) == band) for band in STEP_BANDS
    }
    times = sorted(answer.milliseconds for answer in answers)
    return SolveResult(
        solver,
        len(answers),
        outcome["right"],
        outcome["wrong"],
        outcome["none"],
        times[len(times) // 2] if times else 0.0,
        {b: (c["right"], c["wrong"], c["none"]) for b, c in by_steps.items() if c},
        answers,
        skipped,
        explain,
    )


@verb
def render(
    problems: Path,
    *,
    out: Path,
    ids: tuple[str, ...] = (),
    kind: Literal["svg", "png"] = "svg",
) -> RenderResult:
    """Draw problems from their facts: lines, circles, labels, what is given in blue, what is asked in red.

    Args:
        problems: Your problems (.jsonl) with facts.
        out: Folder for the pictures, named by problem id.
        ids: Only these problems.
        kind: svg or png.

    Raises:
        EtudeError: A problem cannot be read, or an id is not there.
    """
    written, without = [], {}
    for problem in chosen_problems(read_problems(problems), ids):
        try:
            drawing = render_drawing(problem, Realiser(problem).solve())
        except EtudeError as error:
            without[problem.problem_id] = error.problem
            continue
        path = out / f"{file_name(problem.problem_id)}.{kind}"
        if kind == "svg":
            write_text(path, drawing.svg())
        else:
            with atomic_path(path) as temporary:
                temporary.write_bytes(drawing.png())
        written.append(str(path))
    return RenderResult(tuple(written), without)


def chosen_problems(problems: Sequence[Problem], ids: Sequence[str]) -> list[Problem]:
    """The problems of these ids (all without any); ids may be joined by commas.

    Raises:
        EtudeError: An id is not there.
    """
    wanted = [one for given in ids for one in given.split(",") if one]
    missing = set(wanted) - {problem.problem_id for problem in problems}
    if missing:
        raise EtudeError(
            f"--ids {', '.join(sorted(missing))}: no such problem", "Give ids that the file has."
        )
    return [problem for problem in problems if not wanted or problem.problem_id in wanted]


def step_band(steps: int) -> str:
    """How many theorem steps, in four bands."""
    return STEP_BANDS[0 if steps <= 2 else 1 if steps <= 4 else 2 if steps <= 7 else 3]


def _outcome(answer: Solved) -> str:
    return "none" if answer.value is None else "right" if answer.correct is not False else "wrong"


def _realised(chunk: list[Problem]) -> list[Solved]:
    found = []
    for problem in chunk:
        begin = process_time()
        solution = Realiser(problem).solve()
        spent = 1000 * (process_time() - begin)
        c = solution.certificate
        explanation = [
            f"{c.starts_agreeing} of {c.starts} starts agree, {c.starts_solved} found an admissible picture; "
            f"largest residual {c.residual:.1e}, change of the goal along free directions "
            f"{c.null_space_norm:.1e}, nearest bound {c.least_slack:.2g} away"
        ]
        if c.reason:
            explanation.append(f"no certificate: {c.reason}")
        if len(solution.candidates) > 1:
            explanation.append(f"answers found: {', '.join(f'{v:g}' for v in solution.candidates[:8])}")
        found.append(_solved(problem, solution.status, solution.value, solution.exact, spent, explanation))
    return found


def _chained(chunk: list[Problem]) -> list[Solved]:
    found = []
    for problem in chunk:
        begin = process_time()
        derived = forward_chain(problem)
        spent = 1000 * (process_time() - begin)
        status = "solved" if derived.value is not None else "not reached"
        found.append(_solved(problem, status, derived.value, None, spent, list(derived.steps)))
    return found


def _solved(
    problem: Problem,
    status: str,
    value: float | None,
    exact: str | None,
    spent: float,
    explanation: list[Any],
) -> Solved:
    correct = None
    if value is not None and problem.problem_answer:
        correct = check_answer(exact or format(value, ".12g"), problem.problem_answer).correct
    return Solved(
        problem.problem_id,
        status,
        value,
        exact,
        problem.problem_answer,
        correct,
        problem.steps,
        spent,
        tuple(explanation),
    )
