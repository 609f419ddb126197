"""A small random Llama, and what every test of this method needs."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from etude.methods.signround.claim import train_tokenizer
from etude.methods.signround.texts import calibration_documents


def small_llama(**changes: object) -> LlamaForCausalLM:
    """Two blocks of 64 features with random weights (seed 0)."""
    torch.manual_seed(0)
    config = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
        **changes,
    }
    model = LlamaForCausalLM(LlamaConfig(**config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".layers." in name and parameter.ndim == 2:
                parameter.mul_(5)  # blocks that matter to the output
    return model


@pytest.fixture
def llama() -> LlamaForCausalLM:
    return small_llama()


@pytest.fixture
def samples() -> torch.Tensor:
    """(32, 24) token ids."""
    return torch.randint(0, 512, (32, 24), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """512 byte-level BPE tokens."""
    return train_tokenizer([document.text for document in calibration_documents()[:20]])


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> str:
    """A directory that `load_causal_lm` reads."""
    folder = tmp_path_factory.mktemp("model") / "llama"
    small_llama().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
