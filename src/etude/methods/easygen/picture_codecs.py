"""Pictures as the network sees them: pixels as they are, or a VAE's latents with a CLIP vector beside.

The latent kind reads a Stable-Diffusion VAE (`vae/`), and CLIP's picture encoder (`image_encoder/`,
`clip_image_processor/`) where the network has a CLIP vector, as UniDiffuser does.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.easygen.pictures import to_image
from etude.models.quiet import quiet_transformers
from etude.runs import read_json, write_json


@dataclass(frozen=True)
class PixelCodec:
    """The pixels themselves, in [-1, 1].

    Args:
        size: Height and width.
    """

    size: int

    def encode(self, pixels: Tensor) -> tuple[Tensor, None]:
        """(batch, 3, size, size) to the grid, and no CLIP vector."""
        return pixels, None

    def decode(self, grid: Tensor) -> Tensor:
        """The grid to pixels, the same."""
        return grid

    @property
    def grid(self) -> tuple[int, int]:
        """Channels and size of the grid."""
        return 3, self.size

    @property
    def clip_dim(self) -> int:
        """No CLIP vector."""
        return 0

    def save(self, folder: Path) -> None:
        """Write `pixels.json`."""
        write_json(folder / "pixels.json", {"size": self.size})


class LatentCodec:
    """An `AutoencoderKL`, and CLIP's picture encoder beside it if the folder has one.

    Args:
        folder: With `vae/`, perhaps `image_encoder/` and `clip_image_processor/`.
        size: Height and width of the pictures; default: what the VAE was made for.
        device: Where the two compute.
    """

    def __init__(self, folder: Path, size: int | None = None, device: str = "cpu") -> None:
        from diffusers import AutoencoderKL

        self.folder = folder
        with quiet_transformers():
            try:
                self.vae: Any = AutoencoderKL.from_pretrained(folder / "vae", use_safetensors=True)
            except (OSError, ValueError) as error:
                first = str(error).splitlines()[0]
                raise EtudeError(
                    f"{folder / 'vae'}: not a VAE ({first})"[:300],
                    "Give a folder with vae/ (AutoencoderKL, safetensors).",
                ) from error
            self.vae.to(device).eval().requires_grad_(False)
            self.encoder: Any = None
            if (folder / "image_encoder").is_dir():
                from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

                self.encoder = CLIPVisionModelWithProjection.from_pretrained(
                    folder / "image_encoder", use_safetensors=True
                )
                self.encoder.to(device).eval().requires_grad_(False)
                self.processor: Any = CLIPImageProcessor.from_pretrained(folder / _processor(folder))
        self.size: int = size or self.vae.config.sample_size
        shrink = 2 ** (len(self.vae.config.block_out_channels) - 1)
        if self.size % shrink:
            raise EtudeError(f"picture size {self.size}", f"This VAE needs a multiple of {shrink}.")
        self.grid: tuple[int, int] = (self.vae.config.latent_channels, self.size // shrink)
        self.clip_dim: int = self.encoder.config.projection_dim if self.encoder is not None else 0

    @torch.inference_mode()
    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Pixels to the VAE's latents (scaled) and the CLIP vectors.

        Args:
            pixels: (batch, 3, size, size) in [-1, 1].
            noise: Draws from the VAE's posterior with it, (batch, channels, size, size); None takes its mean.

        Returns:
            (batch, channels, size, size), and (batch, 1, clip_dim) or None.
        """
        posterior = self.vae.encode(pixels.to(self.vae.device)).latent_dist
        grid = posterior.mean if noise is None else posterior.mean + posterior.std * noise.to(self.vae.device)
        clip = None
        if self.encoder is not None:
            read = self.processor(images=[to_image(p) for p in pixels], return_tensors="pt")
            clip = self.encoder(read["pixel_values"].to(self.encoder.device)).image_embeds[:, None]
        return grid * self.vae.config.scaling_factor, clip

    @torch.inference_mode()
    def decode(self, grid: Tensor) -> Tensor:
        """Latents to pixels in about [-1, 1]."""
        pixels: Tensor = self.vae.decode(grid / self.vae.config.scaling_factor).sample
        return pixels

    def save(self, folder: Path) -> None:
        """Copy the folders, unless they are there."""
        write_json(folder / "latents.json", {"size": self.size})
        if folder.resolve() == self.folder.resolve():
            return
        for name in ("vae", "image_encoder", _processor(self.folder)):
            if (self.folder / name).is_dir():
                shutil.copytree(self.folder / name, folder / name, dirs_exist_ok=True)


def _processor(folder: Path) -> str:
    """CLIP's picture processor has had two names in UniDiffuser's folders."""
    return "image_processor" if (folder / "image_processor").is_dir() else "clip_image_processor"


def load_picture_codec(folder: Path, grid: int, device: str) -> PixelCodec | LatentCodec:
    """The codec of a BiDiffuser's or UniDiffuser's folder.

    Args:
        folder: The model's.
        grid: Size of the network's grid; fixes the picture size where the folder does not say.
        device: Where it computes.
    """
    if (folder / "pixels.json").exists():
        return PixelCodec(int(read_json(folder / "pixels.json")["size"]))
    if (folder / "latents.json").exists():
        return LatentCodec(folder, int(read_json(folder / "latents.json")["size"]), device)
    if not (folder / "vae").is_dir():
        raise EtudeError(f"{folder}: neither pixels.json nor vae/", "Copy the whole model folder.")
    channels = len(read_json(folder / "vae" / "config.json")["block_out_channels"])
    return LatentCodec(folder, grid * 2 ** (channels - 1), device)
