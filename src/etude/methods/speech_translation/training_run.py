"""The verb `train`: utterances become a translator; the same command resumes after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.speech_translation.continuations import write_continuations
from etude.methods.speech_translation.ctc_compression import characters_of
from etude.methods.speech_translation.design import (
    AdapterBlock,
    Design,
    Stage,
    Task,
    design_from,
    read_design,
)
from etude.methods.speech_translation.feature_cache import FeatureCache
from etude.methods.speech_translation.mixing import templates_of
from etude.methods.speech_translation.published_systems import preset_design
from etude.methods.speech_translation.staged_training import (
    Material,
    Schedule,
    StageReport,
    run_stages,
    stage_data,
)
from etude.methods.speech_translation.tasks import check_fields
from etude.methods.speech_translation.translator import SpeechTranslator
from etude.methods.speech_translation.translator_folder import save_translator
from etude.methods.speech_translation.utterances import Utterance, read_utterances, require, within_length
from etude.render import console, table
from etude.runs import Run, content_hash

if TYPE_CHECKING:
    from rich.console import RenderableType

SHORTEST, LONGEST = 0.2, 30.0  # seconds of an utterance in the standard setting


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Args:
        out: The translator's folder.
        preset: What it started from.
        sfm: Speech model.
        adapters: Length adapter and modality adapter.
        llm: Language model.
        utterances: Trained on.
        development: Kept to choose the checkpoint.
        left_out: Shorter than 0.2 s or longer than 30 s.
        parameters: Of each block, and trained in the last stage.
        stages: One report per stage.
        all_blank: Utterances whose CTC path was all blank, over all steps.
    """

    out: str
    preset: str
    sfm: str
    adapters: str
    llm: str
    utterances: int
    development: int
    left_out: int
    parameters: dict[str, int]
    stages: list[dict[str, Any]]
    all_blank: int = 0

    def __rich__(self) -> RenderableType:
        """The blocks and the stages."""
        from rich.console import Group

        rows: list[list[Any]] = [
            ["speech model", self.sfm],
            ["adapters", self.adapters],
            ["language model", self.llm],
            ["utterances", f"{self.utterances:,} ({self.left_out} left out by length)"],
            ["development", self.development],
            ["parameters, trained", f"{self.parameters['trainable']:,}"],
            ["translator", self.out],
        ]
        if self.all_blank:
            rows.insert(-1, ["all-blank CTC paths", self.all_blank])
        columns = ["stage", "tasks", "steps", "trained", "loss", "dev loss", "best step", "skipped", "WER"]
        keys = ("steps", "trainable", "loss", "dev_loss", "best_step", "skipped", "wer")
        stages = [
            [i, "+".join(s["tasks"]), *(s[key] for key in keys)] for i, s in enumerate(self.stages, start=1)
        ]
        return Group(table(["speech-translation train", ""], rows), table(columns, stages))


@verb
def train(
    data: str,
    *,
    out: Path,
    target_lang: str | None = None,
    preset: str = "base",
    sfm: str = "whisper-base",
    la: str | None = None,
    ma: str | None = None,
    llm: str = "smollm2",
    tasks: tuple[Task, ...] = ("st",),
    stages: str | None = None,
    steps: int = 1000,
    design: Path | None = None,
    dev: str | None = None,
    window: str = "true",
    batch_size: int = 16,
    learning_rate: float | None = None,
    features: Path | None = None,
    report_to: str = "none",
    seed: int = 0,
) -> TrainResult:
    """Train a speech translator: a speech encoder joined to a language model by adapters.

    Encoder and language model stay frozen unless a preset or --design thaws them. The same command after a
    kill goes on where it was. Published systems: etude speech-translation presets

    Args:
        data: Table with id, audio (path or path:start:end), transcript, translation, source_lang, target_lang
            (.tsv, .jsonl, .csv, .parquet), a Kaldi folder, a saved dataset or a hub id. Rows whose `split` is
            dev are used as --dev.
        out: Folder for the translator.
        target_lang: Code of the language to write, where the rows do not say it.
        preset: Published system to start from.
        sfm: Speech model: whisper-tiny.en, whisper-base, a directory, a hub id; `preset` for the paper's.
        la: Length adapter: none, conv, stack, pool, wlq, ctc, cif, with options: conv:layers=3.
        ma: Modality adapter: linear, mlp, transformer, conformer, none, with options: mlp:hidden=512.
        llm: Language model: smollm2, a directory, a hub id; `preset` for the paper's.
        tasks: asr, st, chain (transcript, then translation), qa, continuation. Without --stages or --design.
        stages: Stages as tasks@steps, e.g. asr@300,st@600; with ctc, ctc@200 first trains its head alone, and
            ctc@500:wer=0.1 at most 500 steps, until its word error rate on --dev is 0.1.
        steps: Optimizer steps of a training without --stages.
        design: TOML or YAML file with sfm, length_adapter, modality_adapter, mixer, llm, stages; it replaces
            the preset and all of these options.
        dev: Data that chooses the checkpoint.
        window: Whisper reads audio at its `true` length, or `padded` to 30 s as in its own training.
        batch_size: Examples of a step.
        learning_rate: Peak rate of the adapters.
        features: Folder of the feature cache; etude's own by default.
        report_to: A tracker that transformers knows, e.g. tensorboard.
        seed: Of weights and order.

    Raises:
        EtudeError: Anything wrong with the data or the settings.
    """
    everything = read_utterances(data)
    kept = [u for u in everything if u.split in (None, "", "train")]
    chosen = [u for u in everything if u.split in ("dev", "validation", "valid")]
    if dev is not None:
        chosen = read_utterances(dev)
    if target_lang:
        kept, chosen = (
            [u if u.target_lang else u.model_copy(update={"target_lang": target_lang}) for u in part]
            for part in (kept, chosen)
        )
    if not kept:
        raise EtudeError(f"{data}: no utterance for training", "Their `split` is empty or train.")
    if design is not None:
        wanted = read_design(design)
    else:
        wanted = assembled_design(
            preset, sfm=sfm, la=la, ma=ma, llm=llm, tasks=tasks, stages=stages, steps=steps, window=window
        )
        if learning_rate is not None:
            wanted = _with_rate(wanted, learning_rate)
    for stage in wanted.stages:
        if stage.data is None:
            check_fields(kept, stage.tasks)
            check_fields(chosen, stage.tasks)
    schedule = Schedule(batch_size=batch_size, seed=seed, report_to=report_to)
    return train_design(
        wanted, kept, chosen, schedule, out=out, name=str(design or preset), features=features
    )


def train_design(
    design: Design,
    utterances: Sequence[Utterance],
    dev: Sequence[Utterance],
    schedule: Schedule,
    *,
    out: Path,
    name: str = "",
    features: Path | None = None,
    device: str | None = None,
) -> TrainResult:
    """`train` for a design and utterances in memory.

    Args:
        design: The five blocks and the stages.
        utterances: Trained on; those under 0.2 s or over 30 s are left out.
        dev: Choose the checkpoint; may be empty.
        schedule: Batch size, seed, tracker.
        out: Folder for the translator.
        name: Of the preset, for the report.
        features: Folder of the feature cache.
        device: Default: the GPU if there is one.
    """
    design = with_vocabulary(design, utterances)
    for stage in design.stages:  # the user's own templates are refused before anything is computed
        for task in stage.tasks:
            templates_of(design.mixer, task)
    kept, left_out = within_length(utterances, SHORTEST, LONGEST)
    if not kept:
        raise EtudeError(
            f"no utterance has {SHORTEST} to {LONGEST:g} s",
            "Cut long recordings: audio may be path:start:end in seconds.",
        )
    if left_out:
        console().print(f"{left_out} utterances under {SHORTEST} s or over {LONGEST:g} s are left out")
    config = {
        "design": design.model_dump(mode="json"),
        "utterances": content_hash([u.model_dump(exclude={"base"}) for u in kept]),
        "dev": content_hash([u.model_dump(exclude={"base"}) for u in dev]),
        "schedule": asdict(schedule),
    }
    with Run(out, config, command="speech-translation train") as run:
        if run.result is not None:
            return TrainResult(**run.result)
        torch.manual_seed(schedule.seed)
        translator = SpeechTranslator.build(design, device=device)
        frozen = any(stage.state("sfm") == "frozen" for stage in design.stages)
        cache = FeatureCache(translator.sfm, features) if frozen else None
        materials = [_material(stage, kept, dev, translator, run) for stage in design.stages]
        reports: list[StageReport] = run_stages(translator, materials, schedule, run, cache=cache)
        own: Any = translator.length_adapter
        facts = {
            "window": design.sfm.window,
            "target_langs": sorted({u.target_lang for u in kept if u.target_lang}),
            "stages": [asdict(report) for report in reports],
            "parameters": translator.parameter_counts(),
        }
        save_translator(out, translator, facts)
        result = TrainResult(
            out=str(out),
            preset=name,
            sfm=design.sfm.name,
            adapters=f"{_shown(design.length_adapter)} > {_shown(design.modality_adapter)}",
            llm=design.llm.name,
            utterances=len(kept),
            development=len(dev),
            left_out=left_out,
            parameters=translator.parameter_counts(),
            stages=[asdict(report) | {"tasks": list(report.tasks)} for report in reports],
            all_blank=int(getattr(own, "all_blank", 0)),
        )
        run.complete(asdict(result))
        return result


def assembled_design(
    preset: str,
    *,
    sfm: str = "whisper-base",
    la: str | None = None,
    ma: str | None = None,
    llm: str = "smollm2",
    tasks: Sequence[Task] = ("st",),
    stages: str | None = None,
    steps: int = 1000,
    window: str = "true",
) -> Design:
    """A preset with what the user replaces."""
    design = preset_design(preset)
    value = design.model_dump()
    if sfm != "preset":
        value["sfm"]["name"] = sfm
    if llm != "preset":
        value["llm"]["name"] = llm
    value["sfm"]["window"] = window
    if la is not None:
        value["length_adapter"] = AdapterBlock.parse(la).model_dump()
    if ma is not None:
        value["modality_adapter"] = AdapterBlock.parse(ma).model_dump()
    states = dict(design.stages[-1].trainable)
    if stages is not None:
        made = []
        for text in stages.split(","):
            head = text.strip().startswith(("ctc@", "cif@"))
            plain, _, limit = text.strip().partition(":wer=")
            one = Stage.parse("asr" + plain[3:] if head else plain)
            value_of = {**one.model_dump(), "supervise_only": head, "trainable": {} if head else states}
            made.append(value_of | {"until_wer": limit or None})
        value["stages"] = made
    else:
        value["stages"] = [Stage(tasks=tuple(tasks), steps=steps, trainable=states).model_dump()]
    return design_from(value, f"--preset {preset}")


def with_vocabulary(design: Design, utterances: Sequence[Utterance]) -> Design:
    """The design with the characters of the transcripts as CTC vocabulary.

    Raises:
        EtudeError: A length adapter that learns from transcripts, and utterances without.
    """
    block = design.length_adapter
    if block.kind in ("ctc", "cif"):
        require(utterances, "transcript", f"the length adapter {block.kind}")
    if block.kind != "ctc" or "vocabulary" in block.options:
        return design
    known = characters_of([u.transcript or "" for u in utterances])
    options = {**block.options, "vocabulary": known}
    return design.model_copy(update={"length_adapter": AdapterBlock(kind="ctc", options=options)})


def _material(
    stage: Stage, kept: Sequence[Utterance], dev: Sequence[Utterance], translator: SpeechTranslator, run: Run
) -> Material:
    utterances = stage_data(stage, kept)
    check_fields(utterances, stage.tasks)
    told: dict[str, str] = {}
    if "continuation" in stage.tasks:
        both = [*utterances, *dev]
        told = write_continuations(run.path / "continuations.jsonl", both, translator.mixer, translator.llm)
    return Material(utterances, dev, told)


def _with_rate(design: Design, rate: float) -> Design:
    stages = tuple(s.model_copy(update={"lr": {**s.lr, "adapter": rate}}) for s in design.stages)
    return design.model_copy(update={"stages": stages})


def _shown(block: AdapterBlock) -> str:
    options = ",".join(f"{k}={v}" for k, v in block.options.items() if k != "vocabulary")
    return f"{block.kind}:{options}" if options else block.kind
