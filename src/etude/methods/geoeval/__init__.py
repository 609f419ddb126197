# ruff: noqa: F401
"""GeoEval: geometry problems that prove themselves, and a score that can be trusted.

A problem is a question with its facts. A solver realizes the facts as a picture, reads the answer off and
certifies that it is the only one; so new problems (inverted, reworded, redrawn) can be built and models be
scored on them. Paper: GeoEval: Benchmark for Evaluating LLMs and Multi-Modal Models on Geometry
Problem-Solving, arXiv 2402.10104 (Findings of ACL 2024).

    from etude.methods.geoeval import Realiser, build, read_problems, report, run
    Realiser(read_problems("samples")[0]).solve().exact             # '12'
    build("backward", problems="samples", out="backward.jsonl")
    run("backward.jsonl", model=("smollm2", "solver/realiser"), out="logs")
    report("logs", out="report")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.geoeval.backward import make_backward
    from etude.methods.geoeval.building import build
    from etude.methods.geoeval.cdl import parse_cdl
    from etude.methods.geoeval.drawing import render_drawing
    from etude.methods.geoeval.equivalence import Check, check_answer
    from etude.methods.geoeval.evaluation import check, report, run, score
    from etude.methods.geoeval.extraction import extract_answer
    from etude.methods.geoeval.inspect_task import geoeval
    from etude.methods.geoeval.paraphrases import paraphrase
    from etude.methods.geoeval.problems import Problem, read_problems
    from etude.methods.geoeval.realiser import Realiser, Solution
    from etude.methods.geoeval.sandbox import run_program
    from etude.methods.geoeval.scorer_audit import audit_scorer
    from etude.methods.geoeval.solving import render, solve

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Check": "equivalence",
        "Problem": "problems",
        "Realiser": "realiser",
        "Solution": "realiser",
        "audit_scorer": "scorer_audit",
        "build": "building",
        "check": "evaluation",
        "check_answer": "equivalence",
        "extract_answer": "extraction",
        "geoeval": "inspect_task",
        "make_backward": "backward",
        "paraphrase": "paraphrases",
        "parse_cdl": "cdl",
        "read_problems": "problems",
        "render": "solving",
        "render_drawing": "drawing",
        "report": "evaluation",
        "run": "evaluation",
        "run_program": "sandbox",
        "score": "evaluation",
        "solve": "solving",
    },
)
