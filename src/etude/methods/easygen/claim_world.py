"""The claim's data and networks, shared by its arms: pairs, stage A, and what is trained on from it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from etude.errors import EtudeError
from etude.methods.easygen.bidiffuser import BiDiffuser, load_bidiffuser
from etude.methods.easygen.bidiffuser_training import Recipe, fit_network, new_bidiffuser
from etude.methods.easygen.encoded_pairs import EncodedPairs, encode_pairs
from etude.methods.easygen.language_models import LanguageModel
from etude.methods.easygen.objectives import Objective
from etude.methods.easygen.pairs import Pair, read_pairs
from etude.methods.easygen.picture_codecs import PixelCodec
from etude.methods.easygen.pictures import load_pixels
from etude.methods.easygen.uvit import UViTConfig
from etude.methods.easygen.word_codec import WordCodec

SHEET = "noto_emoji_32.csv"


@dataclass(frozen=True)
class Budget:
    """What the arms get.

    Attributes:
        bases: Which emoji that take skin tones, from and to, in the order of the sheet.
        joint_steps: Stage A.
        steps: Of every arm after it.
        recipe: Batch, rate, noise.
        shape: Of the network.
        draws: Readings and drawings of each test item.
        llm: The language model of part 3; `small` is trained on the training captions.
        marks: Steps of alignment at which captions are scored.
        align_batch: Captions of a step of alignment.
        align_rate: Its learning rate.
        init: Where networks start; None: from nothing.
    """

    bases: tuple[int, int]
    joint_steps: int
    steps: int
    recipe: Recipe
    shape: UViTConfig
    draws: int = 2
    llm: str = "small"
    marks: tuple[int, ...] = (100, 200, 400)
    align_batch: int = 16
    align_rate: float = 3e-3
    init: str | None = None


@dataclass(eq=False)
class World:
    """Pairs of training and test, and networks by seed.

    Attributes:
        train: Training pairs.
        test: Test pairs: combinations that training never shows.
        text_only: Captions of the whole training split, for a small language model.
        budget: What the arms get.
        trained: Weights by objective and seed.
        language_models: By seed; frozen, so that arms can share them.
    """

    train: list[Pair]
    test: list[Pair]
    text_only: list[str]
    budget: Budget
    trained: dict[tuple[str, int], dict[str, Tensor]] = field(default_factory=dict)
    language_models: dict[int, LanguageModel] = field(default_factory=dict)
    scratch: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)

    @cached_property
    def pictures(self) -> Tensor:
        """All pictures, training first, (pairs, 3, size, size)."""
        return load_pixels([pair.picture for pair in (*self.train, *self.test)], self.untrained(0).size)

    @cached_property
    def test_pictures(self) -> Tensor:
        """Those of the test."""
        return self.pictures[len(self.train) :]

    def untrained(self, seed: int) -> BiDiffuser:
        """The network that all arms of a seed start from."""
        if self.budget.init is not None:
            return load_bidiffuser(self.budget.init)
        captions = [caption for pair in (*self.train, *self.test) for caption in pair.captions]
        size = self.budget.shape.image_size
        return new_bidiffuser(
            captions, pictures=PixelCodec(size), shape=self.budget.shape, seed=seed, slots=_slots(captions)
        )

    def network(self, objective: Objective | None, seed: int) -> BiDiffuser:
        """Stage A (joint) and, unless `objective` is None, the budget's steps of an objective behind it."""
        key = (str(objective), seed)
        if key not in self.trained:
            model = self.untrained(seed) if objective is None else self.network(None, seed)
            steps = self.budget.joint_steps if objective is None else self.budget.steps
            recipe = replace(self.budget.recipe, objective=objective or "joint", steps=steps, seed=seed)
            latents = self.latents(model, seed)
            label = f"{objective or 'stage A'}, seed {seed}"
            with tempfile.TemporaryDirectory(dir=self.folder) as out:
                fit_network(model, latents, recipe, Path(out), label=label)
            self.trained[key] = {name: value.clone() for name, value in model.network.state_dict().items()}
        found = self.untrained(seed)
        found.network.load_state_dict(self.trained[key])
        found.network.eval()
        return found

    def latents(self, model: BiDiffuser, seed: int) -> EncodedPairs:
        """The training pairs as latents; word vectors are drawn by the seed, so each seed has its own."""
        folder = self.folder / f"latents-{seed}"
        encode_pairs(self.train, model.pictures, model.text, folder)
        return EncodedPairs(folder)

    @property
    def folder(self) -> Path:
        """Where files live as long as the world."""
        return Path(self.scratch.name)


def emoji_world(data: Path | None, budget: Budget) -> World:
    """Emoji that take skin tones, a part of them, with the sheet's own split.

    Raises:
        EtudeError: The folder or the sheet is missing.
    """
    if data is None or not (data / SHEET).exists():
        raise EtudeError(
            f"the claim needs {SHEET} and its PNG",
            "Give their folder as --data (columns row, col, caption, base_codepoints, skin_tone, split).",
        )
    pairs = read_pairs(data / SHEET)
    first, last = budget.bases
    toned = {pair.fact("base_codepoints") for pair in pairs if pair.fact("skin_tone") != "none"}
    order = [b for b in dict.fromkeys(pair.fact("base_codepoints") for pair in pairs) if b in toned]
    chosen = set(order[first:last])
    kept = [pair for pair in pairs if pair.fact("base_codepoints") in chosen]
    return World(
        train=[pair for pair in kept if pair.fact("split") == "train"],
        test=[pair for pair in kept if pair.fact("split") == "test"],
        text_only=[pair.captions[0] for pair in pairs if pair.fact("split") == "train"],
        budget=budget,
    )


def coco_world(data: Path | None, budget: Budget) -> World:
    """COCO in Karpathy's split, for the paper's scale.

    Raises:
        EtudeError: The folder lacks `dataset_coco.json`.
    """
    if data is None or not (data / "dataset_coco.json").exists():
        raise EtudeError(
            "the claim at paper scale needs dataset_coco.json (Karpathy's split) and COCO's pictures",
            "Give their folder as --data.",
        )
    train = read_pairs(data / "dataset_coco.json", split="train")
    return World(
        train=train,
        test=read_pairs(data / "dataset_coco.json", split="test"),
        text_only=[caption for pair in train for caption in pair.captions],
        budget=budget,
    )


def _slots(captions: Sequence[str]) -> int:
    ids, _, _ = WordCodec.of(captions).ids(captions)
    return int((ids > 0).sum(1).max())
