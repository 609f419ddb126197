"""A small byte-level BPE tokenizer trained here, so that exact counts are tested without any download."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from etude.methods.counting_stars.haystacks import Haystack, load_haystack


@pytest.fixture(scope="session")
def english() -> Haystack:
    return load_haystack("en-inaugural")


@pytest.fixture(scope="session")
def chinese() -> Haystack:
    return load_haystack("zh-stone")


@pytest.fixture(scope="session")
def tokenizer(english: Haystack, chinese: Haystack) -> Tokenizer:
    """Byte-level BPE as in GPT-2, 2,000 tokens: Chinese characters take one to three tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator([english.text[:60_000], chinese.text[:8_000]], trainer)
    return made


@pytest.fixture(scope="session")
def metaspace_tokenizer(english: Haystack) -> Tokenizer:
    """Another family: spaces become part of the next token, as in SentencePiece, with a dummy prefix."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=["<unk>"], show_progress=False)
    made.train_from_iterator([english.text[:60_000] + "★0123456789"], trainer)
    return made
