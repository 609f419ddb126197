"""The AWQ layout, `gemm` version, 4 bits: transformers with an AWQ kernel, vLLM.

qweight int32 (in, out/8) packed along the outputs, eight codes to a word in the lane order 0, 2, 4, 6, 1, 3,
5, 7; qzeros (in/g, out/8) likewise; scales float16 (in/g, out).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.signround.blocks import Slot
from etude.methods.signround.exports.checkpoint import CheckpointFormat, stored_scale_refusal
from etude.methods.signround.exports.gptq import most_common_scheme
from etude.methods.signround.exports.packing import pack_bits, unpack_bits
from etude.methods.signround.grid import QuantizedLinear
from etude.methods.signround.schemes import QuantScheme

if TYPE_CHECKING:
    from etude.methods.signround.quantized_model import QuantizedModel

LANES = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])  # lane i of a word holds output LANES[i] of its eight


class Awq(CheckpointFormat):
    """4 bits, one scheme for all layers."""

    name = "awq"
    suffixes = ("qweight", "qzeros", "scales")

    def refusal(self, slot: Slot, scheme: QuantScheme) -> str | None:
        """Why this format cannot express a layer, or None."""
        if scheme.bits != 4:
            return f"would have {scheme.bits} bits; this format has 4 only"
        if scheme.scale_dtype != "float16":
            return "would have scales that are not float16, the only dtype of this format"
        if slot.transposed:
            return "is a transposed Conv1D layer, unknown to its loaders; use gptq, auto_round or dequantized"
        if slot.shape[0] % 8:
            return f"has {slot.shape[0]} outputs; this format packs 8 at a time"
        return stored_scale_refusal(slot, scheme)

    def pack(self, layer: QuantizedLinear) -> dict[str, Tensor]:
        """The packed tensors of one layer."""
        return {
            "qweight": _pack_lanes(layer.codes.T),
            "qzeros": _pack_lanes(layer.zero.T),
            "scales": layer.scale.T.contiguous(),
        }

    def unpack(
        self, tensors: Mapping[str, Tensor], scheme: QuantScheme, config: Mapping[str, Any]
    ) -> QuantizedLinear:
        """The inverse of `pack`."""
        return QuantizedLinear(
            _unpack_lanes(tensors["qweight"]).T.contiguous(),
            tensors["scales"].T.contiguous(),
            _unpack_lanes(tensors["qzeros"]).T.contiguous(),
            scheme,
        )

    def quantization_config(self, quantized: "QuantizedModel") -> dict[str, Any]:
        """The entry of config.json."""
        scheme = most_common_scheme(quantized)
        if any(layer.scheme != scheme for layer in quantized.layers.values()):
            raise EtudeError(
                "the awq format has one scheme for all layers", "use compressed-tensors for mixed schemes"
            )
        return {
            "quant_method": "awq",
            "version": "gemm",
            "bits": scheme.bits,
            "group_size": scheme.group_size,
            "zero_point": not scheme.sym,
            "modules_to_not_convert": sorted(quantized.skipped) or None,
        }

    def scheme_of(self, layer: str, config: Mapping[str, Any]) -> QuantScheme:
        """A layer's scheme, from the entry of config.json."""
        return QuantScheme(config["bits"], config["group_size"], not config["zero_point"])


def _pack_lanes(values: Tensor) -> Tensor:
    """(rows, out) -> (rows, out/8) int32."""
    words = values.reshape(values.shape[0], -1, 8)[..., LANES]
    return pack_bits(words.reshape(values.shape), 4)


def _unpack_lanes(words: Tensor) -> Tensor:
    values = unpack_bits(words, 4, words.shape[1] * 8).view(words.shape[0], -1, 8)
    return values[..., LANES.argsort()].reshape(words.shape[0], -1)
