"""A decoder as a stock transformers directory: what `LlamaForCausalLM.from_pretrained` reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.teenytinyllama.configs import ModelConfig, from_transformers, to_transformers
from etude.methods.teenytinyllama.llama_tokenizer import FILES
from etude.runs import atomic_path, write_json, write_text

_CONFIG = "config.json"


def write_llama_folder(
    path: Path,
    config: ModelConfig,
    state: dict[str, Tensor],
    *,
    tokenizer: Path | None,
    dtype: torch.dtype = torch.float32,
    card: str | None = None,
) -> None:
    """Write config.json, model.safetensors, generation_config.json and the tokenizer's files, in one step.

    Args:
        path: The folder.
        config: The model's shape.
        state: Its weights under transformers' names.
        tokenizer: Folder of its tokenizer.
        dtype: Of the stored weights.
        card: Text of README.md.
    """
    llama: Any = to_transformers(config)
    llama.architectures = ["LlamaForCausalLM"]
    llama.dtype = str(dtype).removeprefix("torch.")
    special = {name: getattr(llama, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    with atomic_path(path) as temporary:
        temporary.mkdir()
        llama.save_pretrained(temporary)
        weights = {name: tensor.to(dtype).contiguous() for name, tensor in state.items()}
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        write_json(temporary / "generation_config.json", special)
        if tokenizer is not None:
            for file in (tokenizer / name for name in FILES):
                if file.is_file():
                    shutil.copyfile(file, temporary / file.name)
        if card is not None:
            write_text(temporary / "README.md", card)


def read_llama_folder(path: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Shape and weights (float32, under transformers' names) of a plain Llama directory.

    Raises:
        EtudeError: It is none, or is quantized or otherwise not plain.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    if not (path / _CONFIG).is_file():
        raise EtudeError(f"{path} has no {_CONFIG}", "Give a run's folder or a Hugging Face model directory.")
    config = from_transformers(LlamaConfig.from_pretrained(path))
    model: Any = LlamaForCausalLM.from_pretrained(path, dtype=torch.float32)
    state = dict(model.state_dict())
    if config.tied:
        state.pop("lm_head.weight", None)
    return config, state
