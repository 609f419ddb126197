"""Checkpoint formats other runtimes load, one module each, and the reader for the safetensors ones."""

from collections.abc import Mapping
from pathlib import Path

import torch

from etude.errors import EtudeError
from etude.methods.signround.blocks import Slot
from etude.methods.signround.exports import gguf
from etude.methods.signround.exports.awq import Awq
from etude.methods.signround.exports.checkpoint import (
    CheckpointFormat,
    read_checkpoint,
    write_directory,
)
from etude.methods.signround.exports.compressed_tensors import CompressedTensors
from etude.methods.signround.exports.gptq import Gptq
from etude.methods.signround.quantized_model import QuantizedModel
from etude.methods.signround.schemes import QuantScheme
from etude.methods.signround.storage import whole
from etude.runs import read_json

PACKED: dict[str, CheckpointFormat] = {
    format.name: format
    for format in (CompressedTensors(), Gptq("gptq"), Gptq("gptq_v2"), Gptq("auto_round"), Awq())
}
FORMATS = (*PACKED, "gguf", "dequantized")


def parse_formats(names: str) -> tuple[str, ...]:
    """Read a comma-separated list of formats.

    Raises:
        EtudeError: One of them is not known.
    """
    formats = tuple(name.strip() for name in names.split(",") if name.strip())
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise EtudeError(
            f"format {(unknown or [names])[0]!r} is not known", f"use one or more of {', '.join(FORMATS)}"
        )
    return formats


def check_formats(
    formats: tuple[str, ...], schemes: Mapping[str, QuantScheme], slots: Mapping[str, Slot]
) -> None:
    """Refuse, before any work is done, a format that cannot hold a layer.

    Args:
        formats: Names of formats.
        schemes: {layer name: scheme}.
        slots: {layer name: slot}.

    Raises:
        EtudeError: Naming the first such layer and the reason.
    """
    for name in formats:
        for layer, scheme in schemes.items():
            reason = None
            if name == "gguf":
                reason = gguf.refusal(slots[layer], scheme)
            elif name in PACKED:
                reason = PACKED[name].refusal(slots[layer], scheme)
            if reason:
                raise EtudeError(
                    f"format {name}: layer {layer} {reason}",
                    "choose another scheme or format, or leave the layer out",
                )


def save(quantized: QuantizedModel, path: Path, format: str, rest_dtype: str | None = None) -> Path:
    """Write a quantized model as `format` into the new directory `path`, complete or not at all.

    Args:
        quantized: The model.
        path: Where to write.
        format: One of `FORMATS`.
        rest_dtype: Packed formats: dtype of what is not quantized; the model's own when None.

    Raises:
        EtudeError: The format is unknown or cannot express a layer; the disk is full.
    """
    (format,) = parse_formats(format)
    check_formats(
        (format,), {name: layer.scheme for name, layer in quantized.layers.items()}, quantized.slots
    )
    with whole(path) as temporary:
        if format == "gguf":
            gguf.write(quantized, temporary)
        elif format == "dequantized":
            write_directory(quantized, temporary, dict(quantized.model.state_dict()), None)
        else:
            PACKED[format].write(quantized, temporary, getattr(torch, rest_dtype) if rest_dtype else None)
    return path


def load_quantized(path: Path | str) -> QuantizedModel:
    """Read a checkpoint in any of the safetensors formats, from here or from elsewhere.

    Args:
        path: Directory with config.json and safetensors files.

    Returns:
        The model, ready to run with plain float weights, and its codes and scales.

    Raises:
        EtudeError: No such directory, or a quantization method that is not one of ours.
    """
    path = Path(path)
    if not (path / "config.json").is_file():
        inside = (
            sorted(child.name for child in path.iterdir() if (child / "config.json").is_file())
            if path.is_dir()
            else []
        )
        raise EtudeError(
            f"{path} is not a model directory (no config.json)",
            f"give one of its folders: {', '.join(inside)}"
            if inside
            else "give the folder of a quantized model",
        )
    config = read_json(path / "config.json").get("quantization_config")
    if config is None:
        return read_checkpoint(path, None)
    method = config.get("quant_method")
    name = {"gptq": config.get("checkpoint_format", "gptq"), "auto-round": "auto_round"}.get(method, method)
    if name not in PACKED:
        raise EtudeError(
            f"{path} is quantized as {method!r}, which is not read here", f"known: {', '.join(PACKED)}"
        )
    return read_checkpoint(path, PACKED[name])
