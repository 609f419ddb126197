"""The paper's claim in three parts: specialize, one for two, and a head start for the language model.

1. After joint training, the same number of further steps on the two clean conditionals (BiDiffuser) is better
   in both directions than joint training again (UniDiffuser).
2. The one BiDiffuser is no worse than two one-way networks, at half the parameters.
3. A frozen language model learns captions faster from its text-side output than from one-way features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from etude.evidence import Arm, Check, Claim, Comparison, Contrast, Evidence, Measurement, Part, Scale
from etude.methods.easygen.bidiffuser import BiDiffuser
from etude.methods.easygen.bidiffuser_training import Recipe
from etude.methods.easygen.caption_metrics import exact, word_accuracy
from etude.methods.easygen.claim_readers import Reader, measure_reader
from etude.methods.easygen.claim_world import SHEET, Budget, World, coco_world, emoji_world
from etude.methods.easygen.objectives import Objective
from etude.methods.easygen.picture_metrics import nearest_pictures
from etude.methods.easygen.uvit import UViTConfig
from etude.runs import file_hash

_SMALL = Recipe(learning_rate=3e-3, high_noise=4.0, decay=0.99)
LAPTOP = Budget((100, 160), 200, 400, _SMALL, UViTConfig(32))
SLOW = Budget(
    (100, 316),
    2000,
    4000,
    _SMALL,
    UViTConfig(32),
    llm="smollm2",
    marks=(30, 60, 120),
    align_batch=8,
    align_rate=1e-3,
)
PAPER = Budget(
    (0, 0),
    0,
    3640,  # 10 passes over 113,287 pictures in batches of 312
    Recipe(batch_size=312, learning_rate=2e-5, decay=0.9999),
    UViTConfig(64, 4, patch=2),
    draws=1,
    llm="lmsys/vicuna-7b-v1.5",
    marks=(1000, 5000, 20000),
    align_batch=8,
    align_rate=2e-5,
    init="thu-ml/unidiffuser-v1",
)
MARGIN = 0.05  # a loss of word accuracy, and of the picture error, that counts as "no worse"
WORDS, ERROR, READ = "word accuracy", "picture error", "LLM CIDEr-D"
JOINT, BI, I2T, T2I = "joint again", "bi", "only image to text", "only text to image"
_READERS: dict[str, Reader] = {
    "LLM on BiDiffuser": "bidiffuser",
    "LLM on a contrastive encoder": "contrastive",
    "LLM on raw patches": "patches",
}


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """Joint training, BiDiffuser and one-way networks from one start; three kinds of features for an LLM.

    Args:
        scale: laptop: 60 emoji that take skin tones (240 pictures, 60 unseen combinations), networks of 1.1M
            parameters, a small language model. slow: 216 emoji and SmolLM2. paper: UniDiffuser on COCO and
            Vicuna-7B (needs a hub and a GPU).
        data: Folder with noto_emoji_32.csv and .png; for paper, with dataset_coco.json and the pictures.
        seeds: Three by default.
        model: Another language model for part 3.

    Raises:
        EtudeError: Without the data.
    """
    budget = {"laptop": LAPTOP, "slow": SLOW, "paper": PAPER}[scale]
    budget = replace(budget, llm=model or budget.llm)
    world = (coco_world if scale == "paper" else emoji_world)(data, budget)
    assert data is not None
    directions: dict[str, Objective] = {JOINT: "joint", BI: "bi", I2T: "i2t", T2I: "t2i"}
    arms = [Arm(name, _network_arm(world, objective)) for name, objective in directions.items()]
    arms += [Arm(name, _reader_arm(world, reader)) for name, reader in _READERS.items()]
    source = data / (SHEET if scale != "paper" else "dataset_coco.json")
    return Claim(
        name="easygen",
        statement="Specializing a joint diffusion model to its two clean conditionals beats joint training "
        "both ways (1), replaces two one-way models (2), and gives a language model a head start on captions "
        "(3).",
        arms=tuple(arms),
        parts=_parts(),
        metrics={
            WORDS: "higher",
            "exact": "higher",
            ERROR: "lower",
            "right picture": "higher",
            "right base": "higher",
            "wrong tone": "lower",
            READ: "higher",
            "LLM exact": "higher",
        },
        seeds=seeds or (0, 1, 2),
        config={"scale": scale, "budget": asdict(budget), "data": file_hash(source)},
        columns=("parameters", "trained s", "nearest is a training picture", "features", *_columns(budget)),
        notes=_notes(world),
    )


def _notes(world: World) -> tuple[str, ...]:
    budget = world.budget
    return (
        f"{len(world.train)} training and {len(world.test)} test pairs; a test picture is a combination "
        "of base and skin tone that training does not show. Captions are Unicode names, not human captions. "
        "Settings were chosen on other emoji (the first 80 of the sheet).",
        f"Every arm of 1 and 2 goes on from the same {budget.joint_steps} joint steps with {budget.steps} "
        f"steps more, batch {budget.recipe.batch_size}; scores are means of {budget.draws} draws. Times of "
        "noised sides prefer high noise in every arm; in joint training one side of each pair does, by lot.",
        "Memorization control: `wrong tone` is how often the nearest of all pictures is a training picture "
        "of the right base in a wrong tone.",
        f"3: language model {budget.llm}, frozen; an item's score is its mean over {len(budget.marks)} "
        "marks of the alignment. Nothing here was pretrained on web pairs; the paper's BiDiffuser was.",
    )


def _columns(budget: Budget) -> tuple[str, ...]:
    return tuple(
        name
        for step in budget.marks
        for name in (f"CIDEr at {step}", f"exact at {step}", f"seconds to {step}")
    )


def _network_arm(world: World, objective: Objective) -> Callable[[int], Measurement]:
    def run(seed: int) -> Measurement:
        world.network(None, seed)
        started = time.process_time()
        model = world.network(objective, seed)
        return measure_network(model, world, objective, seed, time.process_time() - started)

    return run


def _reader_arm(world: World, reader: Reader) -> Callable[[int], Measurement]:
    def run(seed: int) -> Measurement:
        return measure_reader(reader, world, seed)

    return run


def measure_network(
    model: BiDiffuser, world: World, objective: Objective, seed: int, trained: float
) -> Measurement:
    """Captions and drawings of the test pairs, item by item, means over draws."""
    keys = [pair.id for pair in world.test]
    scores: dict[str, list[np.ndarray]] = {}
    facts: dict[str, float | int] = {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "trained s": round(trained, 1),
    }
    for draw in range(world.budget.draws):
        number = 1000 * seed + draw
        if objective != "t2i":
            written = model.captions(world.test_pictures, keys, seed=number)
            for name, score in ((WORDS, word_accuracy), ("exact", exact)):
                said = [score(text, pair.captions) for text, pair in zip(written, world.test, strict=True)]
                scores.setdefault(name, []).append(np.array(said))
        if objective != "i2t":
            text = model.text.encode([pair.captions[0] for pair in world.test]).latents
            for name, values in _drawn(model.draw(text, keys, seed=number), world).items():
                scores.setdefault(name, []).append(values)
    if "training" in scores:
        facts["nearest is a training picture"] = float(np.mean(scores.pop("training")))
    return Measurement(
        {name: dict(zip(keys, np.mean(v, axis=0).tolist(), strict=True)) for name, v in scores.items()}, facts
    )


def _drawn(pixels: torch.Tensor, world: World) -> dict[str, np.ndarray]:
    pairs = [*world.train, *world.test]
    right = range(len(world.train), len(pairs))
    near = nearest_pictures(pixels, world.pictures, right)
    index = near.index.numpy()
    bases = np.array([pair.fact("base_codepoints") or pair.id for pair in pairs])
    exactly = index == np.array(right)
    same_base = bases[index] == bases[list(right)]
    trained = index < len(world.train)
    return {
        ERROR: near.error.double().numpy(),
        "right picture": exactly.astype(float),
        "right base": same_base.astype(float),
        "wrong tone": (same_base & trained).astype(float),
        "training": trained.astype(float),
    }


def _parts() -> tuple[Part, ...]:
    def no_worse(metric: str, arm: str, baseline: str, sign: float) -> Contrast:
        def statistic(values: Mapping[str, np.ndarray]) -> float:
            return float(sign * (values[arm].mean() - values[baseline].mean()))

        return Contrast(
            f"{metric} of {arm} is at most {MARGIN} worse than {baseline}'s",
            metric,
            (arm, baseline),
            statistic,
            -MARGIN,
        )

    readers = list(_READERS)
    return (
        Part(
            "1",
            "Specializing beats joint training again, in both directions.",
            (Comparison(WORDS, BI, JOINT, "higher"), Comparison(ERROR, BI, JOINT, "lower")),
        ),
        Part(
            "2",
            "One BiDiffuser does what two one-way networks do, at half the parameters.",
            (
                no_worse(WORDS, BI, I2T, 1.0),
                no_worse(ERROR, BI, T2I, -1.0),
                Check("it has half the parameters of the two", _half),
            ),
        ),
        Part(
            "3",
            "A language model learns captions faster from BiDiffuser's text side than from one-way features.",
            tuple(Comparison(READ, readers[0], other, "higher") for other in readers[1:]),
        ),
    )


def _half(evidence: Evidence) -> tuple[bool | None, str]:
    one, two, three = (float(evidence.arm(name).fact("parameters")) for name in (BI, I2T, T2I))
    return one <= 0.5 * (two + three), f"{one:,.0f} against {two + three:,.0f}"
