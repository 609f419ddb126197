"""A quantized model: the model with the weights its codes stand for, the codes themselves, and the report."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from etude.methods.signround.blocks import Slot
from etude.methods.signround.grid import QuantizedLinear


@dataclass
class QuantizedModel:
    """The result of `quantize_model` and of `load_quantized`.

    Attributes:
        model: The model; its quantized weights already hold the dequantized values.
        tokenizer: Its tokenizer.
        layers: {layer name: codes, scales, zero points}.
        slots: {layer name: where the weight sits and how it is laid out}.
        skipped: {layer name: why it kept full precision}.
        report: What was done and lost, JSON values.
    """

    model: PreTrainedModel
    tokenizer: Any
    layers: dict[str, QuantizedLinear]
    slots: dict[str, Slot]
    skipped: dict[str, str] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def bits_per_weight(self) -> float:
        """Mean bits of a quantized weight, scales and zero points included."""
        weights = sum(layer.codes.numel() for layer in self.layers.values())
        return sum(layer.bits for layer in self.layers.values()) / max(1, weights)

    def dequantize(self) -> PreTrainedModel:
        """The model with the weights the codes stand for, as any transformers model."""
        return self.model

    def save(self, path: Path, format: str = "compressed-tensors", rest_dtype: str | None = None) -> Path:
        """Write a checkpoint that the format's own loaders read; see `etude.methods.signround.exports.save`.

        Raises:
            EtudeError: The format cannot express a layer's scheme.
        """
        from etude.methods.signround.exports import save

        return save(self, path, format, rest_dtype)
