"""What is asked of the model and what it must write: a transcript, a translation, both, an answer ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etude.errors import EtudeError
from etude.methods.speech_translation.design import Task
from etude.methods.speech_translation.utterances import Utterance, require

NEEDS: Mapping[Task, tuple[str, ...]] = {
    "asr": ("transcript",),
    "st": ("translation", "target_lang"),
    "chain": ("transcript", "translation", "target_lang"),
    "qa": ("question", "answer"),
    "continuation": ("transcript",),
}
"""Fields of an utterance that each task needs to be trained."""

CHAIN = "\n"
"""Stands between transcript and translation in the target of `chain`."""

LANGUAGES = {
    "ar": "Arabic", "ca": "Catalan", "cs": "Czech", "de": "German", "en": "English", "es": "Spanish",
    "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "hi": "Hindi", "id": "Indonesian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "lv": "Latvian", "mn": "Mongolian", "nl": "Dutch",
    "pl": "Polish", "pt": "Portuguese", "ru": "Russian", "sl": "Slovenian", "sv": "Swedish", "ta": "Tamil",
    "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""Language codes as prompts say them; a code that is not here is said as it is."""


def language_name(code: str | None) -> str:
    """`German` for `de`."""
    return LANGUAGES.get((code or "").split("-")[0].split("_")[0].lower(), code or "")


def check_fields(utterances: Sequence[Utterance], tasks: Sequence[Task]) -> None:
    """Refuse utterances that a task cannot be trained with.

    Raises:
        EtudeError: A field is missing; task, field and the first utterance are named.
    """
    if not tasks:
        raise EtudeError("no task", f"Give one or more of {', '.join(NEEDS)}.")
    for task in tasks:
        for field in NEEDS[task]:
            require(utterances, field, f"the task {task}")


def target_text(utterance: Utterance, task: Task, continuation: str | None = None) -> str:
    """What the model must write.

    Args:
        utterance: With the fields that the task needs.
        task: The task.
        continuation: For `continuation` (BLSP): what the language model wrote after the transcript.
    """
    if task == "asr":
        return utterance.transcript or ""
    if task == "st":
        return utterance.translation or ""
    if task == "chain":
        return f"{utterance.transcript}{CHAIN}{utterance.translation}"
    if task == "qa":
        return utterance.answer or ""
    if continuation is None:
        raise ValueError("a continuation is written by the language model first")
    return continuation


def translation_of(text: str, task: Task) -> str:
    """The translation in what a model wrote: after the transcript for `chain`, all of it otherwise."""
    if task != "chain":
        return text
    _, found, after = text.partition(CHAIN)
    return after if found else ""
