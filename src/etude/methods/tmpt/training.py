"""`train`: posts become a stance model, beside its baselines on the same split."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.evidence import parse_seeds
from etude.methods import verb
from etude.methods.tmpt.arms import TMPT, ArmRun, Encoders, parse_baselines, run_arm
from etude.methods.tmpt.feature_cache import FeatureCache
from etude.methods.tmpt.reading import read_data
from etude.methods.tmpt.reporting import arms_table, write_page
from etude.methods.tmpt.settings import Branches, Depth, Gate, TMPTConfig, Training, Tuning
from etude.methods.tmpt.splits import Setting, Task, dataset_digest, make_tasks
from etude.methods.tmpt.text_prompt import Readout
from etude.models import model_origin
from etude.render import console
from etude.runs import Run, content_hash, read_json, write_json


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Attributes:
        out: The run's folder.
        tasks: Task to what its arms scored over the seeds, and the folder of the kept model.
        notices: What a reader should know about the data.
    """

    out: str
    tasks: dict[str, dict[str, Any]]
    notices: tuple[str, ...] = field(default_factory=tuple)

    def __rich__(self) -> Any:
        """A table for each task, and the notices."""
        from rich.console import Group

        from etude.render import show

        drawn: list[Any] = [show(arms_table(name, task)) for name, task in self.tasks.items()]
        models = [f"model: {Path(self.out) / task['model']}" for task in self.tasks.values()]
        return Group(*drawn, *models, *(f"note: {notice}" for notice in self.notices))


@verb
def train(
    data: Path,
    *,
    out: Path,
    images: Path | None = None,
    targets: Path | None = None,
    text_model: str = "minilm",
    vision_model: str = "efficientnet-lite0",
    clip_model: str | None = None,
    setting: Setting = "in-target",
    hold_out: str | None = None,
    baselines: str = "all",
    seeds: str = "42",
    branches: Branches = "both",
    text_tuning: Tuning = "full",
    text_readout: Readout | None = None,
    text_tokens: int = 20,
    lora_rank: int = 8,
    max_length: int = 400,
    target_phrase: bool = True,
    visual_prompts: int = 7,
    visual_prompt_depth: Depth = "shallow",
    visual_prompt_start: int = 1,
    visual_prompt_target: bool = False,
    prompt_dropout: float = 0.0,
    width: int = 300,
    gate: Gate = "learned",
    modality_dropout: float = 0.0,
    image_size: int | None = None,
    split_tags: bool = False,
    ocr: bool = False,
    epochs: int | None = None,
    batch_size: int = 64,
    encoder_rate: float = 1e-5,
    linear_rate: float = 1e-3,
    prompt_rate: float = 1e-3,
    weight_decay: float = 1e-2,
    warmup: float = 0.0,
    group_by: str | None = None,
    allow_missing: bool = False,
    strict: bool = False,
) -> TrainResult:
    """Train on posts and compare with text alone, picture alone and plain fusion on the same split.

    The same command after a kill goes on where it was and ends with the same weights.

    Args:
        data: A table (CSV, TSV, JSONL, Parquet; id, text, image, target, label, perhaps split, rationale), a
            hub id, or a folder of MMSD.
        out: Folder for models, metrics.json, predictions and report.html.
        images: Folder of the pictures; default: the table's folder.
        targets: targets.toml with the prompt phrase and the labels of each target.
        text_model: Text encoder: embedded name, directory or hub id.
        vision_model: Vision encoder (ViT or CNN): the same.
        clip_model: CLIP model of the clip baseline.
        setting: in-target: a model for each target. zero-shot: train on the others, test on --hold-out.
            pooled: one model for all targets.
        hold_out: The target that zero-shot tests on.
        baselines: all, none, or some of majority,text,image,concat,clip.
        seeds: E.g. 42 or 42,67,2022,31,15 (the paper's).
        branches: What the model itself reads: both, text or image.
        text_tuning: full (the released code), prompt (soft tokens), lora or frozen.
        text_readout: mask, mean or cls; default: mask for encoders that fill masks, else mean.
        text_tokens: Soft tokens of --text-tuning prompt.
        lora_rank: Rank of --text-tuning lora.
        max_length: Most tokens of text and prompt.
        target_phrase: Name the target in the prompt.
        visual_prompts: How many; 0 for none.
        visual_prompt_depth: shallow, or deep: fresh ones at each block of a ViT.
        visual_prompt_start: Block of a ViT at which they enter; those before it are computed once.
        visual_prompt_target: Let the visual prompts see the target.
        prompt_dropout: On visual prompts.
        width: Fusion width.
        gate: A learned factor on the visual half, or none as in the paper.
        modality_dropout: Share of training posts whose picture is hidden.
        image_size: Side in pixels; default: the vision encoder's own.
        split_tags: Cut hashtags and mentions into words.
        ocr: Append the text read in the picture.
        epochs: Default: 20, zero-shot 15.
        batch_size: Posts a step (paper: 64); fewer, e.g. 16, where there are only some hundred posts.
        encoder_rate: Learning rate of the text encoder.
        linear_rate: Learning rate of projections, adapter and classifier.
        prompt_rate: Learning rate of prompts and LoRA.
        weight_decay: AdamW's, on matrices.
        warmup: Share of the steps in which the rates rise.
        group_by: Column whose equal values stay in one split, e.g. post or video.
        allow_missing: Leave out rows that name no picture, or one that is not there.
        strict: Refuse the same id or picture in two splits.

    Returns:
        Scores of every arm on the test posts.

    Raises:
        EtudeError: For anything wrong with the data or the settings.
    """
    config = TMPTConfig(
        branches=branches, text_tuning=text_tuning, text_readout=text_readout, text_tokens=text_tokens,
        lora_rank=lora_rank, max_length=max_length, targeted=target_phrase, visual_prompts=visual_prompts,
        visual_prompt_depth=visual_prompt_depth, visual_prompt_start=visual_prompt_start,
        visual_prompt_target=visual_prompt_target, prompt_dropout=prompt_dropout, width=width, gate=gate,
        modality_dropout=modality_dropout, image_size=image_size, split_tags=split_tags, ocr=ocr,
    )  # fmt: skip
    how = Training(
        epochs=epochs or (15 if setting == "zero-shot" else 20), batch_size=batch_size,
        encoder_rate=encoder_rate, linear_rate=linear_rate, prompt_rate=prompt_rate,
        weight_decay=weight_decay, warmup=warmup,
    )  # fmt: skip
    arms = (TMPT, *parse_baselines(baselines, clip_model))
    encoders = Encoders(text_model, vision_model, clip_model)
    posts = read_data(data, images=images, targets=targets, group_by=group_by, allow_missing=allow_missing)
    tasks = make_tasks(posts, setting, hold_out=hold_out, strict=strict)
    origins = {n: model_origin(n) for n in (text_model, vision_model, clip_model) if n}
    run_config = {
        "data": dataset_digest(posts), "setting": setting, "hold_out": hold_out, "arms": list(arms),
        "seeds": seeds, "config": asdict(config), "training": asdict(how), "encoders": origins,
    }  # fmt: skip
    with Run(out, run_config, command="tmpt train") as run:
        if run.result is not None:
            return TrainResult(**{**run.result, "notices": tuple(run.result["notices"])})
        notices = [*posts.notices, *(f"{t.name}: {notice}" for t in tasks for notice in t.notices)]
        for notice in notices:
            console().print(f"note: {notice}")
        found: dict[str, dict[str, Any]] = {}
        for task in tasks:
            runs = [
                _measure(run, task, arm, seed, config, how, encoders, posts.targets)
                for arm in arms
                for seed in (parse_seeds(seeds) if arm != "majority" else parse_seeds(seeds)[:1])
            ]
            found[task.name] = _summary(run.path, task, runs)
            notices += [n for n in runs[0]["notices"] if n not in notices]
        differing = {task.name: _write_predictions(run.path, task, found[task.name]) for task in tasks}
        write_json(run.path / "metrics.json", {"setting": setting, "tasks": found, "notices": notices})
        write_page(run.path / "report.html", found, notices, differing)
        result = TrainResult(out=str(out), tasks=found, notices=tuple(notices))
        run.complete(asdict(result))
        shutil.rmtree(run.path / "fit", ignore_errors=True)
        return result


def _measure(
    run: Run,
    task: Task,
    arm: str,
    seed: int,
    config: TMPTConfig,
    how: Training,
    encoders: Encoders,
    targets: Any,
) -> dict[str, Any]:
    """One arm with one seed, as a step of the run."""
    place = folder_name(task.name)
    model = run.path / "models" / place / f"seed-{seed}"

    def work() -> dict[str, Any]:
        console().print(f"{task.name}: {arm}, seed {seed}")
        fits = run.path / "fit" / place / f"{arm}-{seed}"
        found: ArmRun = run_arm(
            arm, task, config, how, encoders, targets=dict(targets), seed=seed, fits=fits,
            cache=FeatureCache(), save=model if arm == TMPT else None,
        )  # fmt: skip
        shutil.rmtree(fits, ignore_errors=True)
        return asdict(found) | {"seed": seed}

    return dict(run.step(f"{task.name}|{arm}|{seed}", work))


def folder_name(task: str) -> str:
    """A task's folder: letters and digits of its name, with a digest where something was lost."""
    safe = (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_ ") else "" for c in task)
        .strip()
        .replace(" ", "-")
    )
    return (
        safe[:60] if safe == task.replace(" ", "-") else f"{safe[:50]}-{content_hash(task)[:8]}".lstrip("-")
    )


def _summary(path: Path, task: Task, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean, deviation and standard error over seeds of every arm; the model that selection prefers."""
    arms: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(r["name"] for r in runs):
        own = [r for r in runs if r["name"] == name]
        entry: dict[str, Any] = {"seeds": [r["seed"] for r in own]}
        for metric in ("macro_f1", "weighted_f1", "accuracy"):
            values = np.array([r["scores"][metric] for r in own])
            std = float(values.std(ddof=1)) if len(values) > 1 else None
            sem = None if std is None else std / float(np.sqrt(len(values)))
            entry[metric] = {"mean": float(values.mean()), "std": std, "sem": sem, "by_seed": values.tolist()}
        best = max(own, key=lambda r: -1.0 if r["valid_macro_f1"] is None else r["valid_macro_f1"])
        entry |= {
            "per_class": best["scores"]["per_class"],
            "confusion": best["scores"]["confusion"],
            "ci95": best["scores"]["ci95"],
            "kept_seed": best["seed"],
            "valid_macro_f1": best["valid_macro_f1"],
            "trainable_params": best["training"].get("trained", 0),
            "total_params": best["training"].get("total", 0),
            "gate": best["training"].get("gate"),
            "wall_s": round(sum(r["training"].get("seconds", 0.0) for r in own), 3),
        }
        arms[name] = entry
    kept = path / "models" / folder_name(task.name) / f"seed-{arms[TMPT]['kept_seed']}"
    return {
        "labels": list(task.labels),
        "rows": {"train": len(task.train), "valid": len(task.valid), "test": len(task.test)},
        "arms": arms,
        "model": str(kept.relative_to(path)),
    }


def _write_predictions(path: Path, task: Task, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The kept model's predictions for the test posts, with their labels.

    Returns:
        Those in which text and picture point to different stances, with the text.
    """
    import polars as pl

    from etude.methods.tmpt.model import TMPTModel
    from etude.runs import atomic_path

    model = TMPTModel.load(path / found["model"])
    frame = model.predict(task.test).with_columns(pl.Series("true_label", [e.label for e in task.test]))
    with atomic_path(path / "predictions" / f"{folder_name(task.name)}.csv") as temporary:
        frame.write_csv(temporary)
    frame = frame.with_columns(pl.Series("text", [e.text for e in task.test]))
    return frame.filter("modalities_differ").to_dicts()


def find_model(path: Path, target: str | None = None) -> dict[str, Path]:
    """The models of a folder: itself, or those of a `train` run by task.

    Args:
        path: A model folder, or what `train --out` wrote.
        target: Only this task's.

    Raises:
        EtudeError: It is neither.
    """
    if (path / "model.safetensors").is_file():
        return {"": path}
    if not (path / "metrics.json").is_file():
        raise EtudeError(
            f"{path}: neither a model folder nor a finished run of `etude tmpt train`",
            "Give its --out folder.",
        )
    tasks: dict[str, Any] = read_json(path / "metrics.json")["tasks"]
    return {name: path / task["model"] for name, task in tasks.items() if target in (None, name)}
