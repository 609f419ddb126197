"""What can be evaluated: a trained translator, the cascade, Whisper's own translation; one face for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch

from etude.errors import EtudeError
from etude.methods.speech_translation.audio import Samples
from etude.methods.speech_translation.ctc_compression import CTCCompression
from etude.methods.speech_translation.design import MixerBlock, Task
from etude.methods.speech_translation.feature_cache import live_features
from etude.methods.speech_translation.language_models import LanguageModel, load_language_model
from etude.methods.speech_translation.mixing import SLOT, PromptMixer
from etude.methods.speech_translation.published_systems import PRESETS
from etude.methods.speech_translation.recognizers import Engine, Recognizer, Whisper
from etude.methods.speech_translation.tasks import translation_of
from etude.methods.speech_translation.translator import SpeechTranslator, Spoken
from etude.methods.speech_translation.translator_folder import (
    facts_of,
    load_translator,
    translator_directory,
)
from etude.methods.speech_translation.utterances import Utterance
from etude.runs import content_hash, file_hash

TEXT_PROMPT = "Translate the {source} text into {target}. Write the translation only.\n\n{speech}"


class System(Protocol):
    """Audio to text in another language."""

    name: str
    identity: str

    def translate(
        self, waveforms: Sequence[Samples], utterances: Sequence[Utterance], *, beams: int = 1
    ) -> list[Spoken]:
        """What each utterance says, in its target language."""


class EndToEnd:
    """A trained translator.

    Args:
        translator: Five blocks.
        name: Shown.
        identity: Tells it from others.
        task: What it is asked.
        prompt: Another prompt.
        max_tokens: Of an answer.
    """

    def __init__(
        self,
        translator: SpeechTranslator,
        name: str,
        identity: str,
        *,
        task: Task = "st",
        prompt: str | None = None,
        max_tokens: int = 128,
    ) -> None:
        self.translator, self.name, self.identity, self.task = translator, name, identity, task
        self.prompt, self.max_tokens = prompt, max_tokens

    def translate(
        self, waveforms: Sequence[Samples], utterances: Sequence[Utterance], *, beams: int = 1
    ) -> list[Spoken]:
        """What the five blocks write; of `chain`, the translation."""
        made = self.translator.translate(
            waveforms,
            utterances,
            task=self.task,
            prompt=self.prompt,
            max_tokens=self.max_tokens,
            beams=beams,
        )
        return [Spoken(translation_of(m.text, self.task), m.frames, m.speech_tokens) for m in made]


class TextTranslator:
    """Text translation by a language model, as the second half of a cascade.

    Args:
        language: The language model.
        prompt: Its `{speech}` is where the text stands.
        mixer: How the prompt is put; the language model's chat template by default.
        max_tokens: Of a translation.
    """

    def __init__(
        self,
        language: LanguageModel,
        *,
        prompt: str = TEXT_PROMPT,
        mixer: MixerBlock | None = None,
        max_tokens: int = 128,
    ) -> None:
        self.language, self.prompt, self.max_tokens = language, prompt, max_tokens
        self.mixer = PromptMixer(mixer or MixerBlock(), language)

    def translate(
        self, texts: Sequence[str], utterances: Sequence[Utterance], *, beams: int = 1
    ) -> list[str]:
        """The translation of each text into its utterance's target language."""
        rows = []
        for text, utterance in zip(texts, utterances, strict=True):
            prompt = self.mixer.prompt(utterance, "st", template=self.prompt)
            words = self.language.tokenizer.encode(text.replace(SLOT, ""), add_special_tokens=False)
            rows.append([*prompt.before, *words, *prompt.after])
        self.language.eval()
        with torch.no_grad():
            made = self.language.generate(*self.language.read(rows), max_tokens=self.max_tokens, beams=beams)
        return [self.language.text(ids) for ids in made]


class Cascade:
    """A recognizer, then text translation.

    Args:
        recognizer: Audio to transcript.
        translator: Transcript to translation.
    """

    def __init__(self, recognizer: Recognizer, translator: TextTranslator) -> None:
        self.recognizer, self.translator = recognizer, translator
        language = translator.language
        self.name = f"cascade ({recognizer.name}, {language.name})"
        told = [recognizer.name, getattr(recognizer, "revision", ""), language.revision]
        self.identity = content_hash([*told, translator.prompt, translator.max_tokens])

    def translate(
        self, waveforms: Sequence[Samples], utterances: Sequence[Utterance], *, beams: int = 1
    ) -> list[Spoken]:
        """Transcribe, then translate the words."""
        heard = self.recognizer.transcribe(waveforms, utterances[0].source_lang)
        return [Spoken(text, 0, 0) for text in self.translator.translate(heard, utterances, beams=beams)]


class WhisperTranslate:
    """Whisper's own translation into English.

    Args:
        whisper: A multilingual Whisper model.
    """

    def __init__(self, whisper: Whisper) -> None:
        self.whisper = whisper
        self.name = f"whisper-translate ({whisper.name})"
        self.identity = content_hash(["whisper-translate", whisper.name, whisper.revision])

    def translate(
        self, waveforms: Sequence[Samples], utterances: Sequence[Utterance], *, beams: int = 1
    ) -> list[Spoken]:
        """English, whatever is spoken.

        Raises:
            EtudeError: Another target language is asked for.
        """
        other = next((u for u in utterances if (u.target_lang or "en")[:2].lower() != "en"), None)
        if other:
            raise EtudeError(
                f"whisper-translate writes English, {other.id!r} asks for {other.target_lang}",
                "Leave this baseline out, or take cascade.",
            )
        texts = self.whisper.translate(waveforms, utterances[0].source_lang)
        return [Spoken(text, 0, 0) for text in texts]


class Hears:
    """What a system hears: its transcripts in place of translations, for the word error rate.

    Args:
        system: With a recognizer, trained on transcription, or with a CTC head.
        transcribe: From waveforms and utterances to transcripts.
    """

    task: Task = "asr"

    def __init__(
        self, system: System, transcribe: Callable[[Sequence[Samples], Sequence[Utterance]], list[str]]
    ) -> None:
        self.name, self.identity = f"{system.name}, transcripts", content_hash(["asr", system.identity])
        self._transcribe = transcribe

    def translate(
        self, waveforms: Sequence[Samples], utterances: Sequence[Utterance], *, beams: int = 1
    ) -> list[Spoken]:
        """The transcripts."""
        return [Spoken(text, 0, 0) for text in self._transcribe(waveforms, utterances)]


def transcriber_of(system: System) -> Hears | None:
    """A system's own ear; None for one that was trained on translations alone."""
    if isinstance(system, Cascade):
        recognizer = system.recognizer
        return Hears(system, lambda waves, us: recognizer.transcribe(waves, us[0].source_lang))
    if isinstance(system, WhisperTranslate):
        whisper = system.whisper
        return Hears(system, lambda waves, us: whisper.transcribe(waves, us[0].source_lang))
    if not isinstance(system, EndToEnd):
        return None
    translator, most = system.translator, system.max_tokens
    if any("asr" in stage.tasks and not stage.supervise_only for stage in translator.design.stages):

        def write(waves: Sequence[Samples], utterances: Sequence[Utterance]) -> list[str]:
            return [m.text for m in translator.translate(waves, utterances, task="asr", max_tokens=most)]

        return Hears(system, write)
    head = translator.length_adapter
    if not isinstance(head, CTCCompression):
        return None

    def hear(waves: Sequence[Samples], utterances: Sequence[Utterance]) -> list[str]:
        with torch.no_grad():
            return head.transcribe(*translator.from_features(live_features(translator.sfm, waves)))

    return Hears(system, hear)


def open_system(
    model: str,
    *,
    sfm: str = "whisper-base",
    llm: str = "smollm2",
    engine: Engine = "transformers",
    prompt: str | None = None,
    task: Task | None = None,
    max_tokens: int = 128,
) -> System:
    """A system by name.

    Args:
        model: A trained translator's folder, `spoken-numbers` (the packaged sample), `cascade`, or
            `whisper-translate`.
        sfm: Whisper of the baselines.
        llm: Language model of the cascade.
        engine: What runs the baselines' Whisper.
        prompt: Another prompt.
        task: What a trained translator is asked; what it was trained for last by default.
        max_tokens: Of an answer.

    Raises:
        EtudeError: Neither of these; a preset has to be trained first.
    """
    if model == "cascade":
        whisper = Whisper(sfm, engine=engine)
        language = load_language_model(llm)
        return Cascade(whisper, TextTranslator(language, prompt=prompt or TEXT_PROMPT, max_tokens=max_tokens))
    if model == "whisper-translate":
        return WhisperTranslate(Whisper(sfm, engine=engine))
    if model in PRESETS and not Path(model).is_dir():
        raise EtudeError(
            f"{model} is a preset: it has no weights yet",
            f"Train it: etude speech-translation train DATA --preset {model} --target-lang xx --out DIR",
        )
    folder = translator_directory(model)
    translator = load_translator(folder)
    asked: Task = task or asked_task(translator)
    weights = [file_hash(file) for file in sorted(folder.glob("*.safetensors"))]
    weights += [file_hash(file) for file in sorted(folder.glob("lora*/*.safetensors"))]
    identity = content_hash([*weights, facts_of(folder)["design"], asked, prompt, max_tokens])
    return EndToEnd(translator, model, identity, task=asked, prompt=prompt, max_tokens=max_tokens)


def asked_task(translator: SpeechTranslator) -> Task:
    """The task of translation that a translator was trained for: `st`, else `chain`, else its last one."""
    learned = [task for stage in translator.design.stages for task in stage.tasks]
    for task in ("st", "chain"):
        if task in learned:
            return task
    return learned[-1]
