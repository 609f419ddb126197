"""Models of a few thousand weights with real tokenizers, in place of full-size ones."""

from __future__ import annotations

from pathlib import Path


def tiny_lm(folder: Path) -> None:
    """A Llama with random weights and SmolLM2's tokenizer, as a directory."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from etude.models import load_tokenizer

    tokenizer = load_tokenizer("smollm2")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, initializer_range=0.2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
