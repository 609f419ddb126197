"""The verb `evaluate`: scores of a system, its costs, its failures, and the shuffled-audio control."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.speech_translation.design import Task
from etude.methods.speech_translation.output_journal import Output, OutputJournal
from etude.methods.speech_translation.quality import (
    METRICS,
    Quality,
    failure_counts,
    translation_quality,
    word_error_rate,
)
from etude.methods.speech_translation.systems import System, open_system, transcriber_of
from etude.methods.speech_translation.translating import TOGETHER, translate_each, with_languages
from etude.methods.speech_translation.utterances import Utterance, read_utterances, require
from etude.render import table
from etude.runs import Run, content_hash

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class EvaluateResult:
    """A system's scores.

    Args:
        model: The system.
        task: What was asked.
        utterances: How many.
        beams: 1 is greedy.
        scores: Metric to score; chrF++ and BLEU 0 to 100, WER a share.
        signatures: sacreBLEU's.
        shuffled: The same scores with every utterance's audio exchanged for another's.
        failures: Outputs that are empty, refuse or loop.
        speech_tokens: Vectors into the language model per utterance, mean.
        frames_per_token: Features of the encoder per vector.
        real_time_factor: Seconds of work per second of audio.
        memory_mb: Peak memory of the process (of the GPU where there is one).
        notes: What could not be computed.
        out: Folder with outputs.jsonl.
    """

    model: str
    task: str
    utterances: int
    beams: int
    scores: dict[str, float]
    signatures: dict[str, str]
    shuffled: dict[str, float]
    failures: dict[str, int]
    speech_tokens: float
    frames_per_token: float | None
    real_time_factor: float
    memory_mb: float
    notes: list[str] = field(default_factory=list)
    out: str | None = None

    def __rich__(self) -> RenderableType:
        """Scores beside the control, costs, failures, signatures."""
        from rich.console import Group

        from etude.render import Text, show

        control = {name: self.shuffled.get(name) for name in self.scores}
        rows: list[list[Any]] = [[name, value, control[name]] for name, value in self.scores.items()]
        rows += [
            ["speech tokens", self.speech_tokens, None],
            ["frames per speech token", self.frames_per_token, None],
            ["real-time factor", self.real_time_factor, None],
            ["peak memory, MB", self.memory_mb, None],
            *([f"{what} outputs", float(count), None] for what, count in self.failures.items()),
        ]
        said = [*self.signatures.values(), *self.notes]
        title = f"{self.model}: {self.utterances} utterances, {self.task}, beam {self.beams}"
        return Group(table(["", "score", "shuffled audio"], rows, title=title), show(Text("\n".join(said))))


@verb
def evaluate(
    model: str,
    data: str,
    *,
    metrics: tuple[str, ...] = ("chrf", "bleu", "comet"),
    target_lang: str | None = None,
    split: str | None = None,
    task: Task | None = None,
    prompt: str | None = None,
    beams: int = 1,
    max_tokens: int = 128,
    control: bool = True,
    batch_size: int = TOGETHER,
    limit: int | None = None,
    sfm: str = "whisper-base",
    llm: str = "smollm2",
    out: Path | None = None,
) -> EvaluateResult:
    """Score a translator, the cascade or Whisper's own translation on utterances with references.

    Beside the scores stand those with exchanged audio: if they are as good, the speech is ignored.

    Args:
        model: A trained translator's folder, cascade, or whisper-translate.
        data: As for `train`; rows need `translation` (or `transcript` for asr).
        metrics: chrf (chrF++), bleu, comet (when installed and its model is at hand), wer (of the system's
            own transcripts: the recognizer's, what it writes for asr, or what its CTC head hears).
        target_lang: Where the rows do not say it.
        split: Only rows of this split.
        task: asr, st or chain; what it was trained for by default.
        prompt: Another prompt, with one {speech}.
        beams: 1 is greedy.
        max_tokens: Of an answer.
        control: Also run with exchanged audio.
        batch_size: Recordings that are translated at once, those of like length.
        limit: Only the first so many rows.
        sfm: Whisper of the baselines.
        llm: Language model of cascade.
        out: Folder for outputs.jsonl; the same command goes on with it after a kill.

    Raises:
        EtudeError: Anything wrong with the data, the system or the metrics.
    """
    unknown = set(metrics) - set(METRICS)
    if unknown:
        raise EtudeError(f"no metric {', '.join(sorted(unknown))}", f"There are: {', '.join(METRICS)}.")
    system = open_system(model, sfm=sfm, llm=llm, prompt=prompt, task=task, max_tokens=max_tokens)
    utterances = with_languages(read_utterances(data, split=split)[:limit], system, model, target_lang, None)
    return evaluate_system(
        system, utterances, metrics=metrics, beams=beams, control=control, prompt=prompt, out=out,
        batch_size=batch_size,
    )  # fmt: skip


def evaluate_system(
    system: System,
    utterances: Sequence[Utterance],
    *,
    metrics: Sequence[str] = ("chrf", "bleu"),
    beams: int = 1,
    control: bool = True,
    prompt: str | None = None,
    out: Path | None = None,
    batch_size: int = TOGETHER,
) -> EvaluateResult:
    """`evaluate` for a system and utterances in memory."""
    task = getattr(system, "task", "st")
    require(utterances, "transcript" if task == "asr" else "translation", "scoring")
    key = content_hash([system.identity, beams, prompt])

    def run_all(journal: OutputJournal | None, told: Sequence[Utterance]) -> list[Output]:
        return translate_each(system, told, journal=journal, beams=beams, batch_size=batch_size)

    def heard(journal: OutputJournal | None) -> list[Output]:
        hears = transcriber_of(system)
        if (
            "wer" not in metrics
            or task == "asr"
            or hears is None
            or not all(u.transcript for u in utterances)
        ):
            return []
        return translate_each(hears, utterances, journal=journal, batch_size=batch_size)

    exchanged = shuffled_audio(utterances)
    if out is None:
        outputs = run_all(None, utterances)
        others = run_all(None, exchanged) if control and len(utterances) > 1 else []
        result, _ = _result(system, task, utterances, outputs, others, heard(None), metrics, beams, out)
        return result
    config = {
        "system": system.identity,
        "utterances": content_hash([u.model_dump(exclude={"base"}) for u in utterances]),
        "metrics": list(metrics),
        "beams": beams,
        "prompt": prompt,
        "control": control,
    }
    with Run(out, config, command="speech-translation evaluate") as run:
        if run.result is not None:
            return EvaluateResult(**run.result)
        outputs = run_all(OutputJournal(out / "outputs.journal", key), utterances)
        others = []
        if control and len(utterances) > 1:
            others = run_all(OutputJournal(out / "shuffled.journal", key), exchanged)
        transcripts = heard(OutputJournal(out / "transcripts.journal", key))
        result, rows = _result(system, task, utterances, outputs, others, transcripts, metrics, beams, out)
        write_records(out / "outputs.jsonl", rows)
        run.complete(asdict(result))
        return result


def shuffled_audio(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Every utterance with the audio of the one half a list further on, which says something else."""
    half = max(1, len(utterances) // 2)
    others = [*utterances[half:], *utterances[:half]]
    return [
        u.model_copy(update={"audio": o.audio, "base": o.base})
        for u, o in zip(utterances, others, strict=True)
    ]


def score_outputs(
    texts: Sequence[str], utterances: Sequence[Utterance], *, task: str, metrics: Sequence[str]
) -> Quality:
    """Scores of outputs: WER for `asr`, else the translation metrics (and WER of nothing)."""
    if task == "asr":
        return word_error_rate(texts, [u.transcript or "" for u in utterances], utterances[0].source_lang)
    languages = {u.target_lang for u in utterances}
    if len(languages) > 1:
        raise EtudeError(
            f"references in {', '.join(sorted(map(str, languages)))}", "Evaluate one language at a time."
        )
    sources = [u.transcript or "" for u in utterances]
    return translation_quality(
        texts,
        [u.translation or "" for u in utterances],
        target_lang=str(next(iter(languages))),
        sources=sources if all(sources) else None,
        metrics=[m for m in metrics if m != "wer"],
    )


def _result(
    system: System,
    task: str,
    utterances: Sequence[Utterance],
    outputs: Sequence[Output],
    others: Sequence[Output],
    heard: Sequence[Output],
    metrics: Sequence[str],
    beams: int,
    out: Path | None,
) -> tuple[EvaluateResult, list[dict[str, Any]]]:
    texts = [o.translation for o in outputs]
    quality = score_outputs(texts, utterances, task=task, metrics=metrics)
    if heard:
        said = [u.transcript or "" for u in utterances]
        words = word_error_rate([o.translation for o in heard], said, utterances[0].source_lang)
        quality.scores.update(words.scores)
        quality.per_utterance.update(words.per_utterance)
    elif "wer" in metrics and task != "asr":
        quality.notes.append(f"{system.name}: no WER, it or the data has no transcripts")
    cheap = [m for m in metrics if m != "comet"]
    shuffled = (
        score_outputs([o.translation for o in others], utterances, task=task, metrics=cheap).scores
        if others
        else {}
    )
    tokens = sum(o.n_speech_tokens for o in outputs)
    result = EvaluateResult(
        model=system.name,
        task=task,
        utterances=len(outputs),
        beams=beams,
        scores=quality.scores,
        signatures=quality.signatures,
        shuffled=shuffled,
        failures=failure_counts(texts),
        speech_tokens=tokens / len(outputs),
        frames_per_token=sum(o.n_frames for o in outputs) / tokens if tokens else None,
        real_time_factor=sum(o.seconds for o in outputs) / sum(o.audio_seconds for o in outputs),
        memory_mb=peak_memory_mb(),
        notes=quality.notes,
        out=None if out is None else str(out),
    )
    rows = [
        asdict(o)
        | {"reference": (u.transcript if task == "asr" else u.translation)}
        | {name: values[i] for name, values in quality.per_utterance.items()}
        for i, (o, u) in enumerate(zip(outputs, utterances, strict=True))
    ]
    return result, rows


def peak_memory_mb() -> float:
    """Peak memory: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
