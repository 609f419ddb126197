"""geoeval: the answer checker beside math-verify, and the realizer beside FormalGeo."""

from __future__ import annotations

from benchmarks import _geoeval_checker, _geoeval_realiser
from benchmarks._comparison import Comparison
from benchmarks._peers import FORMALGEO, MATH_VERIFY

PEERS = (MATH_VERIFY, FORMALGEO)


def main(*, full: bool, repetitions: int) -> Comparison:
    """Both measurements; `full` solves all problems of the sample, else every other."""
    checker = _geoeval_checker.compare_checkers(repetitions)
    realizer = _geoeval_realiser.compare_solvers(full, repetitions)
    figures = [*checker.figures, *realizer.figures]
    missing = [*checker.missing, *realizer.missing]
    return Comparison(figures, missing, {"checker": checker.details, "realizer": realizer.details})
