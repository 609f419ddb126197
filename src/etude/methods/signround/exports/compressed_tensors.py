"""compressed-tensors, `pack-quantized`: transformers (with the compressed-tensors package), vLLM.

weight_packed int32 (out, ceil(in*B/32)) packed along the inputs; weight_scale (out, in/g); weight_zero_point
packed along the outputs, (ceil(out*B/32), in/g), only when asymmetric; weight_shape. Its integers are signed
and its packer adds 2^(B-1), so what lies in the words is the unsigned code.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.signround.blocks import Slot
from etude.methods.signround.exports.checkpoint import CheckpointFormat, stored_scale_refusal
from etude.methods.signround.exports.packing import pack_bits, unpack_bits
from etude.methods.signround.grid import QuantizedLinear
from etude.methods.signround.schemes import QuantScheme

if TYPE_CHECKING:
    from etude.methods.signround.quantized_model import QuantizedModel


class CompressedTensors(CheckpointFormat):
    """`pack-quantized`, any number of bits from 2 to 8."""

    name = "compressed-tensors"
    suffixes = ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape")

    def refusal(self, slot: Slot, scheme: QuantScheme) -> str | None:
        """Why this format cannot express a layer, or None."""
        if slot.transposed:
            return "is a transposed Conv1D layer, unknown to its loader; use gptq, auto_round or dequantized"
        return stored_scale_refusal(slot, scheme)

    def pack(self, layer: QuantizedLinear) -> dict[str, Tensor]:
        """The packed tensors of one layer."""
        bits = layer.scheme.bits
        packed = {
            "weight_packed": pack_bits(layer.codes, bits),
            "weight_scale": layer.scale,
            "weight_shape": torch.tensor(layer.codes.shape, dtype=torch.int64),
        }
        if not layer.scheme.sym:
            packed["weight_zero_point"] = pack_bits(layer.zero.T, bits).T.contiguous()
        return packed

    def unpack(
        self, tensors: Mapping[str, Tensor], scheme: QuantScheme, config: Mapping[str, Any]
    ) -> QuantizedLinear:
        """The inverse of `pack`."""
        rows, columns = (int(size) for size in tensors["weight_shape"])
        scale = tensors["weight_scale"]
        zero = torch.full(scale.shape, scheme.middle, dtype=torch.uint8)
        if "weight_zero_point" in tensors:
            zero = unpack_bits(tensors["weight_zero_point"].T, scheme.bits, rows).T.contiguous()
        return QuantizedLinear(
            unpack_bits(tensors["weight_packed"], scheme.bits, columns), scale, zero, scheme
        )

    def quantization_config(self, quantized: "QuantizedModel") -> dict[str, Any]:
        """The entry of config.json."""
        by_scheme: dict[QuantScheme, list[str]] = {}
        for name, layer in quantized.layers.items():
            by_scheme.setdefault(layer.scheme, []).append(name)
        groups = {
            f"group_{index}": {
                "targets": ["Linear"] if len(by_scheme) == 1 else names,
                "weights": {
                    "num_bits": scheme.bits,
                    "type": "int",
                    "symmetric": scheme.sym,
                    "strategy": "channel" if scheme.group_size == -1 else "group",
                    "group_size": None if scheme.group_size == -1 else scheme.group_size,
                    "dynamic": False,
                },
                "input_activations": None,
                "output_activations": None,
            }
            for index, (scheme, names) in enumerate(by_scheme.items())
        }
        linear = [
            name for name, module in quantized.model.named_modules() if isinstance(module, torch.nn.Linear)
        ]
        return {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "config_groups": groups,
            "ignore": [name for name in linear if name not in quantized.layers],
            "version": "0.20.0",
        }

    def scheme_of(self, layer: str, config: Mapping[str, Any]) -> QuantScheme:
        """A layer's scheme, from the entry of config.json."""
        for group in config["config_groups"].values():
            if layer in group["targets"] or "Linear" in group["targets"]:
                weights = group["weights"]
                return QuantScheme(weights["num_bits"], weights["group_size"] or -1, weights["symmetric"])
        raise EtudeError(
            f"no config group names layer {layer}", "its targets must be 'Linear' or full layer names"
        )
