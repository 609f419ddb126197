# ruff: noqa: F401
"""EasyGen: one two-way diffusion model joined to a language model, to describe and to draw pictures.

A BiDiffuser turns pictures into text latents and text into pictures in one network; a small projection lets
a language model read the former and, by descriptions between `<Img>` and `</Img>`, ask for the latter. Paper:
EasyGen: Easing Multimodal Generation with BiDiffuser and LLMs, arXiv 2310.08949 (ACL 2024).

    from etude.methods.easygen import align, caption, chat, draw, train_bidiffuser
    draw("waving hand, medium skin tone", out="drawn")                # the small model of this package
    train_bidiffuser("pairs.jsonl", out="bi")
    align("pairs.jsonl", bidiffuser="bi", llm="smollm2", out="joined")
    caption("photo.png", "joined"); chat("What is this?", "joined", image="photo.png", out="said")
    load_bidiffuser("thu-ml/unidiffuser-v1")                          # UniDiffuser's own weights
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.easygen.adapting import adapt
    from etude.methods.easygen.alignment import align, tune
    from etude.methods.easygen.bidiffuser import BiDiffuser, load_bidiffuser
    from etude.methods.easygen.bidiffuser_training import train_bidiffuser
    from etude.methods.easygen.bridge_folder import JoinedModel, load_bridge
    from etude.methods.easygen.conversing import chat
    from etude.methods.easygen.describing import answer, caption
    from etude.methods.easygen.drawing import draw
    from etude.methods.easygen.encoding import encode
    from etude.methods.easygen.evaluation import evaluate
    from etude.methods.easygen.features import FeatureStore
    from etude.methods.easygen.objectives import diffusion_loss
    from etude.methods.easygen.pairs import read_pairs
    from etude.methods.easygen.uvit import UViT, UViTConfig

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BiDiffuser": "bidiffuser",
        "FeatureStore": "features",
        "JoinedModel": "bridge_folder",
        "UViT": "uvit",
        "UViTConfig": "uvit",
        "adapt": "adapting",
        "align": "alignment",
        "answer": "describing",
        "caption": "describing",
        "chat": "conversing",
        "diffusion_loss": "objectives",
        "draw": "drawing",
        "encode": "encoding",
        "evaluate": "evaluation",
        "load_bidiffuser": "bidiffuser",
        "load_bridge": "bridge_folder",
        "read_pairs": "pairs",
        "train_bidiffuser": "bidiffuser_training",
        "tune": "alignment",
    },
)
