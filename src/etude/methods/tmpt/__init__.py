# ruff: noqa: F401
"""TMPT: the stance of a post, with text and picture, towards a named target.

Liang et al., "Multi-modal Stance Detection: New Datasets and Model", Findings of ACL 2024, arXiv 2402.14298.
The text is read in a prompt that names the target, the picture by a frozen vision encoder with learned
prompts; both are projected, weighed by a gate, and classified. Text alone, picture alone and plain fusion run
beside it on the same posts.

    from etude.methods.tmpt import train, predict, evaluate
    train("posts.csv", images="pictures", out="runs/stance", text_tuning="frozen")
    predict("runs/stance", "new.csv", images="pictures", out="stances.csv")
    evaluate("runs/stance", "labeled.csv", images="pictures")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.tmpt.evaluation import evaluate
    from etude.methods.tmpt.feature_cache import FeatureCache
    from etude.methods.tmpt.hydration import hydrate_check
    from etude.methods.tmpt.model import TMPTModel
    from etude.methods.tmpt.posts import StanceDataset, StanceExample
    from etude.methods.tmpt.prediction import predict
    from etude.methods.tmpt.rationales import rationale
    from etude.methods.tmpt.settings import TMPTConfig, Training
    from etude.methods.tmpt.text_prompt import TargetedPrompt
    from etude.methods.tmpt.training import train
    from etude.methods.tmpt.visual_prompts import VisualPrompts

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "FeatureCache": "feature_cache",
        "StanceDataset": "posts",
        "StanceExample": "posts",
        "TMPTConfig": "settings",
        "TMPTModel": "model",
        "TargetedPrompt": "text_prompt",
        "Training": "settings",
        "VisualPrompts": "visual_prompts",
        "evaluate": "evaluation",
        "hydrate_check": "hydration",
        "predict": "prediction",
        "rationale": "rationales",
        "train": "training",
    },
)
