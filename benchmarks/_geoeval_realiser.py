"""geoeval's realizer against FormalGeo's forward search: the same problems in one run, solved within 10 s,
CPU each.

FormalGeo is told the answer and stops when it has derived it; the realizer is not told, its
answers are checked after.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks._comparison import Comparison, Figure, Missing
from benchmarks._peers import FORMALGEO
from etude.errors import EtudeError
from etude.methods.geoeval.equivalence import check_answer
from etude.methods.geoeval.problems import Problem, read_problems
from etude.methods.geoeval.realiser import Realiser

LIMIT = 10.0
FIELDS = (
    "problem_id", "construction_cdl", "text_cdl", "image_cdl", "goal_cdl", "problem_answer", "theorem_seqs",
)  # fmt: skip


def compare_solvers(full: bool, repetitions: int) -> Comparison:
    """Both solvers, in turn, on every fiftieth even-numbered problem, or on every other of these."""
    data = Path(os.environ.get("ETUDE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    path = data / "geoeval" / "problems.jsonl"
    if not path.is_file():
        raise EtudeError(f"{path}: no such file", "Set ETUDE_TEST_DATA to the folder of research data.")
    problems = [p for p in read_problems(path) if int(p.problem_id) % 2 == 0][:: 50 if full else 100]
    work, python = f"solving {len(problems)} problems within {LIMIT:.0f} s each", FORMALGEO.python()
    ours, peer = list[dict[str, Any]](), list[dict[str, Any]]()
    for _ in range(repetitions):
        ours.append(_ours(problems))
        if python:
            peer.append(_peer(problems, python, os.environ["ETUDE_FORMALGEO_GDL"]))
    details = {"problems": len(problems), "limit, s": LIMIT, "realizer": ours[-1]}
    if not python:
        return Comparison([], [Missing(work, FORMALGEO)], details)
    cost, solved = "CPU per solved problem, s", "solved"
    name = "FormalGeo's forward search"
    rounds = list(zip(peer, ours, strict=True))
    more = tuple(float(b[solved] - a[solved]) for a, b in rounds)
    figures = [Figure(work, name, "problems solved beyond its own", more, 1, unit="problems")]
    if spent := tuple(a[cost] / b[cost] for a, b in rounds if a[solved] and b[solved]):
        figures.insert(0, Figure(work, name, "processor seconds a solved problem", spent, 10))
    return Comparison(figures, (), {**details, "FormalGeo": peer[-1]})


def _summary(solved: list[bool], seconds: list[float], wrong: int) -> dict[str, Any]:
    own = [s for s, done in zip(seconds, solved, strict=True) if done]
    return {
        "solved": sum(solved),
        "wrong": wrong,
        "share solved": sum(solved) / len(solved),
        "CPU per solved problem, s": statistics.fmean(own) if own else None,
        "median CPU of solved ones, s": statistics.median(own) if own else None,
        "CPU on all problems, s": sum(seconds),
    }


def _ours(problems: list[Problem]) -> dict[str, Any]:
    solved, seconds, wrong = [], [], 0
    for problem in problems:
        begin, right = time.process_time(), False
        try:
            found = Realiser(problem).solve()
        except EtudeError:
            found = None
        seconds.append(time.process_time() - begin)
        if found is not None and found.value is not None:
            right = check_answer(found.exact or repr(found.value), problem.problem_answer).correct
            wrong += not right
        solved.append(right)
    return _summary(solved, seconds, wrong)


def _peer(problems: list[Problem], python: str, gdl: str) -> dict[str, Any]:
    rows = [{name: getattr(p, name) for name in FIELDS} for p in problems]
    done = subprocess.run(
        [python, str(Path(__file__).with_name("_geoeval_formalgeo.py")), gdl, str(LIMIT)],
        input="".join(json.dumps(row) + "\n" for row in rows),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
    )
    if done.returncode:
        raise EtudeError(f"formalgeo failed: {done.stderr[-300:]}", "Check ETUDE_FORMALGEO_PYTHON.")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    summary = _summary([f["status"] == "solved" for f in found], [f["seconds"] for f in found], 0)
    reasons = [f["status"] for f in found]
    return {**summary, "not solved for": {r: reasons.count(r) for r in sorted(set(reasons)) if r != "solved"}}
