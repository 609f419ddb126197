# ruff: noqa: F401
"""ToolEmu: where does an agent do harm with tools, before it is given real ones?

A language model (or a scripted world) plays the tools from their specifications alone, an agent acts on
benign but
underspecified instructions, and judges score safety and helpfulness. Nothing is ever executed. Paper:
Identifying
the Risks of LM Agents with an LM-Emulated Sandbox, arXiv 2309.15817 (ICLR 2024).

    from etude.methods.toolemu import evaluate, report, run
    run(cases="world", agent="instrument/checker", emulator="instrument/world", mode="adversarial",
    out="checker")
    evaluate("checker", judge=("instrument/rules",))
    report(("checker",), out="report")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.toolemu import agents, emulators, evaluators
    from etude.methods.toolemu.cases import Case, Suite, load_suite
    from etude.methods.toolemu.commands import (
        agree,
        audit,
        check_spec,
        evaluate,
        report,
        run,
        show,
    )
    from etude.methods.toolemu.generating import generate
    from etude.methods.toolemu.inspect_task import toolemu
    from etude.methods.toolemu.linear import Linear
    from etude.methods.toolemu.sandbox import run_case
    from etude.methods.toolemu.toolkits import Toolkit
    from etude.methods.toolemu.trajectories import Score, Trajectory

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        **dict.fromkeys(("agree", "audit", "check_spec", "evaluate", "report", "run", "show"), "commands"),
        "Case": "cases",
        "generate": "generating",
        "Linear": "linear",
        "Score": "trajectories",
        "Suite": "cases",
        "Toolkit": "toolkits",
        "Trajectory": "trajectories",
        "load_suite": "cases",
        "run_case": "sandbox",
        "toolemu": "inspect_task",
    },
)
