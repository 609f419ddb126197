"""Catalogues, texts and untrained models in the sizes of the paper, made up from a seed."""

from __future__ import annotations

import random
from typing import Any

import torch

PAD, EOS, UNKNOWN = 0, 1, 2
WORDS = 8870
"""Different words of the ids that the paper's generator wrote for Beauty; an id has 5.6 of them."""


def id_rows(items: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Token rows of made-up textual ids: 1 to 10 words, drawn as words are."""
    chance = random.Random(seed)
    weights = [1 / (rank + 3) for rank in range(WORDS)]
    found: dict[tuple[int, ...], None] = {}
    while len(found) < items:
        length = min(max(round(chance.gauss(5.6, 1.8)), 1), 10)
        found[tuple(word + 3 for word in chance.choices(range(WORDS), weights, k=length))] = None
    return list(found)


def texts(items: int, words: int = 40, seed: int = 0) -> list[str]:
    """Made-up lines of item text over a vocabulary of words, each different."""
    chance = random.Random(seed)
    weights = [1 / (rank + 3) for rank in range(5000)]
    return [
        " ".join(
            f"w{word}" for word in chance.choices(range(5000), weights, k=chance.randint(words // 2, words))
        )
        for _ in range(items)
    ]


def tokenizer() -> Any:
    """One token to a word of `texts`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {
        word: n for n, word in enumerate(["<pad>", "</s>", "<unk>", *(f"w{n}" for n in range(5000))])
    }
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def t5(size: str, vocabulary: int) -> Any:
    """An untrained T5: `tiny` (2+2 layers, 64 wide) or `small` (t5-small's 6+6 layers, 512 wide)."""
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    wide = {
        "tiny": {"d_model": 64, "d_kv": 16, "d_ff": 256, "num_layers": 2, "num_heads": 4},
        "small": {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    }[size]
    config = T5Config(
        vocab_size=vocabulary, decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=EOS, **wide
    )
    model = T5ForConditionalGeneration(config).eval()
    _sharpen(model)
    return model


def causal(vocabulary: int) -> Any:
    """An untrained causal transformer: 2 layers, 64 wide, 4 heads."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=512,
        bos_token_id=UNKNOWN,
        eos_token_id=EOS,
        pad_token_id=PAD,
        initializer_range=0.2,
    )
    return GPT2LMHeadModel(config).eval()


@torch.no_grad()
def _sharpen(model: Any) -> None:
    """Untrained weights say nearly the same of all tokens; make them choose by what they read."""
    for block in model.decoder.block:
        block.layer[1].EncDecAttention.o.weight.mul_(4)
    model.lm_head.weight.copy_(torch.randn_like(model.lm_head.weight) * 0.2)
