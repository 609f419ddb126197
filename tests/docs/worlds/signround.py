"""signround: a Llama of two random blocks with a tokenizer of 512 tokens, and stories as calibration text."""

from pathlib import Path
from typing import Any

from tests.docs.tiny import story
from tests.docs.world import Swapped, World, jsonl, write


def save_llama(folder: Path) -> None:
    """Width 128, so that groups of 64 and 128 fit."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from etude.methods.signround.claim import train_tokenizer

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=512, hidden_size=128, intermediate_size=128, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
                         bos_token_id=0, eos_token_id=0)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    train_tokenizer([story(400, seed) for seed in range(10)]).save_pretrained(folder)


def prepare(folder: Path) -> None:
    save_llama(folder / "tiny")
    rows = [{"text": story(150, seed)} for seed in range(60)]
    write(folder, my_jsonl=jsonl(rows[:50]))
    (folder / "my_eval.jsonl").write_text(jsonl(rows[50:]))


def names(folder: Path) -> dict[str, Any]:
    """The tiny model with its tokenizer, 32 samples of its tokens, and a place to save to."""
    import torch

    from etude.models import load_causal_lm

    loaded = load_causal_lm("tiny", device="cpu")
    samples = torch.randint(0, 512, (32, 64), generator=torch.Generator().manual_seed(1))
    return {"model": loaded.model, "tokenizer": loaded.tokenizer, "samples": samples, "path": folder / "q2"}


SMALL = "tiny --calib my.jsonl --steps 2 --seqlen 64 --nsamples 8"
WORLD = World(
    prepare,
    table=(
        Swapped("--bits 4", "135M weights take minutes", "smollm2", SMALL),
        Swapped("DIR", "a user's model; few steps", "DIR", "tiny --steps 2 --seqlen 64 --nsamples 8"),
        Swapped("compare", "eight quantizations of 135M weights", "smollm2", SMALL),
        Swapped("evaluate", "the reference is what was quantized", "smollm2", "tiny"),
        Swapped("steps=200", "fewer steps show the same", "200", "5"),
    ),
    names=names,
    writes=("q3/gptq_v2", "cmp"),
    slow=True,
)
