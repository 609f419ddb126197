"""Models of a few weights with real tokenizers, in place of full-size ones, and texts of our own."""

from __future__ import annotations

import random
from pathlib import Path

from tests.tiny_models import tiny_llama

WHO = ("The baker", "A neighbor", "My sister", "The old captain", "The gardener", "Our teacher", "The mayor")
DID = ("painted", "repaired", "forgot", "praised", "sold", "carried", "measured", "described", "bought")
WHAT = ("a small boat", "the blue door", "an umbrella", "a bag of apples", "the long film", "a wooden chair")
WHEN = ("at noon", "before the storm", "in the winter", "with great care", "without a word", "after work")


def story(words: int, seed: int) -> str:
    """Sentences put together from parts, at least so many words."""
    draw, told = random.Random(seed), ""
    while len(told.split()) < words:
        told += f"{draw.choice(WHO)} {draw.choice(DID)} {draw.choice(WHAT)} {draw.choice(WHEN)}. "
    return told.strip()


def tiny_lm(folder: Path, layers: int = 4) -> None:
    """A Llama with random weights and SmolLM2's tokenizer, as a directory."""
    from etude.models import load_tokenizer

    tokenizer = load_tokenizer("smollm2")
    tiny_llama(
        len(tokenizer), hidden_size=128, intermediate_size=128, num_hidden_layers=layers,
        num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, initializer_range=0.2,
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
