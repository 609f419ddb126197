"""The verb `inspect`: what a quantized checkpoint holds."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.methods import verb
from etude.methods.signround.blocks import output_layer
from etude.methods.signround.blockwise import embedding
from etude.methods.signround.exports import load_quantized
from etude.render import table


@dataclass(frozen=True)
class Inspection:
    """What a checkpoint holds.

    Attributes:
        path: The directory.
        size_mb: All files together.
        bits_per_weight: Of the quantized weights, scales and zero points included.
        bits_per_parameter: Of the whole model, with what is left in full precision.
        schemes: {scheme: quantized layers in it}.
        quantized_weights: How many weights are quantized.
        skipped: {layer: why it was left in full precision}.
    """

    path: str
    size_mb: float
    bits_per_weight: float
    bits_per_parameter: float
    schemes: dict[str, int]
    quantized_weights: int
    skipped: dict[str, str]

    def __rich__(self) -> Any:
        reasons = Counter(self.skipped.values())
        rows = [
            ("size", f"{self.size_mb:.1f} MB"),
            ("bits per quantized weight", f"{self.bits_per_weight:.3f}"),
            ("bits per parameter of the whole model", f"{self.bits_per_parameter:.2f}"),
            ("quantized weights", f"{self.quantized_weights:,}"),
            *((f"layers in {name}", str(count)) for name, count in self.schemes.items()),
            *((f"left out: {reason}", str(count)) for reason, count in reasons.items()),
        ]
        return table(("", self.path), rows)


@verb
def inspect(path: Path) -> Inspection:
    """Show what a quantized checkpoint holds: bits per weight, size, layers left out and why.

    Args:
        path: Directory of a quantized model (compressed-tensors, gptq, awq or auto_round).

    Raises:
        EtudeError: Not a directory that can be read.
    """
    quantized = load_quantized(path)
    dtype_bits = {p.dtype.itemsize * 8 for p in quantized.model.parameters()}
    parameters = {id(p): p for p in quantized.model.parameters()}
    total = sum(p.numel() for p in parameters.values())
    weights = sum(layer.codes.numel() for layer in quantized.layers.values())
    packed = sum(layer.bits for layer in quantized.layers.values())
    skipped = dict(quantized.skipped)
    for name in quantized.slots:
        if name not in quantized.layers and name not in skipped:
            head = output_layer(quantized.model)
            tied = head is not None and head.weight is embedding(quantized.model)
            is_head = name == next((n for n, m in quantized.model.named_modules() if m is head), None)
            skipped[name] = (
                ("output layer, tied to the embedding" if tied else "output layer")
                if is_head
                else "not given"
            )
    return Inspection(
        path=str(path),
        size_mb=sum(file.stat().st_size for file in path.iterdir() if file.is_file()) / 1e6,
        bits_per_weight=quantized.bits_per_weight,
        bits_per_parameter=(packed + (total - weights) * max(dtype_bits)) / total,
        schemes=dict(Counter(layer.scheme.name for layer in quantized.layers.values())),
        quantized_weights=weights,
        skipped=skipped,
    )
