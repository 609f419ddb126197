"""Causal language models and tokenizers in this process, by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etude.errors import EtudeError
from etude.models.names import model_directory, model_revision
from etude.models.quiet import quiet_transformers
from etude.runs import read_json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Dtype = Literal["float32", "bfloat16", "float16", "auto"]


@dataclass(frozen=True)
class CausalLM:
    """A causal language model in memory, in evaluation mode, with its tokenizer.

    Args:
        model: The transformers model.
        tokenizer: Its tokenizer.
        name: The name it was asked for by.
        revision: Digest of the files it was loaded from (see `model_revision`).
        path: The directory it was loaded from.
        context_length: The most tokens it reads, or None if the config does not say.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str
    path: Path
    context_length: int | None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


def load_causal_lm(name: str, *, dtype: Dtype = "float32", device: str | None = None) -> CausalLM:
    """Load a causal language model.

    Args:
        name: An embedded name (`smollm2`), a directory, a `.gguf` file, or a hub id.
        dtype: Number format of the weights in memory; `auto` keeps the file's.
        device: `cpu`, `cuda`, `cuda:1` ...; default: the GPU if there is one.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        EtudeError: No such model, not a causal LM, or no safetensors weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    directory = model_directory(name)
    tokenizer = _tokenizer(directory)
    with quiet_transformers():
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                directory, dtype="auto" if dtype == "auto" else getattr(torch, dtype), use_safetensors=True
            )
        except (ValueError, OSError, KeyError, ImportError) as error:
            raise _not_loadable(name, "a causal language model", error) from error
    model.to(device or default_device())
    model.eval()
    return CausalLM(
        model, tokenizer, name, model_revision(directory), directory, context_length_of(directory)
    )


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer, without its weights.

    Args:
        name: An embedded name, a directory (that of a tokenizer alone will do), a `.gguf` file, or a hub id.

    Raises:
        EtudeError: No such model, or it has no tokenizer.
    """
    path = Path(name).expanduser()
    return _tokenizer(path if (path / "tokenizer.json").is_file() else model_directory(name))


def default_device() -> str:
    """`cuda` if there is a GPU (of several processes on a machine, each has its own), else `cpu`."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ['LOCAL_RANK']}" if "LOCAL_RANK" in os.environ else "cuda"


def context_length_of(directory: Path) -> int | None:
    """The most tokens that the model in a directory was made for, from its config."""
    config = read_json(directory / "config.json")
    config = config.get("text_config") or config
    lengths = (config.get(key) for key in ("max_position_embeddings", "n_positions", "max_seq_len"))
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


def _tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    with quiet_transformers():
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(directory)
        except (ValueError, OSError, KeyError, ImportError) as error:
            raise _not_loadable(str(directory), "a tokenizer", error) from error
    if tokenizer.chat_template == "":  # a file cut to nothing: every prompt would come out empty
        raise EtudeError(
            f"{directory}: the chat template (chat_template.jinja or in tokenizer_config.json) is empty",
            "Fetch the model again; for a model without one, delete the empty file.",
        )
    return tokenizer


def _not_loadable(name: str, what: str, error: Exception) -> EtudeError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return EtudeError(
        f"{name}: cannot be loaded as {what} ({reason})"[:400],
        "The folder must hold config.json, tokenizer files and .safetensors weights (save_pretrained does).",
    )
