# ruff: noqa: F401
"""Word sensitivity: how far one changed word can move a feature map or a layer of a transformer.

Bombari & Mondelli, "Towards Understanding the Word Sensitivity of Attention Layers: A Study via Random
Features", ICML 2024, arXiv 2402.02969. The supremum over changes of one token, relative to the map's size;
how it scales with the length of the text; and whether a learner on such features can tell two texts that
differ in one word.

    from etude.methods.word_sensitivity import curve, measure, modify, words
    print(curve("raf", "reviews.jsonl", [16, 32, 64, 128, 256]))
    measure("smollm2", texts="reviews.jsonl", sites="layers.*.self_attn,final", lengths="16,64", out="ws")
    modify("raf", texts="reviews.jsonl", n_train=300, tokens=40)
    words("smollm2", text="I love her much", site="layers.3.self_attn", out="words")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.word_sensitivity.attention_features import RandomAttentionFeatures
    from etude.methods.word_sensitivity.corpus import embed_texts, word_table
    from etude.methods.word_sensitivity.model_site import ModelSite
    from etude.methods.word_sensitivity.modification import ContextModification, context_modification
    from etude.methods.word_sensitivity.modification_table import modify
    from etude.methods.word_sensitivity.perturbation import rescale
    from etude.methods.word_sensitivity.random_features import DeepRandomFeatures, RandomFeatures
    from etude.methods.word_sensitivity.scaling import Curve, Shape, curve
    from etude.methods.word_sensitivity.sentence import words
    from etude.methods.word_sensitivity.site_table import measure
    from etude.methods.word_sensitivity.supremum import Sensitivity, sensitivity
    from etude.methods.word_sensitivity.vocabulary import Vocabulary

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ContextModification": "modification",
        "Curve": "scaling",
        "DeepRandomFeatures": "random_features",
        "ModelSite": "model_site",
        "RandomAttentionFeatures": "attention_features",
        "RandomFeatures": "random_features",
        "Sensitivity": "supremum",
        "Shape": "scaling",
        "Vocabulary": "vocabulary",
        "context_modification": "modification",
        "curve": "scaling",
        "embed_texts": "corpus",
        "measure": "site_table",
        "modify": "modification_table",
        "rescale": "perturbation",
        "sensitivity": "supremum",
        "word_table": "corpus",
        "words": "sentence",
    },
)
