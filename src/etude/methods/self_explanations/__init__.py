# ruff: noqa: F401
"""Self-explanations: does what a chat model says about its own answers describe what drives them?

The model classifies a text, explains its answer (a counterfactual, the most important words, a redaction),
and, in a fresh chat, classifies the explanation. Faithful is what predicts its own behavior. Paper: Are
self-explanations from Large Language Models faithful?, arXiv 2401.07927 (Findings of ACL 2024).

    from etude.methods.self_explanations import report, run, show, validate
    validate()                                      # the check itself, on models of known faithfulness
    run("my.jsonl", task="sentiment", model=("smollm2",), answers="calibrated", max_tokens=64, out="run")
    show("run", id="12")                            # the three chats side by side
    report("run")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.self_explanations.chats import Settings
    from etude.methods.self_explanations.commands import report, run, show, validate
    from etude.methods.self_explanations.faithfulness import Report, SelfExplain
    from etude.methods.self_explanations.inspect_task import self_explanations
    from etude.methods.self_explanations.observations import Observation
    from etude.methods.self_explanations.tasks import Custom, Entailment, MultiChoice, Sentiment

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Custom": "tasks",
        "Entailment": "tasks",
        "MultiChoice": "tasks",
        "Observation": "observations",
        "Report": "faithfulness",
        "SelfExplain": "faithfulness",
        "Sentiment": "tasks",
        "Settings": "chats",
        "report": "commands",
        "run": "commands",
        "self_explanations": "inspect_task",
        "show": "commands",
        "validate": "commands",
    },
)
