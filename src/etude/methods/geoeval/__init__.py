# ruff: noqa: F401
"""GeoEval: geometry problems that prove themselves, and a score that can be trusted.

A problem is a question with its facts. A solver realizes the facts as a picture, reads the answer off and
certifies that it is the only one; so new problems (inverted, reworded, redrawn) can be built and models be
scored on them. Paper: GeoEval: Benchmark for Evaluating LLMs and Multi-Modal Models on Geometry Problem-Solving,
arXiv 2402.10104.
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.geoeval.cdl import parse_cdl
    from etude.methods.geoeval.problems import Problem, read_problems

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Problem": "problems",
        "parse_cdl": "cdl",
        "read_problems": "problems",
    },
)
