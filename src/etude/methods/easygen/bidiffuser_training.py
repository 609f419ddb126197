"""The verb `train_bidiffuser`: a two-way diffusion model from pairs, from nothing or from a UniDiffuser."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.easygen.bidiffuser import BiDiffuser, load_bidiffuser
from etude.methods.easygen.encoded_pairs import EncodedPairs, Encoding, encode_pairs, latents_of
from etude.methods.easygen.moving_average import MovingAverage
from etude.methods.easygen.noise_schedule import NoiseSchedule
from etude.methods.easygen.objectives import LossWeights, Objective, diffusion_loss
from etude.methods.easygen.pairs import Pair, pairs_hash, read_pairs
from etude.methods.easygen.picture_codecs import LatentCodec, PixelCodec
from etude.methods.easygen.uvit import UViT, UViTConfig
from etude.methods.easygen.word_codec import WordCodec
from etude.models.local_lm import default_device
from etude.render import table
from etude.runs import Run
from etude.training import fit


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        objective: `bi`, both directions with a clean condition; `joint`; or one way, `i2t` or `t2i`.
        direction_mix: With `bi`, the share of a batch that goes from text to picture.
        weights: Of the parts of the loss.
        steps: Optimizer steps.
        batch_size: Pairs of a step.
        learning_rate: Peak; linear warm-up, then a cosine.
        warmup: Share of the steps with a rising rate.
        high_noise: How much high noise is preferred; 1 draws times uniformly.
        decay: Of the moving average of the weights.
        seed: Of the weights, the order and the noise.
    """

    objective: Objective = "bi"
    direction_mix: float = 0.5
    weights: LossWeights = LossWeights()  # noqa: RUF009
    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.05
    high_noise: float = 1.0
    decay: float = 0.999
    seed: int = 0


@dataclass(frozen=True)
class TrainedBiDiffuser:
    """What a training gave.

    Attributes:
        out: The model's folder.
        objective: What it was trained for.
        pictures, captions: Trained on.
        truncated: Captions that were longer than the text latents, and cut.
        parameters: Of the network.
        steps: Optimizer steps.
        train_loss: Mean of the last logged losses.
        pretraining: What the weights had seen before.
    """

    out: str
    objective: str
    pictures: int
    captions: int
    truncated: int
    parameters: int
    steps: int
    train_loss: float
    pretraining: str

    def __rich__(self) -> Any:
        """A table."""
        rows = [[name.replace("_", " "), value] for name, value in vars(self).items()]
        return table(["easygen train-bidiffuser", ""], rows)


@verb
def train_bidiffuser(
    pairs: str,
    *,
    out: Path,
    images: Path | None = None,
    split: str | None = None,
    init: str = "scratch",
    objective: Objective = "bi",
    direction_mix: float = 0.5,
    alpha: float = 1.0,
    latent_weight: float = 1.0,
    clean_side_loss: float = 0.0,
    high_noise: float = 1.0,
    image_size: int = 32,
    vae: Path | None = None,
    patch: int = 8,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    slots: int | None = None,
    word_dim: int = 32,
    steps: int = 2000,
    batch_size: int = 32,
    learning_rate: float | None = None,
    decay: float = 0.999,
    seed: int = 0,
) -> TrainedBiDiffuser:
    """Train a two-way diffusion model: pictures to text and text to pictures in one network.

    From nothing it is a small network on pixels and words, for small pictures with short captions. With
    `--init thu-ml/unidiffuser-v1` (or its folder) it fine-tunes UniDiffuser as in the paper. A killed
    training goes on where it stopped when the same command is given again.

    Args:
        pairs: Pictures with captions: a table (`id, image, caption`), a folder of pictures each with a
            `.txt`, COCO's or Karpathy's JSON, a web archive (`.tar`), or a CSV of cells of a sprite sheet.
        out: Folder for the model.
        images: Folder that picture paths are relative to.
        split: Train on rows with this `split` only.
        init: `scratch`, or a model to go on from: a folder or hub id; its shape and codecs are kept.
        objective: `bi` (BiDiffuser), `joint` (UniDiffuser), or one way: `i2t`, `t2i`.
        direction_mix: With `bi`, the share of each batch that goes from text to picture.
        alpha: Weight of the text's loss beside the picture's.
        latent_weight: Weight of the picture grid beside its CLIP vector (the released script: 1.2).
        clean_side_loss: Weight of the demand that the clean side be seen as clean (the released script: 1).
        high_noise: Times are T u^(1 / high_noise): 1 is uniform, more prefers high noise, which helps where a
            caption fixes the picture almost wholly.
        image_size: Height and width of the pictures.
        vae: Folder with `vae/` (and `image_encoder/`): work on its latents instead of pixels.
        patch: Side of a patch, in pixels or cells of the latent.
        width: Of the network.
        depth: Blocks besides the middle one; even.
        heads: Attention heads.
        slots: Words of a caption; default: of the longest, at most 16.
        word_dim: Width of the word vectors.
        steps: Optimizer steps.
        batch_size: Pairs of a step.
        learning_rate: Default: 1e-3 from nothing, 2e-5 otherwise.
        decay: Of the moving average of the weights, which is what is saved.
        seed: Of the weights, the order and the noise.
    """
    if not 0 <= direction_mix <= 1 or steps < 1 or batch_size < 1:
        raise EtudeError(
            f"direction_mix {direction_mix}, steps {steps}, batch_size {batch_size}",
            "direction_mix lies between 0 and 1, the others are at least 1.",
        )
    rate = learning_rate or (1e-3 if init == "scratch" else 2e-5)
    weights = LossWeights(alpha, latent_weight, clean_side_loss)
    recipe = Recipe(
        objective,
        direction_mix,
        weights,
        steps,
        batch_size,
        rate,
        high_noise=high_noise,
        decay=decay,
        seed=seed,
    )
    read = read_pairs(pairs, images=images, split=split)
    start = None if init == "scratch" else load_bidiffuser(init)
    shape = {
        "image_size": image_size, "vae": None if vae is None else str(vae), "patch": patch, "width": width,
        "depth": depth, "heads": heads, "slots": slots, "word_dim": word_dim,
    } if start is None else {"init": start.identity}  # fmt: skip
    config = {"pairs": pairs_hash(read), "recipe": asdict(recipe), "shape": shape}
    with Run(out, config, command="easygen train-bidiffuser") as run:
        if run.result is None:
            model = start or new_bidiffuser(
                [caption for pair in read for caption in pair.captions],
                pictures=PixelCodec(image_size) if vae is None else LatentCodec(vae, image_size),
                shape=UViTConfig(image_size, patch=patch, width=width, depth=depth, heads=heads),
                slots=slots,
                word_dim=word_dim,
                seed=seed,
            )
            run.complete(asdict(_train(model, read, recipe, out)))
        assert run.result is not None
        return TrainedBiDiffuser(**run.result)


def _train(model: BiDiffuser, pairs: list[Pair], recipe: Recipe, out: Path) -> TrainedBiDiffuser:
    encoding = encode_pairs(pairs, model.pictures, model.text, out / "latents")
    loss = fit_network(model, EncodedPairs(out / "latents"), recipe, out / "training")
    said = "none" if model.folder is None else f"{model.pretraining}; then {model.folder.name}"
    replace(model, pretraining=said).save(out)
    shutil.rmtree(out / "training", ignore_errors=True)
    shutil.rmtree(out / "latents", ignore_errors=True)
    return _result(out, recipe, encoding, model, loss, said)


def _result(
    out: Path, recipe: Recipe, encoding: Encoding, model: BiDiffuser, loss: float, said: str
) -> TrainedBiDiffuser:
    return TrainedBiDiffuser(
        out=str(out),
        objective=recipe.objective,
        pictures=encoding.pictures,
        captions=encoding.captions,
        truncated=encoding.truncated,
        parameters=sum(p.numel() for p in model.network.parameters()),
        steps=recipe.steps,
        train_loss=loss,
        pretraining=said,
    )


def new_bidiffuser(
    captions: list[str],
    *,
    pictures: PixelCodec | LatentCodec,
    shape: UViTConfig,
    slots: int | None = None,
    word_dim: int = 32,
    seed: int = 0,
) -> BiDiffuser:
    """An untrained small model: words as text latents, clean-input prediction, cosine schedule, DDIM.

    Args:
        captions: Whose words it shall know.
        pictures: How pictures are coded; sets grid and CLIP vector of the network.
        shape: Patch, width, depth and heads of the network; the rest follows from the codecs.
        slots: Words of a caption.
        word_dim: Width of the word vectors.
        seed: Of the weights and word vectors.
    """
    text = WordCodec.of(captions, slots=slots, dim=word_dim, seed=seed)
    channels, size = pictures.grid
    config = replace(
        shape,
        image_size=size,
        image_channels=channels,
        clip_dim=pictures.clip_dim,
        text_tokens=text.tokens,
        text_dim=word_dim,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = UViT(config)
        nn.init.trunc_normal_(network.positions, std=POSITIONS_STD)
    schedule = NoiseSchedule(predicts="sample", betas="cosine", solver="ddim")
    return BiDiffuser(network.to(default_device()), schedule, pictures, text, steps=12)


POSITIONS_STD = 0.5
"""Spread of the position vectors at the start; with UniDiffuser's 0.02 a short training hardly uses them."""


def fit_network(
    model: BiDiffuser, data: EncodedPairs, recipe: Recipe, out: Path, *, label: str = "bidiffuser"
) -> float:
    """Train the network in place; it ends with the averaged weights. Returns the last losses' mean."""
    training = DiffusionTraining(model.network, model.schedule, recipe)
    average = MovingAverage(model.network, recipe.decay)
    torch.manual_seed(recipe.seed)
    result = fit(
        training,
        data,
        out=out,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=0.01,
        warmup=recipe.warmup,
        seed=recipe.seed,
        save_every=min(250, max(1, recipe.steps // 4)),
        callbacks=[average],
        label=label,
    )
    average.put_in()
    model.network.eval()
    return result.train_loss


class DiffusionTraining(nn.Module):
    """A network with its objective, as `fit` wants it."""

    def __init__(self, network: UViT, schedule: NoiseSchedule, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.recipe = recipe

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """The loss of a batch of `EncodedPairs`."""
        loss = diffusion_loss(
            self.network,
            self.schedule,
            latents_of(batch),
            self.recipe.objective,
            weights=self.recipe.weights,
            direction_mix=self.recipe.direction_mix,
            high_noise=self.recipe.high_noise,
        )
        return {"loss": loss}
