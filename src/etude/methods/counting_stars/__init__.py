# ruff: noqa: F401
"""Counting-Stars: how many of many facts does a model still collect from a long text, and from which depths?

M star sentences ("The little penguin counted 117 ★") are hidden in a haystack; the model lists the numbers.
The score falls with length and with the number of stars where a model loses evidence. Paper: Counting-Stars:
A Multi-evidence, Position-aware, and Scalable Benchmark, arXiv 2403.11802 (COLING 2025).

    from etude.methods.counting_stars import build, report, run
    build("en-inaugural", stars=8, lengths="512:2048:512", tokenizer="smollm2", out="cells.jsonl")
    run("cells.jsonl", model=("smollm2", "instrument/window-512"), out="logs")
    report("logs", out="report")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.counting_stars.builder import build_cells
    from etude.methods.counting_stars.cells import Cell, rebuild
    from etude.methods.counting_stars.commands import build, check, report, run, score
    from etude.methods.counting_stars.grid import StarGrid
    from etude.methods.counting_stars.inspect_task import counting_stars
    from etude.methods.counting_stars.scoring import StarScore, score_answer

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Cell": "cells",
        "StarGrid": "grid",
        "StarScore": "scoring",
        "build": "commands",
        "build_cells": "builder",
        "check": "commands",
        "counting_stars": "inspect_task",
        "rebuild": "cells",
        "report": "commands",
        "run": "commands",
        "score": "commands",
        "score_answer": "scoring",
    },
)
