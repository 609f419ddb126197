"""CTranslate2's `model.bin` (format 6: named tensors) read and mapped one to one to transformers' Whisper.

Query, key and value are one matrix there, cross-attention's key and value another; keys have a zero bias,
which transformers does not have. The decoder's projection is an alias of its embeddings.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError

FORMAT = 6
_TYPES: dict[int, str] = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}


def read_model_bin(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a CTranslate2 model of format 6, aliases included.

    Args:
        path: `model.bin`.

    Raises:
        EtudeError: The file is missing, cut off, of another format, or not Whisper.
    """
    try:
        with open(path, "rb") as handle:
            return _read(handle, path)
    except OSError as error:
        raise EtudeError(f"{path}: cannot be read ({error.strerror})", "Check the path.") from error
    except (struct.error, UnicodeDecodeError) as error:
        raise EtudeError(f"{path}: cut off or not a CTranslate2 model", "Fetch the file again.") from error


def _read(handle: BinaryIO, path: Path) -> dict[str, np.ndarray]:
    def number(form: str) -> int:
        return int(struct.unpack(form, handle.read(struct.calcsize(form)))[0])

    def text() -> str:
        length = number("<H")
        return handle.read(length).rstrip(b"\0").decode()

    version = number("<I")
    if version != FORMAT:
        raise EtudeError(f"{path}: format {version}, not {FORMAT}", "Convert it with CTranslate2 3 or 4.")
    kind = text()
    if kind != "WhisperSpec":
        raise EtudeError(f"{path}: holds {kind!r}, not WhisperSpec", "Give a Whisper model.")
    number("<I")  # the specification's revision
    tensors: dict[str, np.ndarray] = {}
    for _ in range(number("<I")):
        name, rank = text(), number("<B")
        shape = [number("<I") for _ in range(rank)]
        dtype, size = number("<B"), number("<I")
        if dtype not in _TYPES:
            raise EtudeError(f"{path}: {name} has number format {dtype}", "Give float16 or float32 weights.")
        content = handle.read(size)
        kept = np.dtype(_TYPES[dtype])
        if len(content) != size or size != int(np.prod(shape)) * kept.itemsize:
            raise EtudeError(f"{path}: {name} is cut off", "Fetch the file again.")
        tensors[name] = np.frombuffer(content, dtype=kept).reshape(shape)
    for _ in range(number("<I")):
        alias, target = text(), text()
        tensors[alias] = tensors[target]
    return tensors


def whisper_config(tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """The shapes of a Whisper model as arguments of transformers' `WhisperConfig`."""
    width = tensors["encoder/conv1/weight"].shape[0]
    return {
        "vocab_size": int(tensors["decoder/embeddings/weight"].shape[0]),
        "num_mel_bins": int(tensors["encoder/conv1/weight"].shape[1]),
        "d_model": int(width),
        "encoder_layers": _layers(tensors, "encoder"),
        "decoder_layers": _layers(tensors, "decoder"),
        "encoder_attention_heads": int(tensors["encoder/num_heads"]),
        "decoder_attention_heads": int(tensors["decoder/num_heads"]),
        "encoder_ffn_dim": int(tensors["encoder/layer_0/ffn/linear_0/weight"].shape[0]),
        "decoder_ffn_dim": int(tensors["decoder/layer_0/ffn/linear_0/weight"].shape[0]),
        "max_source_positions": int(tensors["encoder/position_encodings/encodings"].shape[0]),
        "max_target_positions": int(tensors["decoder/position_encodings/encodings"].shape[0]),
    }


def whisper_state(tensors: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The same weights under the names of transformers' `WhisperForConditionalGeneration`, as float32."""
    state = {name: torch.from_numpy(value.astype(np.float32)) for name, value in _renamed(tensors)}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    return state


def _renamed(tensors: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for kind in ("weight", "bias"):
        for conv in ("conv1", "conv2"):
            yield f"model.encoder.{conv}.{kind}", tensors[f"encoder/{conv}/{kind}"]
    yield "model.decoder.embed_tokens.weight", tensors["decoder/embeddings/weight"]
    for side in ("encoder", "decoder"):
        yield f"model.{side}.embed_positions.weight", tensors[f"{side}/position_encodings/encodings"]
        yield from _norm(tensors, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(_layers(tensors, side)):
            there, here = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            own = f"{there}/self_attention"
            yield from _norm(tensors, f"{own}/layer_norm", f"{here}.self_attn_layer_norm")
            yield from _split(tensors, f"{own}/linear_0", f"{here}.self_attn", ("q", "k", "v"))
            yield from _linear(tensors, f"{own}/linear_1", f"{here}.self_attn.out_proj")
            if side == "decoder":
                cross = f"{there}/attention"
                yield from _norm(tensors, f"{cross}/layer_norm", f"{here}.encoder_attn_layer_norm")
                yield from _split(tensors, f"{cross}/linear_0", f"{here}.encoder_attn", ("q",))
                yield from _split(tensors, f"{cross}/linear_1", f"{here}.encoder_attn", ("k", "v"))
                yield from _linear(tensors, f"{cross}/linear_2", f"{here}.encoder_attn.out_proj")
            yield from _norm(tensors, f"{there}/ffn/layer_norm", f"{here}.final_layer_norm")
            yield from _linear(tensors, f"{there}/ffn/linear_0", f"{here}.fc1")
            yield from _linear(tensors, f"{there}/ffn/linear_1", f"{here}.fc2")


def _layers(tensors: dict[str, np.ndarray], side: str) -> int:
    return len(
        {
            name.split("/")[1]
            for name in tensors
            if name.startswith(f"{side}/layer_") and "_norm" not in name.split("/")[1]
        }
    )


def _norm(tensors: dict[str, np.ndarray], there: str, here: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{here}.weight", tensors[f"{there}/gamma"]
    yield f"{here}.bias", tensors[f"{there}/beta"]


def _linear(tensors: dict[str, np.ndarray], there: str, here: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{here}.weight", tensors[f"{there}/weight"]
    yield f"{here}.bias", tensors[f"{there}/bias"]


def _split(
    tensors: dict[str, np.ndarray], there: str, here: str, parts: tuple[str, ...]
) -> Iterator[tuple[str, np.ndarray]]:
    weights = np.split(tensors[f"{there}/weight"], len(parts))
    biases = np.split(tensors[f"{there}/bias"], len(parts))
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        yield f"{here}.{part}_proj.weight", weight
        if part != "k":
            yield f"{here}.{part}_proj.bias", bias
        elif np.any(bias):
            raise EtudeError(f"{there}: its keys have a bias, Whisper's have none", "Give a Whisper model.")
