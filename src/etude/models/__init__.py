"""A name becomes a model: local language models, encoders, chat models, and the embedded ones.

    lm = load_causal_lm("smollm2")
    vectors = load_encoder("minilm").encode(["one text", "another"])
    cells = load_vision("efficientnet-lite0").cells(pixels)
    replies = chat_model("smollm2").generate([[{"role": "user", "content": "Hello!"}]], max_tokens=32)

Importing this package costs little: torch and transformers load on first use. The primitives of local
generation (`prefill`, `generate_batch`, `score_batch`) are in `etude.models.generation`.
"""

from etude.models.chat import ChatModel, Conversation, Message, Reply, image_part, text_part
from etude.models.decoding import Decoding
from etude.models.encoder import Encoder, load_encoder
from etude.models.engines import chat_model
from etude.models.local_lm import CausalLM, load_causal_lm, load_tokenizer
from etude.models.names import model_directory, model_origin, model_revision
from etude.models.responses import ResponseStore, StoredChat
from etude.models.scripted import register_scripted
from etude.models.vision import VisionEncoder, load_vision

__all__ = [
    "CausalLM",
    "ChatModel",
    "Conversation",
    "Decoding",
    "Encoder",
    "Message",
    "Reply",
    "ResponseStore",
    "StoredChat",
    "VisionEncoder",
    "chat_model",
    "image_part",
    "load_causal_lm",
    "load_encoder",
    "load_tokenizer",
    "load_vision",
    "model_directory",
    "model_origin",
    "model_revision",
    "register_scripted",
    "text_part",
]
