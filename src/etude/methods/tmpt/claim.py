"""The paper's claim on MultiClimate: do text and picture beat each alone, with few trained parameters?

Cross-validation by video: every video is tested once a seed, by a network that saw no frame of it. Rows of
one video are near-copies, so videos and seeds are what is resampled. Settings were fixed before any result
was seen. Nothing is selected on tested rows: every training runs its fixed epochs and its last weights are
asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.data.records import read_rows
from etude.errors import EtudeError
from etude.evidence import Arm, Check, Claim, Evidence, Interval, Measurement, Part, Scale, bootstrap_interval
from etude.methods.tmpt.arms import arm_config
from etude.methods.tmpt.fusion import build_network
from etude.methods.tmpt.metrics import f1_of, group_confusions
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.posts import StanceExample
from etude.methods.tmpt.rows import Rows
from etude.methods.tmpt.rows_training import ask_rows, train_rows
from etude.methods.tmpt.settings import PAPER_SEEDS, TMPTConfig, Training
from etude.methods.tmpt.targets import SUPPORT, Target
from etude.models import model_origin
from etude.render import Block, TableBlock
from etude.runs import file_hash

FILES = ("multiclimate_train.parquet", "multiclimate_dev.parquet")
TARGET = "climate change"
LABELS = SUPPORT
STATEMENT = "With few trained parameters, target-prompted text and image beat text alone and image alone."
MAJORITY, TEXT, IMAGE, CONCAT = "majority", "text", "image", "concat, plain"
TMPT, NO_TARGET, SHUFFLED = "TMPT", "TMPT, no target phrase", "TMPT, shuffled images"
MARGIN = 0.03
"""Macro-F1 within which the shuffled control counts as fallen back to the text."""


@dataclass(frozen=True)
class Budget:
    """What a scale runs.

    Attributes:
        stride: Every so many frames of a video.
        folds: Of the cross-validation.
        vision: The vision encoder.
        config: Of TMPT; the other arms read less of the same.
        how: Of every arm.
    """

    stride: int
    folds: int
    vision: str
    config: TMPTConfig
    how: Training


_FROZEN = TMPTConfig(text_tuning="frozen", image_size=128)
BUDGETS: dict[str, Budget] = {
    "laptop": Budget(5, 5, "efficientnet-lite0", _FROZEN, Training(epochs=10)),
    "slow": Budget(1, 5, "efficientnet-lite0", replace(_FROZEN, image_size=None), Training(epochs=20)),
    "paper": Budget(
        1, 5, "google/vit-base-patch16-224", TMPTConfig(text_tuning="full", gate="none"),
        Training(epochs=20, encoder_rate=5e-5),
    ),
}  # fmt: skip


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """Text and picture against each alone, with the controls, by video.

    Args:
        scale: laptop: every 5th frame, 128 pixels, frozen MiniLM and EfficientNet-Lite0, minutes. slow: every
            frame, 224 pixels. paper: BERT fine-tuned and ViT-B/16 with prompts; needs a GPU.
        data: Folder with multiclimate_train.parquet and multiclimate_dev.parquet.
        seeds: Of folds, fresh weights and order; the paper's five by default.
        model: The text encoder.

    Raises:
        EtudeError: Without the data.
    """
    text = model or ("google-bert/bert-base-uncased" if scale == "paper" else "minilm")
    return claim_on(BUDGETS[scale], scale=scale, data=data, seeds=seeds or PAPER_SEEDS, text=text)


def claim_on(budget: Budget, *, scale: str, data: Path | None, seeds: tuple[int, ...], text: str) -> Claim:
    """The claim on any budget."""
    files = [] if data is None else [data / name for name in FILES]
    missing = [path for path in files if not path.is_file()] if data is not None else list(map(Path, FILES))
    if missing:
        raise EtudeError(
            f"{'no --data folder' if data is None else data}: this claim needs {' and '.join(FILES)}",
            "Parquet with id, video, frame, target, text, label, image (JPEG bytes); made from the "
            "frames and transcripts of github.com/werywjw/MultiClimate (CC0).",
        )
    study = Study(tuple(files), budget, text)
    arms = [
        Arm(name, _runner(study, name), config={"arm": name}, seeded=name != MAJORITY)
        for name in (MAJORITY, TEXT, IMAGE, CONCAT, TMPT, NO_TARGET, SHUFFLED)
    ]
    return Claim(
        name="tmpt",
        statement=STATEMENT,
        arms=arms,
        parts=_parts(),
        metrics={"macro-F1": "higher", "weighted F1": "higher"},
        seeds=seeds,
        config={
            "scale": scale,
            "budget": asdict(budget),
            "text": model_origin(text),
            "vision": model_origin(budget.vision),
            "data": {path.name: file_hash(path) for path in files},
        },
        columns=("trained", "gate"),
        notes=(
            f"MultiClimate, train and dev videos together, one frame of {budget.stride}; {budget.folds} "
            "folds by video, other folds for each seed. Scores are over all videos of a seed.",
            "Intervals: 95 %, 2,000 resamples of videos and of seeds.",
            "All arms: the same folds, epochs, rates and head width; the last epoch's weights, no selection.",
            "The paper's figures on MultiClimate (weighted F1, fine-tuned): BERT 0.705, ViT 0.462, "
            "BERT+ViT 0.749.",
        ),
        blocks=_blocks,
    )


@dataclass(frozen=True)
class Study:
    """The posts of the claim, encoded once for each way of reading them."""

    files: tuple[Path, ...]
    budget: Budget
    text: str

    def examples(self) -> list[StanceExample]:
        """Every stride-th frame."""
        return _frames(self.files, self.budget.stride)


def _runner(study: Study, name: str) -> Callable[[int], Measurement]:
    return lambda seed: _measure(study, name, seed)


@lru_cache(maxsize=2)
def _frames(files: tuple[Path, ...], stride: int) -> list[StanceExample]:
    found = []
    for path in files:
        for line, row in read_rows(path):
            if (int(row["frame"]) - 1) % stride == 0:
                found.append(
                    StanceExample(
                        str(row["id"]), str(row["text"] or "").strip(), bytes(row["image"]), TARGET,
                        str(row["label"]), group=str(row["video"]), where=f"{path.name}:{line}",
                    )
                )  # fmt: skip
    return found


def arm_settings(name: str, config: TMPTConfig) -> TMPTConfig:
    """What an arm reads."""
    if name == NO_TARGET:
        return replace(config, targeted=False)
    return arm_config({TEXT: "text", IMAGE: "image", CONCAT: "concat"}.get(name, "tmpt"), config)


def _measure(study: Study, name: str, seed: int) -> Measurement:
    """Out-of-fold predictions of all videos, by one arm with one seed."""
    examples = study.examples()
    truth = np.array([LABELS.index(e.label or "") for e in examples], dtype=np.int64)
    videos = [e.group for e in examples]
    if name == MAJORITY:
        predicted, facts = _majority(truth, videos, study.budget.folds, seed), {"trained": 0}
    else:
        predicted, facts = _cross_validate(study, name, seed, examples, truth, videos)
    counts = group_confusions(truth, predicted, videos, len(LABELS))
    f1, weighted = overall(counts.sum(0))
    return Measurement(
        {"macro-F1": {"all videos": f1}, "weighted F1": {"all videos": weighted}},
        {"counts": counts.reshape(len(counts), -1).tolist(), **facts},
    )


def _majority(truth: NDArray[np.int64], videos: Sequence[str], folds: int, seed: int) -> NDArray[np.int64]:
    predicted = np.empty_like(truth)
    for train, test in by_video(videos, folds, seed):
        predicted[test] = np.bincount(truth[train]).argmax()
    return predicted


def _cross_validate(
    study: Study, name: str, seed: int, examples: Sequence[StanceExample], truth: NDArray[np.int64],
    videos: Sequence[str],
) -> tuple[NDArray[np.int64], dict[str, Any]]:  # fmt: skip
    model, rows = _encoded(study, arm_settings(name, study.budget.config))
    if name == SHUFFLED:
        rows = rows.with_images_of(np.random.default_rng([seed, 7]).permutation(len(rows)))
    predicted = np.empty_like(truth)
    gates, trained = [], 0
    for number, (train, test) in enumerate(by_video(videos, study.budget.folds, seed)):
        network = build_network(
            model.config, model.text, model.vision, model.readout, len(LABELS), seed * 100 + number
        )
        with tempfile.TemporaryDirectory(prefix="tmpt-claim-") as folder:
            outcome = train_rows(
                network, rows, train.tolist(), [], study.budget.how, classes=len(LABELS),
                seed=seed * 100 + number, out=Path(folder) / "fit",
            )  # fmt: skip
        predicted[test] = ask_rows(network, rows, test.tolist()).logits.argmax(1)
        trained = outcome.trained
        gates.append(outcome.gate)
    facts: dict[str, Any] = {"trained": trained}
    if gates[0] is not None:
        facts["gate"] = float(np.mean([g for g in gates if g is not None]))
    return predicted, facts


_ENCODED: dict[tuple[Study, TMPTConfig], tuple[TMPTModel, Rows]] = {}


def _encoded(study: Study, config: TMPTConfig) -> tuple[TMPTModel, Rows]:
    """The posts as a configuration reads them, encoded once in this process."""
    key = (study, config)
    if key not in _ENCODED:
        targets = {TARGET: Target(TARGET, TARGET, LABELS)}
        model = TMPTModel.from_encoders(study.text, study.budget.vision, config, targets=targets)
        model.labels = LABELS
        _ENCODED[key] = (model, model.rows(study.examples()))
    return _ENCODED[key]


def by_video(
    videos: Sequence[str], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test rows of each fold; a video is never in both."""
    from sklearn.model_selection import GroupKFold

    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(videos)), groups=list(videos)))


def overall(confusion: NDArray[Any]) -> tuple[float, float]:
    """Macro and weighted F1 of counts (true, predicted)."""
    each, sizes = f1_of(confusion), confusion.sum(1)
    return float(each.mean()), float((each * sizes).sum() / sizes.sum())


def difference(evidence: Evidence, arm: str, baseline: str) -> Interval:
    """Macro-F1 of an arm minus a baseline's, with its interval over videos and seeds.

    Raises:
        KeyError: An arm was not measured on every seed.
    """
    ours, theirs = (_counts(evidence, name) for name in (arm, baseline))  # (seeds, videos, C, C)

    def gain(video: NDArray[Any], seed: NDArray[Any]) -> NDArray[np.float64]:
        picked = (c[seed[:, :, None], video[:, None, :]].sum(2) for c in (ours, theirs))
        one, other = (f1_of(c).mean(-1) for c in picked)  # (resamples, seeds)
        return np.asarray((one - other).mean(-1))

    seeds, videos = ours.shape[:2]
    low, high = bootstrap_interval(gain, videos, seeds, resamples=2000)
    value = gain(np.arange(videos)[None], np.arange(seeds)[None])[0]
    return Interval(float(value), low, high)


def _counts(evidence: Evidence, name: str) -> NDArray[np.int64]:
    arm = evidence.arm(name)
    found = []
    for seed in evidence.seeds:
        held = seed if arm.seeded else next(iter(arm.measurements))
        if held not in arm.measurements:
            raise KeyError(f"{name}, seed {seed}")
        found.append(np.array(arm.measurements[held].facts["counts"]).reshape(-1, len(LABELS), len(LABELS)))
    return np.stack(found)


def _better(arm: str, baseline: str) -> Check:
    def check(evidence: Evidence) -> tuple[bool | None, str]:
        found = difference(evidence, arm, baseline)
        return (True if found.low > 0 else False if found.high < 0 else None), f"{found}"

    return Check(f"{arm} has higher macro-F1 than {baseline}", check)


def _falls_back() -> Check:
    def check(evidence: Evidence) -> tuple[bool | None, str]:
        found = difference(evidence, SHUFFLED, TEXT)
        if found.low > -MARGIN and found.high < MARGIN:
            return True, f"{found}"
        return (False if found.high < -MARGIN or found.low > MARGIN else None), f"{found}"

    return Check(f"{SHUFFLED} falls back to {TEXT}: within {MARGIN} macro-F1", check)


def _parts() -> tuple[Part, ...]:
    return (
        Part(
            "fusion", "Target-prompted text and prompted picture beat each modality alone",
            (_better(TMPT, TEXT), _better(TMPT, IMAGE)),
        ),
        Part("plain fusion", "Prompted fusion beats plain fusion", (_better(TMPT, CONCAT),)),
        Part("picture", "The picture alone tells something", (_better(IMAGE, MAJORITY),)),
        Part("target phrase", "Naming the target in the prompt helps", (_better(TMPT, NO_TARGET),)),
        Part(
            "shuffled images", "With other posts' pictures the model falls back to its text",
            (_falls_back(),),
        ),
    )  # fmt: skip


def _blocks(evidence: Evidence) -> list[Block]:
    """Differences, and F1 by label."""
    rows = []
    for baseline in (MAJORITY, TEXT, IMAGE, CONCAT, NO_TARGET, SHUFFLED):
        try:
            found = difference(evidence, TMPT, baseline)
        except (KeyError, StopIteration):
            continue
        rows.append([f"{TMPT} − {baseline}", found.value, found.low, found.high])
    labels: list[Sequence[Any]] = []
    for arm in evidence.arms:
        if arm.measurements:
            counts = [_matrix(m.facts) for m in arm.measurements.values()]
            labels.append([arm.name, *(float(v) for v in np.mean([f1_of(c) for c in counts], axis=0))])
    return [
        TableBlock(
            ("macro-F1", "difference", "low", "high"), rows, "TMPT against every arm (videos and seeds)"
        ),
        TableBlock(("arm", *LABELS), labels, "F1 by label, mean over seeds"),
    ]


def _matrix(facts: Mapping[str, Any]) -> NDArray[np.int64]:
    return np.asarray(np.array(facts["counts"]).sum(0).reshape(len(LABELS), len(LABELS)))
