"""The stages of a design, one after the other, by `etude.training.fit`; a killed run goes on in its stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from etude.methods.speech_translation.design import BLOCKS, Stage
from etude.methods.speech_translation.examples import Batches, Speech, collate
from etude.methods.speech_translation.feature_cache import FeatureCache
from etude.methods.speech_translation.head_stop import StopAtWordErrorRate
from etude.methods.speech_translation.translator import SpeechTranslator
from etude.methods.speech_translation.utterances import Utterance
from etude.runs import Run, atomic_path, processes
from etude.training import fit


@dataclass(frozen=True)
class Schedule:
    """What all stages share.

    Attributes:
        batch_size: Examples of a step.
        seed: Of order, dropout and fresh weights.
        warmup: Share of a stage's steps.
        clip: Largest gradient norm.
        save_every: Steps between checkpoints.
        report_to: A tracker that transformers knows.
    """

    batch_size: int = 16
    seed: int = 0
    warmup: float = 0.03
    clip: float = 1.0
    save_every: int | None = None
    report_to: str = "none"


@dataclass(frozen=True)
class StageReport:
    """How one stage went.

    Attributes:
        tasks: What it learned.
        steps: Optimizer steps.
        trainable: Parameters that it trained.
        loss: Training loss at the end, in nats.
        dev_loss: Lowest development loss, None without development data.
        best_step: Its step.
        skipped: Steps left out because a loss was not a number.
        wer: Word error rate at which a stage with `until_wer` ended.
    """

    tasks: tuple[str, ...]
    steps: int
    trainable: int
    loss: float
    dev_loss: float | None
    best_step: int | None
    skipped: int
    wer: float | None = None


@dataclass(frozen=True, eq=False)
class Material:
    """The utterances of a training, with what the continuation task must write."""

    train: Sequence[Utterance]
    dev: Sequence[Utterance] = ()
    continuations: Mapping[str, str] = field(default_factory=dict)


class SkippingAdamW(torch.optim.AdamW):
    """AdamW that leaves out a step whose loss was not a number: neither weights nor moments change."""

    def __init__(self, groups: list[dict[str, Any]], translator: SpeechTranslator) -> None:
        super().__init__(groups, weight_decay=0.0)
        self._translator = translator

    def step(self, closure: Any = None) -> Any:
        """One step, or none."""
        return None if self._translator.skip_step else super().step(closure)


def block_optimizer(stage: Stage) -> Any:
    """From a translator to its optimizer, with a learning rate per block."""

    def build(model: nn.Module) -> torch.optim.Optimizer:
        assert isinstance(model, SpeechTranslator)
        modules = {"sfm": model.sfm, "adapter": model.adapter, "llm": model.llm}
        groups = [
            {"params": trained, "lr": stage.rate(block)}
            for block in BLOCKS
            if (trained := [p for p in modules[block].parameters() if p.requires_grad])
        ]
        return SkippingAdamW(groups, model)

    return build


def run_stages(
    translator: SpeechTranslator,
    materials: Sequence[Material],
    schedule: Schedule,
    run: Run,
    *,
    cache: FeatureCache | None,
) -> list[StageReport]:
    """Train through all stages; finished ones are loaded.

    Args:
        translator: Trained in place.
        materials: One per stage of its design.
        schedule: What all stages share.
        run: Keeps what is finished.
        cache: Features of the frozen encoder; not used in stages that train the encoder.
    """
    reports = []
    for number, (stage, material) in enumerate(zip(translator.design.stages, materials, strict=True)):
        step, file = f"stage-{number}", run.path / "stages" / f"{number}.safetensors"
        translator.set_stage(stage)
        if run.finished(step):
            translator.load_trained(load_file(file))
            record = run.record(step)
            translator.skipped = record["skipped"]
        else:
            report = train_stage(translator, stage, material, schedule, run.path / step, cache=cache)
            with atomic_path(file) as temporary:
                save_file(translator.trained_tensors(), temporary)
            record = report.__dict__ | {"tasks": list(report.tasks)}
            run.finish(step, record)
        reports.append(StageReport(**record | {"tasks": tuple(record["tasks"])}))
    return reports


def train_stage(
    translator: SpeechTranslator,
    stage: Stage,
    material: Material,
    schedule: Schedule,
    out: Path,
    *,
    cache: FeatureCache | None,
) -> StageReport:
    """One stage; `out` keeps its checkpoints."""
    translator.set_stage(stage)
    used = cache if stage.state("sfm") == "frozen" else None

    def batches(utterances: Sequence[Utterance], count: int | None) -> Batches:
        return Batches(
            utterances,
            stage.tasks,
            Speech(utterances, used),
            batch_size=schedule.batch_size,
            count=count,
            seed=schedule.seed,
            continuations=material.continuations,
        )

    stop = None
    if stage.until_wer is not None:
        stop = StopAtWordErrorRate(translator, stage, material.dev or material.train[:64], used)
    fitted = fit(
        translator,
        batches(material.train, stage.steps * processes()),  # each of them takes a batch
        batches(material.dev, None) if material.dev and stop is None else None,
        out=out,
        steps=stage.steps,
        batch_size=1,
        learning_rate=stage.rate("adapter"),
        warmup=schedule.warmup,
        clip=schedule.clip,
        seed=schedule.seed,
        save_every=schedule.save_every,
        collate=collate,
        optimizer=block_optimizer(stage),
        callbacks=[stop] if stop else [],
        report_to=schedule.report_to,
        label="+".join(stage.tasks),
    )
    return StageReport(
        tasks=stage.tasks,
        steps=fitted.steps,
        trainable=translator.parameter_counts()["trainable"],
        loss=fitted.train_loss,
        dev_loss=fitted.best_eval_loss,
        best_step=fitted.best_step,
        skipped=translator.skipped,
        wer=stop.wer if stop else None,
    )


def stage_data(stage: Stage, default: Sequence[Utterance]) -> Sequence[Utterance]:
    """The utterances of a stage: its own file's, else those given to `train`."""
    if stage.data is None:
        return default
    from etude.methods.speech_translation.utterances import read_utterances

    return read_utterances(stage.data)
