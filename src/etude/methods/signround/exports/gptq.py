"""The GPTQ layout, under three names: `gptq`, `gptq_v2`, and `auto_round`.

qweight int32 (in*B/32, out) packed along the inputs; scales float16 (in/g, out); qzeros int32 (in/g,
out*B/32); g_idx int32 (in,). `gptq` (v1) stores z - 1, which wraps around for z = 0 and is misread by some
loaders; `gptq_v2` stores z. auto-round's own format uses the same tensors: z - 1 when symmetric, z when
asymmetric.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from etude.methods.signround.blocks import Slot
from etude.methods.signround.exports.checkpoint import CheckpointFormat, stored_scale_refusal
from etude.methods.signround.exports.packing import pack_bits, unpack_bits
from etude.methods.signround.grid import QuantizedLinear
from etude.methods.signround.schemes import QuantScheme

if TYPE_CHECKING:
    from etude.methods.signround.quantized_model import QuantizedModel

BITS = (2, 3, 4, 8)


class Gptq(CheckpointFormat):
    """GPTQ tensors; `flavor` decides the config and the zero-point offset."""

    suffixes = ("qweight", "qzeros", "scales", "g_idx")

    def __init__(self, flavor: Literal["gptq", "gptq_v2", "auto_round"]) -> None:
        self.name: str = flavor

    def refusal(self, slot: Slot, scheme: QuantScheme) -> str | None:
        """Why this format cannot express a layer, or None."""
        if scheme.bits not in BITS:
            return f"would have {scheme.bits} bits; this format has {BITS}"
        if scheme.scale_dtype != "float16":
            return "would have scales that are not float16, the only dtype of this format"
        outputs = slot.shape[-1] if slot.transposed else slot.shape[0]
        if slot.in_features % 32 or outputs % 32:
            return f"has shape {slot.shape}; this format packs 32 inputs and 32 outputs at a time"
        return stored_scale_refusal(slot, scheme)

    def offset(self, sym: bool) -> int:
        """What is subtracted from a zero point before it is stored."""
        return 1 if self.name == "gptq" or (self.name == "auto_round" and sym) else 0

    def pack(self, layer: QuantizedLinear) -> dict[str, Tensor]:
        """The packed tensors of one layer."""
        scheme = layer.scheme
        stored = layer.zero.to(torch.int64) - self.offset(scheme.sym) & scheme.levels
        columns = layer.codes.shape[1]
        return {
            "qweight": pack_bits(layer.codes, scheme.bits).T.contiguous(),
            "qzeros": pack_bits(stored.T, scheme.bits),
            "scales": layer.scale.T.contiguous(),
            "g_idx": torch.arange(columns, dtype=torch.int32) // scheme.group_width(columns),
        }

    def unpack(
        self, tensors: Mapping[str, Tensor], scheme: QuantScheme, config: Mapping[str, Any]
    ) -> QuantizedLinear:
        """The inverse of `pack`."""
        words, outputs = tensors["qweight"].shape
        columns = words * 32 // scheme.bits
        offset = self.offset(scheme.sym)
        stored = unpack_bits(tensors["qzeros"], scheme.bits, outputs).T.to(torch.int64)
        return QuantizedLinear(
            unpack_bits(tensors["qweight"].T, scheme.bits, columns),
            tensors["scales"].T.contiguous(),
            (stored + offset & scheme.levels).to(torch.uint8),
            scheme,
        )

    def quantization_config(self, quantized: "QuantizedModel") -> dict[str, Any]:
        """The entry of config.json."""
        usual = most_common_scheme(quantized)
        others = {name: x.scheme for name, x in quantized.layers.items() if x.scheme != usual}
        shared = {"bits": usual.bits, "group_size": usual.group_size, "sym": usual.sym}
        if self.name == "auto_round":
            return {
                **shared,
                "quant_method": "auto-round",
                "packing_format": "auto_round:auto_gptq" if usual.sym else "auto_round:gptqmodel",
                "data_type": "int",
                "autoround_version": "0.16.1",
                "block_name_to_quantize": ",".join(sorted({_block_list(name) for name in quantized.layers})),
                "extra_config": {
                    **{
                        name: {"bits": x.bits, "group_size": x.group_size, "sym": x.sym}
                        for name, x in others.items()
                    },
                    **{name: {"bits": 16, "data_type": "float"} for name in quantized.skipped},
                },
            }
        rules: dict[str, dict[str, Any]] = {f"-:^{re.escape(name)}$": {} for name in quantized.skipped}
        rules |= {
            f"+:^{re.escape(name)}$": {"bits": x.bits, "group_size": x.group_size, "sym": x.sym}
            for name, x in others.items()
        }
        return {
            **shared,
            "quant_method": "gptq",
            "checkpoint_format": self.name,
            "desc_act": False,
            "true_sequential": True,
            "lm_head": any(name.endswith("lm_head") for name in quantized.layers),
            "dynamic": rules,
        }

    def scheme_of(self, layer: str, config: Mapping[str, Any]) -> QuantScheme:
        """A layer's scheme, from the entry of config.json."""
        values = dict(config)
        values |= config.get("extra_config", {}).get(layer, {})
        for rule, change in (config.get("dynamic") or {}).items():
            if rule.startswith("+:") and re.match(rule.removeprefix("+:"), layer):
                values |= change
        return QuantScheme(values["bits"], values["group_size"], values["sym"])


def most_common_scheme(quantized: "QuantizedModel") -> QuantScheme:
    """The scheme of most layers; the others are written as exceptions."""
    schemes = [layer.scheme for layer in quantized.layers.values()]
    return max(schemes, key=schemes.count)


def _block_list(layer: str) -> str:
    return re.split(r"\.\d+\.", layer)[0]
