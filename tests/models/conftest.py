"""Models for the tests: a tiny random Llama, and the embedded models where they can be had."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tiny_models import tiny_llama, word_tokenizer

from etude.errors import EtudeError
from etude.models import CausalLM, load_causal_lm

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "mat",
    "tree",
    "yes",
    "no",
    "user",
    "assistant",
    "system",
]
TEMPLATE = (
    "{% for message in messages %}<bos> {{ message['role'] }} {{ message['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<bos> assistant {% endif %}"
)


@pytest.fixture(scope="session")
def save_tiny_model() -> Callable[..., Path]:
    """Write a random two-layer Llama with a word tokenizer, as a Hugging Face directory."""
    return _save_tiny_model


def _save_tiny_model(directory: Path, *, seed: int = 0, template: str | None = TEMPLATE) -> Path:
    from tokenizers.pre_tokenizers import WhitespaceSplit

    words = ["<pad>", "<bos>", "<end>", "<unk>", *WORDS, *(f"w{i}" for i in range(100))]
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<end>"}
    fast = word_tokenizer(words, split=WhitespaceSplit(), **special)
    fast.chat_template = template
    tiny_llama(
        len(words), seed=seed, num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    ).save_pretrained(directory)  # fmt: skip
    fast.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny(tiny_directory: Path) -> CausalLM:
    return load_causal_lm(str(tiny_directory), device="cpu")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def embedded() -> Callable[[str], Path]:
    """`embedded("smollm2")` is that model's directory; the test skips where it cannot be fetched."""
    from etude.models import model_directory

    def find(name: str) -> Path:
        try:
            return model_directory(name)
        except EtudeError as error:
            pytest.skip(f"no {name}: {error.problem}")

    return find


@pytest.fixture(scope="session")
def smollm2(embedded: Callable[[str], Path]) -> CausalLM:
    embedded("smollm2")
    return load_causal_lm("smollm2", device="cpu")


@pytest.fixture
def user() -> Callable[[str], list[Any]]:
    """A conversation of one user message."""
    return lambda text: [{"role": "user", "content": text}]
