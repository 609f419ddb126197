"""TMPT and its baselines as equals: the same posts, the same head width, the same epochs and selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from etude.errors import EtudeError
from etude.methods.tmpt.clip_head import ClipHead, clip_rows
from etude.methods.tmpt.feature_cache import FeatureCache
from etude.methods.tmpt.metrics import Scores, score
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.posts import label_numbers
from etude.methods.tmpt.rows import load_vision_once
from etude.methods.tmpt.rows_training import ask_rows, train_rows
from etude.methods.tmpt.settings import TMPTConfig, Training
from etude.methods.tmpt.splits import Task
from etude.methods.tmpt.targets import Target

Baseline: TypeAlias = Literal["majority", "text", "image", "concat", "clip"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
TMPT = "tmpt"


@dataclass(frozen=True)
class Encoders:
    """Names of the models."""

    text: str = "minilm"
    vision: str = "efficientnet-lite0"
    clip: str | None = None


@dataclass(frozen=True)
class ArmRun:
    """One arm on one task with one seed.

    Attributes:
        name: `tmpt` or a baseline.
        scores: On the test posts.
        predicted: A label for each test post.
        valid_macro_f1: Of the epoch that was kept.
        training: What `FitOutcome` says; empty for the majority.
        notices: About the posts.
    """

    name: str
    scores: Scores
    predicted: list[str]
    valid_macro_f1: float | None
    training: dict[str, Any]
    notices: tuple[str, ...] = ()


def parse_baselines(text: str, clip: str | None) -> tuple[Baseline, ...]:
    """Baselines from `all`, `none` or names with commas; `clip` needs a CLIP model.

    Raises:
        EtudeError: An unknown name, or `clip` without a model.
    """
    if text == "none":
        return ()
    if text == "all":
        return BASELINES if clip else BASELINES[:-1]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in BASELINES:
            raise EtudeError(f"no baseline {name!r}", f"There are: {', '.join(BASELINES)}; or all, none.")
    if "clip" in names and clip is None:
        raise EtudeError(
            "the clip baseline needs --clip-model", "E.g. openai/clip-vit-base-patch32, or a folder."
        )
    return tuple(name for name in BASELINES if name in names)


def arm_config(name: str, config: TMPTConfig) -> TMPTConfig:
    """An arm's configuration: everything equal but what it reads.

    `text` and `image` read one modality; `concat` both, plainly: no visual prompts, no gate (the paper's
    BERT+ViT). The target stays in the text of all arms that read texts.
    """
    if name == "text":
        return replace(config, branches="text", visual_prompts=0, visual_prompt_target=False, ocr=False)
    plain = {"visual_prompts": 0, "visual_prompt_start": 1, "visual_prompt_target": False}
    shallow: dict[str, Any] = plain | {"visual_prompt_depth": "shallow", "modality_dropout": 0.0}
    if name == "image":
        return replace(config, branches="image", **shallow)
    return replace(config, gate="none", **shallow) if name == "concat" else config


def run_arm(
    name: str,
    task: Task,
    config: TMPTConfig,
    how: Training,
    encoders: Encoders,
    *,
    targets: dict[str, Target],
    seed: int,
    fits: Path,
    cache: FeatureCache,
    save: Path | None = None,
) -> ArmRun:
    """Train one arm, select its epoch on `valid`, and ask it once about `test`.

    Args:
        name: `tmpt` or a baseline.
        task: Posts.
        config: Of `tmpt`.
        how: Of every arm.
        encoders: Names.
        targets: Phrases.
        seed: Of the arm.
        fits: Folder of checkpoints.
        cache: Of features.
        save: Where the model is written, if wanted.
    """
    if name == "majority":
        predicted = _majority(task)
        return ArmRun(name, _scores(task, predicted), predicted, None, {})
    if name == "clip":
        return _clip_arm(task, how, encoders, seed, fits, cache)
    model = TMPTModel.from_encoders(
        encoders.text, encoders.vision, arm_config(name, config), targets=targets, cache=cache
    )
    model.labels = task.labels
    outcome = model.fit(task.train, task.valid, out=fits, how=how, seed=seed)
    training = {**asdict(outcome), "text_readout": model.readout, "seed": seed, **asdict(how)}
    if save is not None:
        model.save(save, training=training)
    predicted = model.predict(task.test)["label"].to_list()
    notices = model.rows([*task.train, *task.valid]).notices + model.rows(task.test).notices
    return ArmRun(name, _scores(task, predicted), predicted, outcome.valid_macro_f1, training, notices)


def _majority(task: Task) -> list[str]:
    counts = Counter(e.label for e in task.train)
    most = max(task.labels, key=lambda label: counts[label])
    return [most] * len(task.test)


def _clip_arm(
    task: Task, how: Training, encoders: Encoders, seed: int, fits: Path, cache: FeatureCache
) -> ArmRun:
    assert encoders.clip is not None
    clip = load_vision_once(encoders.clip)
    rows = clip_rows([*task.train, *task.valid, *task.test], clip, task.labels, cache)
    network = ClipHead(clip.width, len(task.labels), seed)
    first, last = len(task.train), len(task.train) + len(task.valid)
    outcome = train_rows(
        network, rows, range(first), range(first, last), how, classes=len(task.labels), seed=seed, out=fits,
        label="clip",
    )  # fmt: skip
    answers = ask_rows(network, rows, range(last, len(rows)))
    predicted = [task.labels[i] for i in answers.logits.argmax(1)]
    return ArmRun("clip", _scores(task, predicted), predicted, outcome.valid_macro_f1, asdict(outcome))


def _scores(task: Task, predicted: Sequence[str]) -> Scores:
    return score(
        label_numbers(task.test, task.labels),
        np.array([task.labels.index(label) for label in predicted], dtype=np.int64),
        task.labels,
        [e.group for e in task.test],
    )
