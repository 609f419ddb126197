"""A name becomes a model: local language models, encoders, chat models, and the embedded ones.

    lm = load_causal_lm("smollm2")
    vectors = load_encoder("minilm").encode(["one text", "another"])

Importing this package costs little: torch and transformers load on first use.
"""

from etude.models.encoder import Encoder, load_encoder
from etude.models.local_lm import CausalLM, load_causal_lm, load_tokenizer
from etude.models.names import model_directory, model_revision

__all__ = [
    "CausalLM",
    "Encoder",
    "load_causal_lm",
    "load_encoder",
    "load_tokenizer",
    "model_directory",
    "model_revision",
]
