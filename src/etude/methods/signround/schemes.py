"""What a weight may become: bits, group size, symmetry, and the dtype its scales are stored in.

Short names follow the paper: ``w3g64a`` is 3 bits, groups of 64 inputs, asymmetric; ``w4g-1s`` is 4 bits, one
group per output channel, symmetric. Without the last letter a scheme is asymmetric, the paper's setting.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch

from etude.errors import EtudeError

ScaleDtype = Literal["float16", "bfloat16", "float32"]

SCALE_DTYPES: dict[str, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}
SCALE_FLOOR = (
    1e-5  # the smallest scale a group may have (spec of the released tool); float16 is subnormal below 6e-5
)
_NAME = re.compile(r"w(?P<bits>\d+)g(?P<group>-?\d+)(?P<sym>[as]?)")


@dataclass(frozen=True)
class QuantScheme:
    """The format of one quantized weight.

    Args:
        bits: Bits per weight, 2 to 8.
        group_size: Consecutive inputs that share a scale; -1 is one group per output channel.
        sym: Symmetric around zero (the zero point is the middle code) instead of an integer zero point per
            group.
        scale_dtype: Dtype the scales are stored in; tuning sees the scale already rounded to it.
        full_range: Symmetric only. True lets the scale be negative, so that the side of larger magnitude
            lands on the lowest code; False keeps it positive and clips the largest positive weight.
    """

    bits: int = 4
    group_size: int = 128
    sym: bool = False
    scale_dtype: ScaleDtype = "float16"
    full_range: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise EtudeError(
                f"bits = {self.bits} is outside 2 to 8", "choose 2, 3, 4, 5, 6, 7 or 8 bits per weight"
            )
        if self.group_size != -1 and self.group_size < 1:
            raise EtudeError(
                f"group size {self.group_size} is neither positive nor -1",
                "use for example 32, 64, 128, or -1 per channel",
            )
        if self.scale_dtype not in SCALE_DTYPES:
            raise EtudeError(
                f"scale dtype {self.scale_dtype!r} is not known", f"use one of {', '.join(SCALE_DTYPES)}"
            )

    @property
    def levels(self) -> int:
        """The largest code, 2^bits - 1."""
        return (1 << self.bits) - 1

    @property
    def middle(self) -> int:
        """The zero point of a symmetric weight, 2^(bits-1)."""
        return 1 << (self.bits - 1)

    @property
    def name(self) -> str:
        """Its short name."""
        return f"w{self.bits}g{self.group_size}{'s' if self.sym else 'a'}"

    def group_width(self, in_features: int) -> int:
        """Inputs per group of a layer with `in_features` inputs."""
        return in_features if self.group_size == -1 else self.group_size

    def groups(self, in_features: int) -> int:
        """Groups per output row; the last one may be short."""
        return -(-in_features // self.group_width(in_features))

    def bits_per_weight(self, in_features: int) -> float:
        """Bits per weight with scales and zero points counted."""
        overhead = 8 * SCALE_DTYPES[self.scale_dtype].itemsize + (0 if self.sym else self.bits)
        return self.bits + overhead * self.groups(in_features) / in_features

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "bits": self.bits,
            "group_size": self.group_size,
            "sym": self.sym,
            "scale_dtype": self.scale_dtype,
            "full_range": self.full_range,
        }


def parse_scheme(name: str, *, scale_dtype: ScaleDtype = "float16", full_range: bool = True) -> QuantScheme:
    """Read a short name such as ``w3g64a``.

    Raises:
        EtudeError: The name is not of that form, or its numbers are out of range.
    """
    match = _NAME.fullmatch(name.strip().lower())
    if match is None:
        raise EtudeError(
            f"{name!r} is not a quantization scheme",
            "write w<bits>g<group size><a|s>, for example w3g64a, w4g128s or w4g-1a",
        )
    return QuantScheme(
        bits=int(match["bits"]),
        group_size=int(match["group"]),
        sym=match["sym"] == "s",
        scale_dtype=scale_dtype,
        full_range=full_range,
    )
