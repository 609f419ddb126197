"""Small texts, a tiny causal model and a tiny encoder: real architectures, a few thousand weights."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from etude.methods.word_sensitivity.perturbation import generator, rescale

WORDS = [
    "i",
    "love",
    "her",
    "much",
    "smile",
    "the",
    "a",
    "film",
    "was",
    "good",
    "bad",
    "plot",
    "actor",
    "very",
    "not",
    "and",
    "but",
    "so",
    "long",
    "short",
    "boring",
    "great",
    "funny",
    "sad",
    "music",
    "scene",
    "end",
    "start",
    "man",
    "woman",
    "dog",
    "cat",
    "house",
    "road",
    "night",
    "day",
    "light",
    "dark",
    "old",
    "new",
]


@pytest.fixture(scope="session")
def gaussian() -> Callable[..., Tensor]:
    """`gaussian(n, d)`: a text of rows of norm √d, in float64."""

    def make(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        return rescale(torch.randn(n, d, generator=generator(seed, n, d), dtype=dtype))

    return make


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama with 2 blocks of width 32, 4 heads, rotary positions and grouped keys."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS) + 1, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    _save_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT with 2 blocks of width 32."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS) + 1, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    _save_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 labeled texts of 40 words, drawn from the tiny vocabulary."""
    path = tmp_path_factory.mktemp("data") / "reviews.jsonl"
    lines = []
    for index in range(40):
        drawn = torch.randint(len(WORDS), (40,), generator=generator(index, 9))
        text = " ".join(WORDS[int(i)] for i in drawn)
        lines.append(json.dumps({"id": f"r{index:02d}", "label": 1 - 2 * (index % 2), "text": text}))
    path.write_text("\n".join(lines) + "\n")
    return path
