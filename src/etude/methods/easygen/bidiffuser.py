"""A BiDiffuser in memory: noise network, noise schedule, picture codec and text codec, from one folder.

The folder is laid out as diffusers lays out a pipeline (`unet/`, `scheduler/`, `vae/` or `pixels.json`,
`text_codec/` or CLIP's and GPT-2's folders, `model_index.json`); UniDiffuser's own folder is read as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.easygen.clip_codec import ClipCodec
from etude.methods.easygen.noise_schedule import NoiseSchedule
from etude.methods.easygen.objectives import Latents
from etude.methods.easygen.picture_codecs import LatentCodec, PixelCodec, load_picture_codec
from etude.methods.easygen.sampling import noise_of, sample_image, sample_text
from etude.methods.easygen.unidiffuser_weights import load_unet, save_unet
from etude.methods.easygen.uvit import UViT
from etude.methods.easygen.word_codec import WordCodec
from etude.models.hub import hub_snapshot
from etude.models.local_lm import default_device
from etude.runs import content_hash, file_hash, read_json, write_json

EMOJI = "emoji"
"""The name of the small model that comes with the package."""

_BATCH = 64


@dataclass(frozen=True, eq=False)
class BiDiffuser:
    """The parts of a model, and how it is sampled by default.

    Attributes:
        network: In evaluation mode.
        schedule: Its noise.
        pictures: Between pixels and grids.
        text: Between captions and latents.
        steps: Solver steps by default.
        guidance: Guidance of text-to-image by default.
        folder: Where it was loaded from; None for one that was just trained.
        pretraining: What data its weights have seen, in words.
    """

    network: UViT
    schedule: NoiseSchedule
    pictures: PixelCodec | LatentCodec
    text: WordCodec | ClipCodec
    steps: int = 20
    guidance: float = 0.0
    folder: Path | None = None
    pretraining: str = "none"

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @cached_property
    def _fast(self) -> UViT:
        """The network as it is sampled: compiled on a GPU."""
        compiled: UViT = torch.compile(self.network) if self.device.type == "cuda" else self.network  # type: ignore[assignment]
        return compiled

    @property
    def size(self) -> int:
        """Height and width of its pictures, in pixels."""
        return self.pictures.size

    @cached_property
    def identity(self) -> str:
        """16 hex digits over the files of its folder: what features and pictures are keyed by."""
        if self.folder is None:
            raise ValueError("a model that was not saved has no identity")
        files = sorted(
            path
            for part in (
                "unet",
                "scheduler",
                "text_codec",
                "vae",
                "image_encoder",
                "text_encoder",
                "text_decoder",
            )
            for path in (self.folder / part).glob("*")
            if path.suffix in (".safetensors", ".json")
        )
        return content_hash([[str(p.relative_to(self.folder)), file_hash(p)] for p in files])[:16]

    def latents(self, pixels: Tensor, captions: Sequence[str]) -> Latents:
        """Pairs as the network sees them."""
        grid, clip = self.pictures.encode(pixels)
        return Latents(grid, clip, self.text.encode(captions).latents)

    def read(
        self,
        pixels: Tensor,
        keys: Sequence[str],
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: float = 0.0,
    ) -> Tensor:
        """Text latents that the network draws for pictures, (batch, tokens, dim).

        Args:
            pixels: (batch, 3, size, size).
            keys: Names of the pictures; with the seed they fix the noise, whatever the batch.
            seed: Other draws for other seeds.
            steps: Of the solver.
            guidance: 0 for none.
        """
        config = self.network.config
        rows = []
        for at in _batches(len(pixels)):
            grid, clip = self.pictures.encode(pixels[at].to(self.device))
            absent = self._noise([f"absent {k}" for k in keys[at]], seed) if guidance else None
            noise = noise_of(keys[at], seed, (config.text_tokens, config.text_dim))
            rows.append(
                sample_text(
                    self._fast,
                    self.schedule,
                    grid,
                    clip,
                    noise,
                    steps=steps or self.steps,
                    guidance=guidance,
                    absent=absent,
                )
            )
        return torch.cat(rows)

    def captions(self, pixels: Tensor, keys: Sequence[str], **sampling: Any) -> list[str]:
        """The network's own captions of pictures; arguments as for `read`."""
        return self.text.decode(self.read(pixels, keys, **sampling))

    def draw(
        self,
        text: Tensor,
        keys: Sequence[str],
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        empty_text: bool = False,
    ) -> Tensor:
        """Pixels for text latents, (batch, 3, size, size).

        Args:
            text: (batch, tokens, dim).
            keys: As for `read`; usually the prompts.
            seed: Other pictures for other seeds.
            steps: Of the solver.
            guidance: 0 for none; default: the model's.
            empty_text: Guide away from an empty text instead of an absent one.
        """
        strength = self.guidance if guidance is None else guidance
        config = self.network.config
        rows = []
        for at in _batches(len(text)):
            without = None
            if strength:
                width = (config.text_tokens, config.text_dim)
                without = (
                    self.text.encode([""] * len(keys[at])).latents
                    if empty_text
                    else noise_of([f"absent {k}" for k in keys[at]], seed, width)
                ).to(self.device)
            grid = sample_image(
                self._fast,
                self.schedule,
                text[at].to(self.device),
                self._noise(keys[at], seed),
                steps=steps or self.steps,
                guidance=strength,
                without=without,
                empty=empty_text,
            )
            rows.append(self.pictures.decode(grid).cpu())
        return torch.cat(rows)

    def _noise(self, keys: Sequence[str], seed: int) -> Latents:
        config = self.network.config
        image = noise_of(keys, seed, (config.image_channels, config.image_size, config.image_size))
        clip = noise_of([f"clip {k}" for k in keys], seed, (1, config.clip_dim)) if config.clip_dim else None
        return Latents(image.to(self.device), None if clip is None else clip.to(self.device), torch.empty(0))

    def save(self, folder: Path) -> None:
        """Write the folder."""
        save_unet(self.network, folder / "unet")
        self.schedule.save(folder / "scheduler")
        self.pictures.save(folder)
        self.text.save(folder)
        write_json(
            folder / "model_index.json",
            {
                "_class_name": "BiDiffuser",
                "steps": self.steps,
                "guidance": self.guidance,
                "pretraining": self.pretraining,
            },
        )


def load_bidiffuser(name: str | Path, *, device: str | None = None) -> BiDiffuser:
    """Load a BiDiffuser, or a UniDiffuser as it was published.

    Args:
        name: A folder, a hub id (`thu-ml/unidiffuser-v1`), or `emoji`, the small one of this package.
        device: Default: the GPU if there is one.

    Raises:
        EtudeError: No such model, or the folder is not one.
    """
    folder = bidiffuser_folder(name)
    device = device or default_device()
    network = load_unet(folder / "unet").to(device)
    if network.config.text_tokens < 1:
        raise EtudeError(f"{folder}: a network without text", "Give another folder.")
    index = read_json(folder / "model_index.json")
    ours = index.get("_class_name") == "BiDiffuser"
    words = (folder / "text_codec" / "words.json").exists()
    return BiDiffuser(
        network,
        NoiseSchedule.load(folder / "scheduler"),
        load_picture_codec(folder, network.config.image_size, device),
        WordCodec.load(folder) if words else ClipCodec(folder, device),
        steps=int(index.get("steps", 20)),
        guidance=float(index.get("guidance", 0.0 if ours else 7.0)),
        folder=folder,
        pretraining=str(index.get("pretraining", "UniDiffuser: filtered LAION-5B (web pairs)")),
    )


def bidiffuser_folder(name: str | Path) -> Path:
    """Where a BiDiffuser's files are; see `load_bidiffuser`.

    Raises:
        EtudeError: There is nothing by this name, or it is not a model.
    """
    path = Path(name).expanduser()
    if str(name) == EMOJI:
        path = Path(__file__).parent / "emoji_bidiffuser"
    elif not path.is_dir() and str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")):
        path = hub_snapshot(str(name))
    if not (path / "unet" / "config.json").exists():
        raise EtudeError(
            f"{name}: not a BiDiffuser's folder, it has no unet/config.json",
            f"Give a folder of train-bidiffuser, a UniDiffuser folder, a hub id, or {EMOJI!r}.",
        )
    return path


def _batches(count: int, size: int = _BATCH) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
