"""Tiny random models, whose behavior can be computed, and a word-level tokenizer."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

WORDS = """
a the dog cat man woman boy girl is not sleeping running eating red blue big small house garden car on in
with write must be true given contradicts sentence that rewrite each other words first
"""


def word_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {
        token: i for i, token in enumerate(["<pad>", "</s>", "<unk>", '"', ":", ".", *WORDS.split()])
    }
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=512,
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny("llama")`, `tiny("t5")`, `tiny("bert")`: folders with random weights."""

    def make(kind: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / f"tiny-{kind}"
        if folder.exists():
            return folder
        torch.manual_seed(0)
        tokenizer = word_tokenizer()
        size = len(tokenizer)
        if kind == "llama":
            model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
                    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, eos_token_id=1,
                    pad_token_id=0, bos_token_id=None, initializer_range=0.5,
                )
            )  # fmt: skip
        elif kind == "t5":
            model = T5ForConditionalGeneration(
                T5Config(
                    vocab_size=size, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, eos_token_id=1,
                    pad_token_id=0, decoder_start_token_id=0, tie_word_embeddings=False,
                )
            )  # fmt: skip
        else:
            model = BertModel(
                BertConfig(
                    vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                    num_attention_heads=4, max_position_embeddings=64, initializer_range=0.5,
                )
            )  # fmt: skip
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make
