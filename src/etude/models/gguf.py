"""GGUF files turned into clean Hugging Face directories: float32 safetensors, plain config, right tokenizer.

A model that transformers loaded from GGUF cannot be saved as it is (its config says that it is quantized), so
the weights are copied into a model built from a clean config.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.models.quiet import quiet_transformers
from etude.runs import atomic_path

CONVERSION = 1
"""Raised whenever the conversion writes something else, so that old conversions are not used any more."""


def convert_gguf(gguf: Path, directory: Path) -> None:
    """Write the model of a GGUF file as a float32 Hugging Face directory.

    Args:
        gguf: The file; its quantized tensors are dequantized.
        directory: Where to write; appears in one step.

    Raises:
        EtudeError: The file is not GGUF or transformers does not know its architecture.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    metadata = read_metadata(gguf)
    with quiet_transformers():
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32
            )
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        except (ValueError, NotImplementedError, KeyError, OSError) as error:
            raise EtudeError(
                f"{gguf}: transformers cannot read this GGUF file ({error})"[:400],
                "Give a Hugging Face directory of the model instead.",
            ) from error
        clean = type(loaded)(_clean_config(loaded.config)).to(torch.float32)
        clean.load_state_dict(loaded.state_dict(), strict=True)
        clean.generation_config = loaded.generation_config
        _mend_tokenizer(tokenizer, metadata)
        with atomic_path(directory) as temporary:
            clean.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)


def read_metadata(gguf: Path) -> dict[str, Any]:
    """The scalar metadata of a GGUF file (strings, numbers, booleans; long lists are left out).

    Raises:
        EtudeError: The file is missing or not GGUF.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
    except (ValueError, OSError) as error:
        raise EtudeError(
            f"{gguf}: not a readable GGUF file ({error})", "Check the path, or fetch the file again."
        ) from error
    values = {name: field.contents() for name, field in reader.fields.items() if len(field.data) == 1}
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}


def _clean_config(config: Any) -> Any:
    values = config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path", "dtype"):
        values.pop(key, None)
    if "rms_norm_eps" in values:  # GGUF keeps it as float32: 9.999999747378752e-06 for 1e-05
        values["rms_norm_eps"] = float(f"{values['rms_norm_eps']:.6g}")
    return type(config)(**values)


def _mend_tokenizer(tokenizer: Any, metadata: dict[str, Any]) -> None:
    """Give back what transformers drops on reading GGUF: `smollm` splits digits; the context length."""
    from tokenizers import pre_tokenizers

    if metadata.get("tokenizer.ggml.pre") == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    length = metadata.get(f"{metadata.get('general.architecture')}.context_length")
    if isinstance(length, int):
        tokenizer.model_max_length = length
