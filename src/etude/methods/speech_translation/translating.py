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
from etude.methods.speech_translation.audio import RATE, chunks, read_audio
from etude.methods.speech_translation.design import Task
from etude.methods.speech_translation.mixing import check_template
from etude.methods.speech_translation.output_journal import Output, OutputJournal
from etude.methods.speech_translation.systems import System, open_system
from etude.methods.speech_translation.utterances import Utterance, read_utterances
from etude.render import console, table
from etude.runs import content_hash

if TYPE_CHECKING:
    from rich.console import RenderableType

PIECE = 30.0  # seconds that are read at once


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
    sfm: str = "whisper-base",
    llm: str = "smollm2",
    engine: str = "transformers",
    out: Path | None = None,
) -> TranslateResult:
    """Translate recordings. Those longer than 30 s are cut where it is quiet and joined again.

    Args:
        audio: A recording (WAV, FLAC, MP3, OGG), a folder of them, or a table as for `train`.
        model: A trained translator's folder; or cascade (Whisper, then the language model); or
            whisper-translate (into English).
        target_lang: Code of the language to write; the one it was trained for by default.
        source_lang: Code of the language spoken; en by default.
        prompt: Another prompt, with one {speech}; also {source}, {target}, {question}.
        task: asr, st, chain, qa or continuation; translation by default.
        beams: 1 is greedy.
        max_tokens: Of an answer.
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
    outputs = list(translate_each(system, utterances, journal=_journal(out, key), beams=beams))
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
    if default is None and (Path(model) / "config.json").is_file():
        from etude.methods.speech_translation.translator_folder import facts_of

        known = facts_of(Path(model)).get("target_langs", [])
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
    system: System, utterances: Sequence[Utterance], *, journal: OutputJournal | None = None, beams: int = 1
) -> Iterator[Output]:
    """Translate utterances one after the other; those in the journal are not translated again.

    Args:
        system: What translates.
        utterances: With their target language.
        journal: Keeps each output as soon as it is there.
        beams: 1 is greedy.

    Raises:
        EtudeError: The target language is missing, or audio cannot be read.
    """
    for number, utterance in enumerate(utterances, start=1):
        kept = journal.get(utterance.id) if journal else None
        if kept is not None:
            yield kept
            continue
        samples = read_audio(utterance.reference)
        started = time.perf_counter()
        pieces = [samples[a:b] for a, b in chunks(samples, PIECE)]
        made = [system.translate([piece], [utterance], beams=beams)[0] for piece in pieces]
        output = Output(
            id=utterance.id,
            audio=utterance.audio,
            translation=" ".join(m.text for m in made if m.text),
            n_frames=sum(m.frames for m in made),
            n_speech_tokens=sum(m.speech_tokens for m in made),
            seconds=round(time.perf_counter() - started, 4),
            audio_seconds=round(len(samples) / RATE, 4),
        )
        if journal is not None:
            journal.add(output)
        if number % 50 == 0:
            console().print(f"{system.name}: {number} of {len(utterances)}")
        yield output


def _journal(out: Path | None, key: str) -> OutputJournal | None:
    if out is None:
        return None
    if out.suffix != ".jsonl":
        raise EtudeError(f"{out}: outputs are JSON lines", "Name it with .jsonl.")
    return OutputJournal(out.with_name(f".{out.name}.journal"), key)
