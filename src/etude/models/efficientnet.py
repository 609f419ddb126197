"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6 in place of swish.

Liu, Tan et al. 2020 (the Lite variants of Tan and Le, "EfficientNet", ICML 2019). Only the feature extractor:
an image of side S becomes a map of ⌈S/32⌉ x ⌈S/32⌉ cells of 1,280 channels. Padding is TensorFlow's `SAME`,
in which the odd pixel goes to the right and to the bottom.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from etude.errors import EtudeError
from etude.runs import write_json

MODEL_TYPE = "efficientnet-lite"
CHANNELS = 1280
_EPSILON = 1e-3
# kernel, stride, expansion, channels, blocks: the seven stages of B0
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_RENAMED = (
    ("_blocks.", "blocks."),
    ("_conv_stem.", "stem.conv."),
    ("_conv_head.", "head.conv."),
    ("_bn0.", "stem.norm."),
    ("_bn1.", "head.norm."),
)
_RENAMED_IN_BLOCK = (
    ("_expand_conv.", "expand.conv."),
    ("_bn0.", "expand.norm."),
    ("_depthwise_conv.", "depthwise.conv."),
    ("_bn1.", "depthwise.norm."),
    ("_project_conv.", "project.conv."),
    ("_bn2.", "project.norm."),
)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's `SAME` padding: the output has ⌈input/stride⌉ cells a side."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, ⌈H/s⌉, ⌈W/s⌉)."""
        pads: list[int] = []
        for axis in (1, 0):  # F.pad wants the last axis first
            size, kernel, stride = x.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            missing = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads) if any(pads) else x)


class ConvNorm(nn.Module):
    """Convolution and batch norm, with ReLU6 unless `linear`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = SameConv(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=_EPSILON)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W')."""
        x = self.norm(self.conv(x))
        return x if self.linear else F.relu6(x)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project back; a shortcut where the shapes allow (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = ConvNorm(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(inner, inner, kernel, stride=stride, groups=inner)
        self.project = ConvNorm(inner, outputs, 1, linear=True)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H', W')."""
        y: Tensor = self.project(self.depthwise(x if self.expand is None else self.expand(x)))
        return x + y if self.shortcut else y


class EfficientNetLite(nn.Module):
    """The feature extractor of EfficientNet-Lite0."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, stride=2)
        blocks: list[InvertedResidual] = []
        width = 32
        for kernel, first_stride, expansion, outputs, count in _STAGES:
            for number in range(count):
                stride = first_stride if number == 0 else 1
                blocks.append(InvertedResidual(width, outputs, kernel, stride, expansion))
                width = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvNorm(width, CHANNELS, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Feature maps.

        Args:
            pixels: (B, 3, H, W), RGB as (x - 127) / 128.

        Returns:
            (B, 1280, ⌈H/32⌉, ⌈W/32⌉).
        """
        x = self.stem(pixels)
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.head(x)
        return features


def convert_state_dict(weights: Path, directory: Path) -> None:
    """Write a `.pth` of the PyTorch port of EfficientNet-Lite0 as `model.safetensors` and `config.json`.

    The file is read as tensors alone (`weights_only`): nothing in it is executed. The classifier is left out.

    Args:
        weights: The state dict.
        directory: The model directory to create.

    Raises:
        EtudeError: The file is not this network's state dict.
    """
    try:
        found: dict[str, Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
        tensors = {_renamed(name): tensor.contiguous() for name, tensor in found.items() if _is_kept(name)}
        EfficientNetLite().load_state_dict(tensors, strict=False)
        wanted = {n for n in EfficientNetLite().state_dict() if not n.endswith("num_batches_tracked")}
        if wanted != set(tensors):
            raise KeyError(", ".join(sorted(wanted ^ set(tensors))[:3]))
    except Exception as error:  # torch.load raises errors of many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EtudeError(
            f"{weights.name}: not the weights of EfficientNet-Lite0 ({reason})"[:300], "Fetch it again."
        ) from error
    directory.mkdir(parents=True)
    save_file(tensors, directory / "model.safetensors")
    write_json(directory / "config.json", {"model_type": MODEL_TYPE, "image_size": 224, "channels": CHANNELS})
    scale = {"image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3, "size": 224}
    write_json(directory / "preprocessor_config.json", scale)


def load_efficientnet(directory: Path) -> EfficientNetLite:
    """The network of a directory that `convert_state_dict` wrote, in evaluation mode."""
    network = EfficientNetLite()
    tensors: dict[str, Any] = load_file(directory / "model.safetensors")
    network.load_state_dict(tensors, strict=False)
    return network.eval()


def _is_kept(name: str) -> bool:
    return not name.startswith("_fc.") and not name.endswith("num_batches_tracked")


def _renamed(name: str) -> str:
    head, _, rest = name.partition(".")
    if head == "_blocks":
        number, _, inner = rest.partition(".")
        return f"blocks.{number}.{_replace_start(inner, _RENAMED_IN_BLOCK)}"
    return _replace_start(name, _RENAMED)


def _replace_start(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        if name.startswith(old):
            return new + name[len(old) :]
    return name
