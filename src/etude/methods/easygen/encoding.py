"""The verb `encode`: features of pictures by a BiDiffuser, in shards; a killed run goes on at the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.easygen.bidiffuser import EMOJI, BiDiffuser, load_bidiffuser
from etude.methods.easygen.features import DIFFUSED, PATCHES, Origin, write_index, write_shard
from etude.methods.easygen.pairs import Pair, pairs_hash, read_pairs
from etude.methods.easygen.pictures import SUFFIXES, Picture, load_pixels, open_picture
from etude.models.local_lm import default_device
from etude.models.names import model_directory, model_revision
from etude.models.quiet import quiet_transformers
from etude.render import console, table
from etude.runs import Run


@dataclass(frozen=True)
class EncodeResult:
    """What was encoded.

    Attributes:
        out: Folder of the features.
        pictures: How many.
        shards: Files.
        tokens, dim: Shape of one picture's features.
        bidiffuser: Identity of the model.
        steps, guidance, seed: Of the sampling.
    """

    out: str
    pictures: int
    shards: int
    tokens: int
    dim: int
    bidiffuser: str
    steps: int
    guidance: float
    seed: int

    def __rich__(self) -> Any:
        """A table."""
        return table(["easygen encode", ""], [[k, v] for k, v in vars(self).items()])


@verb
def encode(
    images: str,
    *,
    bidiffuser: str,
    out: Path,
    folder: Path | None = None,
    split: str | None = None,
    steps: int = 20,
    guidance: float = 0.0,
    seed: int = 0,
    clip: str | None = None,
    shard_size: int = 256,
) -> EncodeResult:
    """Read pictures with a BiDiffuser once and store what it says of them, for training and answering.

    Training a language model then never runs diffusion. The features of a picture depend on the picture's id
    and the seed, not on what else is encoded. The same command goes on after a kill at the next shard.

    Args:
        images: Pictures with captions as for `train-bidiffuser`, or a folder of pictures alone.
        bidiffuser: A folder of `train-bidiffuser`, a UniDiffuser folder or hub id, or `emoji`.
        out: Folder for `features-*.safetensors`, `index.parquet` and `features.json`.
        folder: Folder that picture paths are relative to.
        split: Encode rows with this `split` only.
        steps: Steps of the solver.
        guidance: Guidance strength; 0 makes one pass of the network a step, more makes two.
        seed: The text side is drawn: other seeds give other readings.
        clip: A CLIP model (`openai/clip-vit-large-patch14`) whose patch features are stored beside
            (EasyGen+CLIP).
        shard_size: Pictures of a shard.
    """
    if steps < 1 or guidance < 0 or shard_size < 1:
        raise EtudeError(
            f"steps {steps}, guidance {guidance}, shard_size {shard_size}",
            "Steps and shard size are at least 1; guidance is not negative.",
        )
    pairs = pictures_of(images, folder, split)
    model = load_bidiffuser(bidiffuser)
    eyes = None if clip is None else ClipEyes(clip)
    origin = origin_of(model, absolute_name(bidiffuser), steps, guidance, seed, eyes)
    shards = encode_pictures(pairs, model, origin, out, eyes, shard_size)
    return EncodeResult(
        str(out), len(pairs), shards, origin.tokens, origin.dim, origin.bidiffuser, steps, guidance, seed
    )


def encode_pictures(
    pairs: Sequence[Pair],
    model: BiDiffuser,
    origin: Origin,
    out: Path,
    eyes: ClipEyes | None = None,
    shard_size: int = 256,
) -> int:
    """Write the features of pictures to a folder, shard by shard; finished shards of an earlier process stay.

    Returns:
        The number of shards.
    """
    config = {**asdict(origin), "pictures": pairs_hash(pairs), "shard_size": shard_size}
    with Run(out, config, command="easygen encode") as run:
        if run.result is None:
            run.complete({"shards": _encode_shards(run, pairs, model, origin, eyes, shard_size)})
        assert run.result is not None
        return int(run.result["shards"])


def _encode_shards(
    run: Run, pairs: Sequence[Pair], model: BiDiffuser, origin: Origin, eyes: ClipEyes | None, size: int
) -> int:
    rows = []
    starts = range(0, len(pairs), size)
    for number, start in enumerate(starts):
        part = pairs[start : start + size]
        if not run.finished(f"shard {number}"):
            write_shard(run.path, number, read_features(part, model, origin, eyes))
            run.finish(f"shard {number}")
            console().print(f"encoded {start + len(part):,} of {len(pairs):,} pictures")
        rows += [
            {
                "id": pair.id,
                "shard": number,
                "row": row,
                "n_tokens": origin.tokens,
                "captions": list(pair.captions),
            }
            for row, pair in enumerate(part)
        ]
    write_index(run.path, rows, origin)
    return len(starts)


def read_features(
    pairs: Sequence[Pair], model: BiDiffuser, origin: Origin, eyes: ClipEyes | None = None
) -> dict[str, Tensor]:
    """Features of pictures: `features`, (pictures, tokens, dim), and `clip_patches` with CLIP eyes."""
    pixels = load_pixels([pair.picture for pair in pairs], model.size)
    latents = model.read(
        pixels, [pair.id for pair in pairs], seed=origin.seed, steps=origin.steps, guidance=origin.guidance
    )
    found = {DIFFUSED: model.text.features(latents).cpu()}
    if eyes is not None:
        found[PATCHES] = eyes.look([pair.picture for pair in pairs])
    return found


def absolute_name(name: str) -> str:
    """A BiDiffuser's name that still leads there from another working directory."""
    path = Path(name).expanduser()
    return str(path.resolve()) if name != EMOJI and path.is_dir() else name


def origin_of(
    model: BiDiffuser, name: str, steps: int, guidance: float, seed: int, eyes: ClipEyes | None = None
) -> Origin:
    """The origin of features that this model makes with these settings."""
    shape = (eyes.tokens, eyes.dim) if eyes else (0, 0)
    clip = eyes.name if eyes else ""
    text = model.text
    return Origin(
        model.identity, str(name), steps, guidance, seed, text.tokens, text.feature_dim, clip, *shape
    )


def pictures_of(source: str | Path, images: Path | None = None, split: str | None = None) -> list[Pair]:
    """Pairs of a source; a picture or a folder of pictures alone gives pairs without captions."""
    path = Path(source)
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return [Pair(path.name, Picture(path), ())]
    if path.is_dir() and not (path / "metadata.jsonl").exists() and not (path / "dataset_info.json").exists():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if files and not any(p.with_suffix(".txt").exists() for p in files):
            return [Pair(str(p.relative_to(path)), Picture(p), ()) for p in files]
    return read_pairs(source, images=images, split=split)


class ClipEyes:
    """A CLIP picture encoder whose patch states are tokens for the language model (EasyGen+CLIP).

    Args:
        name: A model directory or hub id of a CLIP model.
    """

    def __init__(self, name: str) -> None:
        from transformers import CLIPImageProcessor, CLIPVisionModel

        directory = model_directory(name)
        with quiet_transformers():
            self.processor: Any = CLIPImageProcessor.from_pretrained(directory)
            encoder: Any = CLIPVisionModel.from_pretrained(directory, use_safetensors=True)
        self.encoder = encoder.to(default_device()).eval()
        self.name = f"{name}@{model_revision(directory)}"
        config: Any = self.encoder.config
        self.tokens = 1 + (config.image_size // config.patch_size) ** 2
        self.dim: int = config.hidden_size

    @torch.inference_mode()
    def look(self, pictures: Sequence[Picture]) -> Tensor:
        """Last states of all patches, (pictures, tokens, dim)."""
        images = [open_picture(picture)[0] for picture in pictures]
        pixels = self.processor(images=images, return_tensors="pt")["pixel_values"]
        states: Tensor = self.encoder(pixels.to(self.encoder.device)).last_hidden_state
        return states.cpu()
