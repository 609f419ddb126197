"""Vision encoders: pictures to maps of cells (CNN) or to token states (ViT), and their pixel scaling."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etude.errors import EtudeError
from etude.models.names import model_directory, model_revision
from etude.models.quiet import quiet_transformers
from etude.runs import read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

VisionKind = Literal["grid", "vit", "clip"]
_VIT_TYPES = ("vit", "deit")


@dataclass(frozen=True)
class VisionEncoder:
    """A vision encoder in memory, frozen and in evaluation mode.

    Args:
        model: The network.
        name: The name it was asked for by.
        revision: Digest of the files it was loaded from.
        kind: `grid` gives a map of cells, `vit` states of patches, `clip` pairs pictures with texts.
        image_size: Side of the square it was trained on, in pixels.
        width: Length of a cell's or patch's vector; of `clip` of its shared space.
        mean: Of each channel, of values in [0, 1].
        std: Of each channel, of values in [0, 1].
        directory: Where its files are.
    """

    model: nn.Module
    name: str
    revision: str
    kind: VisionKind
    image_size: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    directory: Path

    def scale(self, pixels: Tensor) -> Tensor:
        """Pixels as the network wants them.

        Args:
            pixels: (B, 3, H, W), uint8 RGB.

        Returns:
            The same, float32, on the network's device.
        """
        import torch

        device = next(self.model.parameters()).device
        mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)
        return (pixels.to(device).float() / 255 - mean) / std

    def cells(self, pixels: Tensor) -> Tensor:
        """The last feature map of a `grid` encoder as tokens.

        Args:
            pixels: (B, 3, H, W), uint8 RGB.

        Returns:
            (B, cells, width), row by row.
        """
        import torch

        with torch.inference_mode():
            found: Any = self.model(self.scale(pixels))
            states = found if isinstance(found, torch.Tensor) else found.last_hidden_state  # (B, C, h, w)
            return states.flatten(2).transpose(1, 2)


def load_vision(name: str = "efficientnet-lite0", *, device: str | None = None) -> VisionEncoder:
    """Load a vision encoder.

    Args:
        name: An embedded name (`efficientnet-lite0`), a directory, or a hub id: a ViT, a CLIP model, or a
            network with a feature map (ResNet, ConvNeXt, EfficientNet ...).
        device: `cpu`, `cuda` ...; default: the GPU if there is one.

    Raises:
        EtudeError: No such model, or it is not a vision encoder of these kinds.
    """
    from etude.models.efficientnet import MODEL_TYPE, load_efficientnet
    from etude.models.local_lm import default_device

    directory = model_directory(name)
    config = dict(read_json(directory / "config.json"))
    model: Any
    if config.get("model_type") == MODEL_TYPE:
        model = load_efficientnet(directory)
        kind: VisionKind = "grid"
        size, width = int(config["image_size"]), int(config["channels"])
    else:
        model, kind, size, width = _from_transformers(name, directory)
    model.requires_grad_(False)
    model.to(device or default_device()).eval()
    mean, std = _pixel_scale(directory)
    return VisionEncoder(model, name, model_revision(directory), kind, size, width, mean, std, directory)


def _from_transformers(name: str, directory: Path) -> tuple[Any, VisionKind, int, int]:
    import torch
    from transformers import AutoConfig, AutoModel

    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(directory)
            model = AutoModel.from_pretrained(directory, dtype=torch.float32, use_safetensors=True)
        except (ValueError, OSError, KeyError, ImportError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EtudeError(
                f"{name}: cannot be loaded as a vision encoder ({reason})"[:400],
                "The folder must hold config.json and weights as .safetensors.",
            ) from error
    if config.model_type == "clip":
        return model, "clip", int(config.vision_config.image_size), int(config.projection_dim)
    if config.model_type in _VIT_TYPES:
        return model, "vit", int(config.image_size), int(config.hidden_size)
    size = int(getattr(config, "image_size", 224) or 224)
    with torch.inference_mode():
        states = getattr(_try_image(model, name, size), "last_hidden_state", None)
    if states is None or states.ndim != 4:
        raise EtudeError(
            f"{name}: {config.model_type} gives no feature map and is not a ViT",
            "Use a ViT (google/vit-base-patch16-224), a CNN (microsoft/resnet-50) or efficientnet-lite0.",
        )
    return model, "grid", size, int(states.shape[1])


def _try_image(model: Any, name: str, size: int) -> Any:
    import torch

    try:
        return model(pixel_values=torch.zeros(1, 3, size, size))
    except (TypeError, ValueError) as error:
        raise EtudeError(f"{name}: reads no pictures ({error})"[:300], "Give a vision encoder.") from error


def _pixel_scale(directory: Path) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    path = directory / "preprocessor_config.json"
    found = dict(read_json(path)) if path.exists() else {}
    mean, std = found.get("image_mean") or [0.5] * 3, found.get("image_std") or [0.5] * 3
    return tuple(map(float, mean)), tuple(map(float, std))  # type: ignore[return-value]
