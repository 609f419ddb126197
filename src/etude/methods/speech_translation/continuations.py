"""Targets of the continuation task (BLSP, 2309.00916): what the language model writes after a transcript."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from etude.data import read_records, write_records
from etude.methods.speech_translation.language_models import LanguageModel
from etude.methods.speech_translation.mixing import SLOT, PromptMixer
from etude.methods.speech_translation.utterances import Utterance


class Continuation(BaseModel):
    """One target."""

    id: str
    text: str


def write_continuations(
    path: Path,
    utterances: Sequence[Utterance],
    mixer: PromptMixer,
    language: LanguageModel,
    *,
    max_tokens: int = 32,
    batch_size: int = 16,
) -> dict[str, str]:
    """Ask the language model with the transcript where the speech will stand; finished files are read.

    Args:
        path: A `.jsonl` file to keep them in.
        utterances: With transcripts.
        mixer: Its prompt of the task is the one that speech will get.
        language: The language model, before any training.
        max_tokens: Of a continuation.
        batch_size: Transcripts at once.
    """
    if path.exists():
        return {row.id: row.text for row in read_records(path, Continuation)}
    tokenizer: Any = language.tokenizer
    made: list[Continuation] = []
    language.eval()
    for start in range(0, len(utterances), batch_size):
        part = utterances[start : start + batch_size]
        rows = []
        for utterance in part:
            prompt = mixer.prompt(utterance, "continuation")
            words = tokenizer.encode((utterance.transcript or "").replace(SLOT, ""), add_special_tokens=False)
            rows.append([*prompt.before, *words, *prompt.after])
        written = language.generate(*language.read(rows), max_tokens=max_tokens)
        made += [Continuation(id=u.id, text=language.text(ids)) for u, ids in zip(part, written, strict=True)]
    write_records(path, made)
    return {row.id: row.text for row in made}
