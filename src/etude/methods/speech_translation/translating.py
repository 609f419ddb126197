"""The verb `translate`: audio of any length becomes text, one JSON line per utterance."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.speech_translation.audio import RATE, audio_seconds, chunks, read_audio
from etude.methods.speech_translation.design import Task
from etude.methods.speech_translation.mixing import check_template
from etude.methods.speech_translation.output_journal import Output, OutputJournal
from etude.methods.speech_translation.systems import System, open_system
from etude.methods.speech_translation.translator import Spoken
from etude.methods.speech_translation.translator_folder import CONFIG, facts_of, translator_directory
from etude.methods.speech_translation.utterances import Utterance, read_utterances
from etude.render import console, table
from etude.runs import content_hash

if TYPE_CHECKING:
    from rich.console import RenderableType

PIECE = 30.0  # seconds that are read as one
TOGETHER, MOST_SECONDS = 8, 120.0  # pieces, and seconds of audio, that are translated at once


@dataclass(frozen=True)
class TranslateResult:
    """What was written.

    Args:
        model: The translator.
        out: The file, None when nothing was written.
        outputs: One per utterance.
    """

    model: str
    out: str | None
    outputs: list[Output]

    def __rich__(self) -> RenderableType:
        """Utterance, translation, tokens, seconds."""
        rows = [[o.id, o.translation, o.n_frames, o.n_speech_tokens, o.seconds] for o in self.outputs[:50]]
        more = len(self.outputs) - len(rows)
        title = f"{self.model}" + (f" ({more} more in {self.out})" if more else "")
        return table(["utterance", "translation", "frames", "speech tokens", "s"], rows, title=title)


@verb
def translate(
    audio: str,
    *,
    model: str,
    target_lang: str | None = None,
    source_lang: str | None = None,
    prompt: str | None = None,
    task: Task | None = None,
    beams: int = 1,
    max_tokens: int = 128,
    batch_size: int = TOGETHER,
    sfm: str = "whisper-base",
    llm: str = "smollm2",
    engine: str = "transformers",
    out: Path | None = None,
) -> TranslateResult:
    """Translate recordings. Those longer than 30 s are cut where it is quiet and joined again.

    Args:
        audio: A recording (WAV, FLAC, MP3, OGG), a folder of them, or a table as for `train`.
        model: A trained translator's folder; or cascade (Whisper, then the language model); or
            whisper-translate (into English); or spoken-numbers, a packaged sample (three English digits,
            German number words).
        target_lang: Code of the language to write; the one it was trained for by default.
        source_lang: Code of the language spoken; en by default.
        prompt: Another prompt, with one {speech}; also {source}, {target}, {question}.
        task: asr, st, chain, qa or continuation; translation by default.
        beams: 1 is greedy.
        max_tokens: Of an answer.
        batch_size: Recordings that are translated at once, those of like length.
        sfm: Whisper of cascade and whisper-translate.
        llm: Language model of cascade.
        engine: What runs the Whisper of cascade and whisper-translate: transformers or ctranslate2.
        out: A .jsonl file: id, audio, translation, n_frames, n_speech_tokens, seconds. The same command goes
            on with it after a kill.

    Raises:
        EtudeError: Audio that cannot be read, no such model, no target language, or a bad prompt.
    """
    if prompt is not None:
        check_template(prompt)
    if engine not in ("transformers", "ctranslate2"):
        raise EtudeError(f"no engine {engine!r}", "transformers or ctranslate2.")
    system = open_system(
        model,
        sfm=sfm,
        llm=llm,
        engine=engine,  # type: ignore[arg-type]
        prompt=prompt,
        task=task,
        max_tokens=max_tokens,
    )
    utterances = with_languages(read_utterances(audio), system, model, target_lang, source_lang)
    key = content_hash([system.identity, beams, prompt, max_tokens])
    journal = _journal(out, key)
    outputs = translate_each(system, utterances, journal=journal, beams=beams, batch_size=batch_size)
    if out is not None:
        write_records(out, [asdict(output) for output in outputs])
        out.with_name(f".{out.name}.journal").unlink(missing_ok=True)
    return TranslateResult(system.name, None if out is None else str(out), outputs)


def with_languages(
    utterances: Sequence[Utterance],
    system: System,
    model: str,
    target_lang: str | None,
    source_lang: str | None,
) -> list[Utterance]:
    """Utterances with the languages that are asked for, else their own, else what the model was trained for.

    Raises:
        EtudeError: Nothing says which language to write.
    """
    default = target_lang
    folder = translator_directory(model)
    if default is None and (folder / CONFIG).is_file():
        known = facts_of(folder).get("target_langs", [])
        default = known[0] if len(known) == 1 else None
    if default is None and model == "whisper-translate":
        default = "en"
    needs = getattr(system, "task", "st") in ("st", "chain")
    made = []
    for one in utterances:
        target = target_lang or one.target_lang or default
        if target is None and needs:
            raise EtudeError(f"{one.id}: into which language?", "Give --target-lang, e.g. --target-lang de.")
        changed = {"target_lang": target, "source_lang": source_lang or one.source_lang}
        made.append(one.model_copy(update=changed))
    return made


def translate_each(
    system: System,
    utterances: Sequence[Utterance],
    *,
    journal: OutputJournal | None = None,
    beams: int = 1,
    batch_size: int = TOGETHER,
) -> list[Output]:
    """Translate utterances, those of like length together; those in the journal are not translated again.

    What is put together does not depend on the journal, so that a resumed run computes what a whole one does.

    Args:
        system: What translates.
        utterances: With their target language.
        journal: Keeps each output as soon as it is there.
        beams: 1 is greedy.
        batch_size: Pieces of audio that are translated at once, 120 s of them at most.

    Returns:
        Outputs in the order of the utterances; the seconds of a batch are shared by length of audio.

    Raises:
        EtudeError: The target language is missing, or audio cannot be read.
    """
    known = {u.id: kept for u in utterances if journal and (kept := journal.get(u.id))}
    done = 0
    for batch in length_buckets(utterances, batch_size):
        before, done = done, done + len(batch)
        if all(utterance.id in known for utterance in batch):
            continue
        for output in _translated(system, batch, beams, batch_size):
            if output.id not in known:
                known[output.id] = output
                if journal is not None:
                    journal.add(output)
        if done // 50 > before // 50:
            console().print(f"{system.name}: {done} of {len(utterances)}")
    return [known[utterance.id] for utterance in utterances]


def length_buckets(utterances: Sequence[Utterance], batch_size: int) -> list[list[Utterance]]:
    """Utterances of one spoken language and like length, the longest last.

    Args:
        utterances: To be put together.
        batch_size: Of a batch at most.

    Raises:
        EtudeError: An audio file is missing or not audio.
    """
    seconds = {u.id: min(PIECE, audio_seconds(u.reference)) for u in utterances}
    batches: list[list[Utterance]] = []
    for one in sorted(utterances, key=lambda u: (u.source_lang, seconds[u.id])):
        last = batches[-1] if batches else []
        fits = len(last) < batch_size and (len(last) + 1) * seconds[one.id] <= MOST_SECONDS
        like = (
            last and last[0].source_lang == one.source_lang and seconds[one.id] <= 1 + 2 * seconds[last[0].id]
        )
        if fits and like:
            last.append(one)
        else:
            batches.append([one])
    return batches


def _translated(system: System, batch: Sequence[Utterance], beams: int, batch_size: int) -> Iterator[Output]:
    waves = [read_audio(utterance.reference) for utterance in batch]
    started = time.perf_counter()
    pieces = [(i, samples[a:b]) for i, samples in enumerate(waves) for a, b in chunks(samples, PIECE)]
    made: list[Spoken] = []
    for first in range(0, len(pieces), batch_size):
        part = pieces[first : first + batch_size]
        made += system.translate([piece for _, piece in part], [batch[i] for i, _ in part], beams=beams)
    pace = (time.perf_counter() - started) / sum(map(len, waves))
    for i, (utterance, samples) in enumerate(zip(batch, waves, strict=True)):
        own = [m for m, (owner, _) in zip(made, pieces, strict=True) if owner == i]
        yield Output(
            id=utterance.id,
            audio=utterance.audio,
            translation=" ".join(m.text for m in own if m.text),
            n_frames=sum(m.frames for m in own),
            n_speech_tokens=sum(m.speech_tokens for m in own),
            seconds=round(pace * len(samples), 4),
            audio_seconds=round(len(samples) / RATE, 4),
        )


def _journal(out: Path | None, key: str) -> OutputJournal | None:
    if out is None:
        return None
    if out.suffix != ".jsonl":
        raise EtudeError(f"{out}: outputs are JSON lines", "Name it with .jsonl.")
    return OutputJournal(out.with_name(f".{out.name}.journal"), key)
