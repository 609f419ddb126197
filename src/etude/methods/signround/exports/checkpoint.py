"""What all safetensors formats share: a Hugging Face directory with packed weights."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from etude.errors import EtudeError
from etude.methods.signround.blocks import Block, Slot, find_blocks, output_layer
from etude.methods.signround.grid import QuantizedLinear
from etude.methods.signround.schemes import QuantScheme
from etude.runs import read_json, write_json

if TYPE_CHECKING:
    from etude.methods.signround.quantized_model import QuantizedModel

REPORT = "quantization_report.json"


class CheckpointFormat(ABC):
    """A way to pack a quantized layer into tensors and to describe it in config.json."""

    name: str
    suffixes: tuple[str, ...]  # of the packed tensors, e.g. ("qweight", "scales")

    @abstractmethod
    def refusal(self, slot: Slot, scheme: QuantScheme) -> str | None:
        """Why this format cannot express a layer in this scheme, or None."""

    @abstractmethod
    def pack(self, layer: QuantizedLinear) -> dict[str, Tensor]:
        """{suffix: tensor} of one layer."""

    @abstractmethod
    def unpack(
        self, tensors: Mapping[str, Tensor], scheme: QuantScheme, config: Mapping[str, Any]
    ) -> QuantizedLinear:
        """The inverse of `pack`."""

    @abstractmethod
    def quantization_config(self, quantized: "QuantizedModel") -> dict[str, Any]:
        """The `quantization_config` entry of config.json."""

    @abstractmethod
    def scheme_of(self, layer: str, config: Mapping[str, Any]) -> QuantScheme:
        """A layer's scheme, from a `quantization_config`."""

    def write(self, quantized: "QuantizedModel", path: Path, rest_dtype: torch.dtype | None) -> None:
        """Write the checkpoint into the new directory `path`, what is not quantized in `rest_dtype`."""
        state = {
            name: tensor.detach().to(rest_dtype or tensor.dtype)
            for name, tensor in quantized.model.state_dict().items()
        }
        for layer, weight in quantized.layers.items():
            del state[f"{layer}.weight"]
            state |= {f"{layer}.{suffix}": tensor for suffix, tensor in self.pack(weight).items()}
        write_directory(quantized, path, state, self.quantization_config(quantized))


def stored_scale_refusal(slot: Slot, scheme: QuantScheme) -> str | None:
    """The limits that every packed format has: whole groups, plain layers."""
    if slot.stacked:
        return "holds experts stacked in one tensor; this format has one tensor per layer"
    width = scheme.group_width(slot.in_features)
    if slot.in_features % width:
        legal = [size for size in (16, 32, 64, 96, 128, 192, 256) if slot.in_features % size == 0]
        return f"has {slot.in_features} inputs, not a multiple of {width}; legal sizes: {legal} or -1"
    return None


def write_directory(
    quantized: "QuantizedModel",
    path: Path,
    state: dict[str, Tensor],
    quantization_config: dict[str, Any] | None,
) -> None:
    """config.json, weights, tokenizer and the report."""
    path.mkdir(parents=True, exist_ok=True)
    tied = set(getattr(quantized.model, "all_tied_weights_keys", None) or ())
    kept = {name: tensor.contiguous().cpu() for name, tensor in state.items() if name not in tied}
    save_torch_state_dict(kept, path, max_shard_size="5GB")
    config = quantized.model.config.to_dict()
    config["dtype"] = str(next(x.dtype for x in kept.values() if x.is_floating_point())).removeprefix(
        "torch."
    )
    config["architectures"] = [type(quantized.model).__name__]
    if quantization_config is not None:
        config["quantization_config"] = quantization_config
    write_json(path / "config.json", config)
    if quantized.model.can_generate():
        quantized.model.generation_config.save_pretrained(path)
    if quantized.tokenizer is not None:
        quantized.tokenizer.save_pretrained(path)
    write_json(path / REPORT, {**quantized.report, "skipped": quantized.skipped})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a directory's safetensors files."""
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise EtudeError(f"{path} holds no .safetensors file", "give the folder of a quantized model")
    tensors: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as reader:
            tensors |= {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118 - not a dict
    return tensors


def read_checkpoint(path: Path, format: CheckpointFormat | None) -> "QuantizedModel":
    """Rebuild a quantized model from a directory; `format` None is a dequantized one."""
    from etude.methods.signround.quantized_model import QuantizedModel

    tensors = read_tensors(path)
    values = json.loads((path / "config.json").read_text())
    description = values.pop("quantization_config", {})
    config = AutoConfig.for_model(**values)
    layers: dict[str, QuantizedLinear] = {}
    if format is not None:
        marker = f".{format.suffixes[0]}"
        for name in [name.removesuffix(marker) for name in tensors if name.endswith(marker)]:
            parts = {
                suffix: tensors.pop(f"{name}.{suffix}")
                for suffix in format.suffixes
                if f"{name}.{suffix}" in tensors
            }
            layers[name] = format.unpack(parts, format.scheme_of(name, description), description)
    dtype = next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), torch.float32)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()  # type: ignore[no-untyped-call]
    blocks = find_blocks(model)
    slots = slots_by_layer(model, blocks)
    for name, layer in layers.items():
        tensors[f"{name}.weight"] = slots[name].to_parameter(layer.dequantize(dtype))
    missing = model.load_state_dict(tensors, strict=False).missing_keys
    lost = [name for name in missing if name not in set(getattr(model, "all_tied_weights_keys", None) or ())]
    if lost:
        raise EtudeError(
            f"{path} lacks {lost[0]} and {len(lost) - 1} more tensors", "write or fetch the checkpoint again"
        )
    model.tie_weights()
    report = read_json(path / REPORT) if (path / REPORT).exists() else {}
    tokenizer = AutoTokenizer.from_pretrained(path) if (path / "tokenizer_config.json").exists() else None
    return QuantizedModel(model, tokenizer, layers, slots, report.pop("skipped", {}), report)


def slots_by_layer(model: Any, blocks: list[Block]) -> dict[str, Slot]:
    """{layer name: slot} of all blocks and of the output layer."""
    slots = {slot.layer: slot for block in blocks for slot in block.slots}
    head = output_layer(model)
    if isinstance(head, torch.nn.Linear):
        name = next(name for name, module in model.named_modules() if module is head)
        slots[name] = Slot("weight", name, tuple(head.weight.shape))
    return slots
