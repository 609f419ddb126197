"""Tiny random models, whose behavior can be computed, and a word-level tokenizer."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.tiny_models import tiny_bert, tiny_llama, word_tokenizer
from transformers import T5Config, T5ForConditionalGeneration

WORDS = """
a the dog cat man woman boy girl is not sleeping running eating red blue big small house garden car on in
with write must be true given contradicts sentence that rewrite each other words first
"""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny("llama")`, `tiny("t5")`, `tiny("bert")`: folders with random weights."""

    def make(kind: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / f"tiny-{kind}"
        if folder.exists():
            return folder
        torch.manual_seed(0)
        words = ["<pad>", "</s>", "<unk>", '"', ":", ".", *WORDS.split()]
        tokenizer = word_tokenizer(words, pad_token="<pad>", eos_token="</s>", model_max_length=512)
        size = len(tokenizer)
        if kind == "llama":
            model = tiny_llama(
                size, num_hidden_layers=3, num_key_value_heads=2, max_position_embeddings=512, eos_token_id=1,
                pad_token_id=0, bos_token_id=None, initializer_range=0.5,
            )  # fmt: skip
        elif kind == "t5":
            model = T5ForConditionalGeneration(
                T5Config(
                    vocab_size=size, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, eos_token_id=1,
                    pad_token_id=0, decoder_start_token_id=0, tie_word_embeddings=False,
                )
            )  # fmt: skip
        else:
            model = tiny_bert(size, initializer_range=0.5)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make
