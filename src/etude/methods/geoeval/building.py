"""The verb `build`: backward problems, rewordings and pictures from one's own annotated problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.geoeval.backward import Rejections, backward_versions
from etude.methods.geoeval.drawing import render_drawing
from etude.methods.geoeval.model_rewriting import VERSION, reword
from etude.methods.geoeval.paraphrases import KINDS, Kind, applicable, certified
from etude.methods.geoeval.problems import Problem, read_problems
from etude.methods.geoeval.realiser import Realiser
from etude.render import console, table
from etude.runs import Run, content_hash, write_text

if TYPE_CHECKING:
    from rich.console import RenderableType

T = TypeVar("T")
_CHUNK = 25


@dataclass(frozen=True)
class BuildResult:
    """What was built.

    Args:
        kind: backward, aug or diagrams.
        out: The file of problems, or the folder of pictures.
        parents: Problems read.
        built: Items written.
        rejected: Why candidates were not kept: reason to how many.
        rejection_rate: Share of the candidates that were solvable forwards and yet rejected.
        skipped: Problems that could not be read, with the reason, if they were to be skipped.
    """

    kind: str
    out: str
    parents: int
    built: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    rejection_rate: float | None = None
    skipped: tuple[str, ...] = ()

    def __rich__(self) -> RenderableType:
        """Counts, then reasons."""
        rows: list[tuple[str, Any]] = [("problems read", self.parents), ("built", self.built)]
        if self.rejection_rate is not None:
            rows.append(("rejected of those tried", f"{self.rejection_rate:.1%}"))
        rows += [(f"rejected: {reason}", count) for reason, count in self.rejected.items()]
        rows += [("skipped", text) for text in self.skipped]
        return table(("what", "value"), [*rows, ("written to", self.out)])


@verb
def build(
    kind: Literal["backward", "aug", "diagrams"],
    *,
    problems: Path,
    out: Path,
    per_problem: int = 1,
    seed: int = 0,
    rewordings: tuple[Kind, ...] = ("letters", "order", "words"),
    model: str | None = None,
    base_url: str | None = None,
    round_trip: bool = False,
    skip_unsupported: bool = False,
    processes: int = 1,
) -> BuildResult:
    """Build new problems from annotated ones; every item is certified solvable and unique.

    Args:
        kind: backward hides a number and asks for it; aug rewords; diagrams draws the pictures.
        problems: Your problems (.jsonl): an id, construction_cdl, text_cdl, image_cdl, goal_cdl; or samples.
        out: The file to write (.jsonl); a folder for diagrams.
        per_problem: Backward items kept for each problem, at most.
        seed: Of what is chosen at random.
        rewordings: For aug: letters, order, words, units, mirror.
        model: For aug: let this model reword instead; what changes numbers or names is rejected.
        base_url: Of a served model.
        round_trip: For aug with a model: its own translation back to facts must have the same answer.
        skip_unsupported: Leave out, and name, problems whose facts cannot be read.
        processes: Processes that solve at the same time.

    Raises:
        EtudeError: A problem cannot be read or realized, or the place cannot be written.
    """
    if out.suffix != ("" if kind == "diagrams" else ".jsonl"):
        wanted = "a folder" if kind == "diagrams" else "a .jsonl file"
        raise EtudeError(f"{out}: {kind} needs {wanted}", f"Give {wanted} as --out.")
    if per_problem < 1:
        raise EtudeError(f"--per-problem {per_problem}", "Give 1 or more.")
    parents, skipped = readable(read_problems(problems), skip_unsupported)
    options = {"per_problem": per_problem, "seed": seed, "rewordings": list(rewordings), "model": model}
    config = {
        "problems": content_hash([p.model_dump(mode="json") for p in parents]),
        "kind": kind,
        **options,
        "round_trip": round_trip,
        "version": VERSION,
    }
    rows: list[Any] = []
    reasons: Counter[str] = Counter()
    with Run(out.parent / f".{out.name}.run", config, command=f"geoeval build {kind}") as run:
        chunks = [parents[i : i + _CHUNK] for i in range(0, len(parents), _CHUNK)]
        missing = [i for i in range(len(chunks)) if not run.finished(f"chunk {i}")]
        if kind == "aug" and model is not None:
            made = _by_model(chunks, missing, model, base_url, round_trip)
        else:
            workers: dict[str, Callable[[list[Problem]], dict[str, Any]]] = {
                "backward": partial(_backward, per_problem=per_problem, seed=seed),
                "aug": partial(_aug, kinds=rewordings, seed=seed),
                "diagrams": _diagrams,
            }
            made = in_processes(workers[kind], [chunks[i] for i in missing], processes)
        for i, record in zip(missing, made, strict=True):
            run.finish(f"chunk {i}", record)
            if (i + 1) % 8 == 0:
                console().print(f"{min((i + 1) * _CHUNK, len(parents))} of {len(parents)} problems")
        for i in range(len(chunks)):
            record = run.record(f"chunk {i}")
            rows += record["rows"]
            reasons.update(record["rejected"])
        _write(kind, out, rows)
        tried = len(rows) + sum(n for reason, n in reasons.items() if not reason.startswith("the parent"))
        rate = (tried - len(rows)) / tried if tried else None
        result = BuildResult(
            kind, str(out), len(parents), len(rows), dict(reasons.most_common()), rate, skipped
        )
        if run.result is None:
            run.complete({"built": len(rows), "rejected": dict(reasons)})
    return result


def readable(problems: Sequence[Problem], skip: bool) -> tuple[list[Problem], tuple[str, ...]]:
    """Problems whose facts can be read.

    Args:
        problems: All.
        skip: Leave the others out and name them; else the first of them is an error.

    Raises:
        EtudeError: One cannot be read and shall not be skipped.
    """
    kept, skipped = [], []
    for problem in problems:
        try:
            Realiser(problem)
        except EtudeError as error:
            if not skip:
                raise EtudeError(
                    error.problem, f"{error.hint} Or leave such problems out: --skip-unsupported."
                ) from error
            skipped.append(error.problem)
        else:
            kept.append(problem)
    return kept, tuple(skipped)


def in_processes(
    work: Callable[[list[Problem]], T], chunks: Iterable[list[Problem]], processes: int
) -> Iterator[T]:
    """The results of `work` on each chunk, in order, as they come."""
    if processes <= 1:
        yield from map(work, chunks)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, chunks)


def _backward(chunk: list[Problem], *, per_problem: int, seed: int) -> dict[str, Any]:
    rejections = Rejections()
    rows = [
        item.model_dump(mode="json")
        for problem in chunk
        for item in islice(backward_versions(problem, seed, rejections=rejections), per_problem)
    ]
    return {"rows": rows, "rejected": dict(rejections.counts)}


def _aug(chunk: list[Problem], *, kinds: tuple[Kind, ...], seed: int) -> dict[str, Any]:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise EtudeError(f"--rewordings {unknown[0]}", f"There are: {', '.join(KINDS)}.")
    rows, rejected = [], Counter[str]()
    for problem in chunk:
        for kind, changed in applicable(problem, kinds, seed):
            if isinstance(changed, EtudeError):
                rejected[f"{kind}: does not fit"] += 1
                continue
            found = certified(problem, changed, kind)
            if found.certified:
                rows.append(found.problem.model_dump(mode="json"))
            else:
                rejected[
                    found.reason if found.reason.startswith("the parent") else f"{kind}: {found.reason}"
                ] += 1
    return {"rows": rows, "rejected": dict(rejected)}


def _by_model(
    chunks: Sequence[list[Problem]],
    missing: Sequence[int],
    model: str,
    base_url: str | None,
    round_trip: bool,
) -> Iterator[dict[str, Any]]:
    from etude.models import chat_model

    chat = chat_model(model, base_url=base_url)
    for i in missing:
        rows, rejected = [], Counter[str]()
        for problem, found in zip(chunks[i], reword(chat, chunks[i], round_trip=round_trip), strict=True):
            if found.problem is not None:
                rows.append(found.problem.model_dump(mode="json"))
            else:
                rejected[found.reason.partition(":")[0]] += 1
                console().print(f"{problem.problem_id}: rejected, {found.reason}")
        yield {"rows": rows, "rejected": dict(rejected)}


def _diagrams(chunk: list[Problem]) -> dict[str, Any]:
    rows, rejected = [], Counter[str]()
    for problem in chunk:
        solution = Realiser(problem).solve()
        if solution.coordinates:
            rows.append({"problem_id": problem.problem_id, "svg": render_drawing(problem, solution).svg()})
        else:
            rejected[f"no picture ({solution.status})"] += 1
    return {"rows": rows, "rejected": dict(rejected)}


def _write(kind: str, out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    if kind != "diagrams":
        write_records(out, rows)
        return
    for row in rows:
        write_text(out / f"{file_name(row['problem_id'])}.svg", row["svg"])


def file_name(problem_id: str) -> str:
    """A problem's id as the name of a file: letters, digits, `-`, `_` and `.` alone, never a path."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in problem_id).lstrip(".") or "_"
