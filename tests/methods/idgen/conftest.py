"""Small random models, and catalogues of random ids, for the searches."""

import json
import random

import pytest
import torch
from tests.tiny_models import tiny_llama
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

PAD, EOS = 0, 1


def t5(vocabulary=60, seed=0, **changes):
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=vocabulary, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
        decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=EOS, **changes,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():  # untrained weights give nearly flat distributions: make choices matter
        for block in model.decoder.block:
            block.layer[0].SelfAttention.o.weight.mul_(4)
            block.layer[1].EncDecAttention.o.weight.mul_(4)
        model.lm_head.weight.copy_(torch.randn_like(model.lm_head.weight) * 0.5)
    return model


def gpt2(vocabulary=60, seed=0):
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=2,
        eos_token_id=EOS, pad_token_id=PAD, initializer_range=0.3,
        attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def llama(vocabulary=60, seed=0):
    return tiny_llama(
        vocabulary, seed=seed, intermediate_size=48, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=2, eos_token_id=EOS, pad_token_id=PAD, initializer_range=0.3,
    )  # fmt: skip


MODELS = {
    "t5": t5,
    "t5 gated and untied": lambda: t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "gpt2": gpt2,
    "llama": llama,
}


def random_ids(count, vocabulary=60, longest=7, seed=0, tokens=None):
    """Different token rows; some begin with the whole of another, many end in long unbranched tails."""
    rng = random.Random(seed)
    found = set()
    while len(found) < count:
        row = tuple(rng.randrange(3, tokens or vocabulary) for _ in range(rng.randint(1, longest)))
        found.add(row)
        if rng.random() < 0.3 and len(row) < longest:
            found.add((*row, rng.randrange(3, tokens or vocabulary)))
    return sorted(found)[:count]


@pytest.fixture(params=list(MODELS))
def model(request):
    return MODELS[request.param]()


HOBBIES = {
    "camping": "tent stove lantern mattress rope kettle hammock compass",
    "painting": "easel canvas brush palette varnish apron charcoal frame",
    "baking": "whisk tin rolling scale mitt sieve bowl cutter",
}


class Shop:
    """Items of three hobbies; users stay with one hobby and go through its items in a circle."""

    @staticmethod
    def items():
        return [
            {
                "item_id": f"{hobby[0].upper()}{place}",
                "title": f"{word} for {hobby}",
                "description": f"a {word} that every friend of {hobby} needs",
            }
            for hobby, words in HOBBIES.items()
            for place, word in enumerate(words.split())
        ]

    @staticmethod
    def sequences(users=60, length=7, seed=0):
        rng = random.Random(seed)
        rows = []
        for user in range(users):
            hobby, start = rng.choice(list(HOBBIES)), rng.randrange(8)
            names = [f"{hobby[0].upper()}{(start + step) % 8}" for step in range(length)]
            rows.append({"user_id": f"u{user:03d}", "items": names})
        return rows

    @classmethod
    def write(cls, folder, users=60, length=7, seed=0):
        """Files of histories and items."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("sequences", cls.sequences(users, length, seed)), ("items", cls.items())):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder / "sequences.jsonl", folder / "items.jsonl"


@pytest.fixture(scope="session")
def shop():
    return Shop
