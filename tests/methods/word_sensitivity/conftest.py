"""Small texts, a tiny causal model and a tiny encoder: real architectures, a few thousand weights."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.tiny_models import tiny_bert, tiny_llama, word_tokenizer
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


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama with 2 blocks of width 32, 4 heads, rotary positions and grouped keys."""
    folder = tmp_path_factory.mktemp("llama")
    shape = {"num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2}
    tiny_llama(len(WORDS) + 1, **shape).save_pretrained(folder)
    word_tokenizer(["<unk>", *WORDS]).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT with 2 blocks of width 32."""
    folder = tmp_path_factory.mktemp("bert")
    tiny_bert(len(WORDS) + 1, initializer_range=0.2).save_pretrained(folder)
    word_tokenizer(["<unk>", *WORDS]).save_pretrained(folder)
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
