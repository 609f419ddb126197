# ruff: noqa: F401
"""ConspEmoLLM: label texts for conspiracy content, and find out whether affect helps on your data.

Five tasks (is it a conspiracy text, does it support one, which, how closely is it tied to one), two families
(encoders with a logistic head; causal language models that score labels), three ways for affect to enter.
Paper: ConspEmoLLM: Conspiracy Theory Detection Using an Emotion-Based Large Language Model, arXiv 2403.06765.

    from etude.methods.conspemollm import build, evaluate, predict, train
    build(coco="coco.csv", loco="LOCO.json", annotations="annotations.csv", out="condid")
    evaluate("condid", emobank="emobank.csv")             # does affect help here? grouped folds, a verdict
    train("condid", model="smollm2", route="affect-base", emobank="emobank.csv", out="detector")
    predict("detector", "texts.csv", out="labels")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.conspemollm.annotating import affect
    from etude.methods.conspemollm.annotator import AffectAnnotator, AffectSettings
    from etude.methods.conspemollm.builder import ConDIDBuilder
    from etude.methods.conspemollm.building import build
    from etude.methods.conspemollm.detector import ConspEmo
    from etude.methods.conspemollm.evaluating import evaluate
    from etude.methods.conspemollm.examples import Example, read_examples
    from etude.methods.conspemollm.inspect_task import conspemollm
    from etude.methods.conspemollm.label_policies import LabelPolicy
    from etude.methods.conspemollm.predicting import predict
    from etude.methods.conspemollm.probing import probe
    from etude.methods.conspemollm.settings import Settings, StageSettings
    from etude.methods.conspemollm.tasks import ConspTask, task_named
    from etude.methods.conspemollm.training_runs import train

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "AffectAnnotator": "annotator",
        "AffectSettings": "annotator",
        "ConDIDBuilder": "builder",
        "ConspEmo": "detector",
        "ConspTask": "tasks",
        "Example": "examples",
        "LabelPolicy": "label_policies",
        "Settings": "settings",
        "StageSettings": "settings",
        "affect": "annotating",
        "build": "building",
        "conspemollm": "inspect_task",
        "evaluate": "evaluating",
        "predict": "predicting",
        "probe": "probing",
        "read_examples": "examples",
        "task_named": "tasks",
        "train": "training_runs",
    },
)
