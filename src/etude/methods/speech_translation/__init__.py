# ruff: noqa: F401
"""Join a speech encoder to a language model: any published design as one config.

Five blocks (speech model, length adapter, modality adapter, mixer, language model), one trainer, one scorer.
Paper: Gaido, Papi, Negri, Bentivogli: Speech Translation with Speech Foundation Models and Large Language
Models: What is There and What is Missing?, arXiv 2402.12025 (ACL 2024).

    from etude.methods.speech_translation import compare, evaluate, presets, train, translate
    train("data.tsv", preset="base", la="conv:layers=3", target_lang="de", out="model")
    translate("talk.flac", model="model")
    evaluate("model", "test.tsv"); evaluate("cascade", "test.tsv")
    compare("data.tsv", arms=("conv", "ctc", "cascade"), target_lang="de", out="compared")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.speech_translation.audio import read_audio
    from etude.methods.speech_translation.comparison import compare
    from etude.methods.speech_translation.design import Design, read_design
    from etude.methods.speech_translation.evaluation import evaluate
    from etude.methods.speech_translation.example_view import show
    from etude.methods.speech_translation.feature_cache import FeatureCache
    from etude.methods.speech_translation.length_adapters import LengthAdapter, register_length_adapter
    from etude.methods.speech_translation.modality_adapters import (
        ModalityAdapter,
        register_modality_adapter,
    )
    from etude.methods.speech_translation.published_systems import PRESETS, presets
    from etude.methods.speech_translation.speech_encoders import load_speech_encoder
    from etude.methods.speech_translation.synthetic_speech import build
    from etude.methods.speech_translation.training_run import train
    from etude.methods.speech_translation.translating import translate
    from etude.methods.speech_translation.translator import SpeechTranslator
    from etude.methods.speech_translation.utterances import Utterance, read_utterances

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Design": "design",
        "FeatureCache": "feature_cache",
        "LengthAdapter": "length_adapters",
        "ModalityAdapter": "modality_adapters",
        "PRESETS": "published_systems",
        "SpeechTranslator": "translator",
        "Utterance": "utterances",
        "build": "synthetic_speech",
        "compare": "comparison",
        "evaluate": "evaluation",
        "load_speech_encoder": "speech_encoders",
        "presets": "published_systems",
        "read_audio": "audio",
        "read_design": "design",
        "read_utterances": "utterances",
        "register_length_adapter": "length_adapters",
        "register_modality_adapter": "modality_adapters",
        "show": "example_view",
        "train": "training_run",
        "translate": "translating",
    },
)
