"""Whisper as a recognizer and as a translator into English: the cascade's first half, and a baseline.

Audio is padded to 30 s here, as Whisper's decoder was trained; by transformers, or by CTranslate2 in int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch

from etude.errors import EtudeError
from etude.methods.speech_translation.audio import Samples
from etude.methods.speech_translation.packaged_whisper import (
    PACKAGED,
    ctranslate2_directory,
    speech_directory,
)
from etude.methods.speech_translation.speech_encoders import WhisperSpeechEncoder, load_speech_encoder
from etude.models.local_lm import default_device
from etude.models.quiet import quiet_transformers

Engine: TypeAlias = Literal["transformers", "ctranslate2"]


class Recognizer(Protocol):
    """Audio to text."""

    name: str

    def transcribe(self, waveforms: Sequence[Samples], language: str = "en") -> list[str]:
        """What is said, in the language it is said in."""


class Whisper:
    """A whole Whisper model.

    Args:
        name: `whisper-tiny.en`, `whisper-base`, a directory or a hub id.
        engine: `transformers`, or `ctranslate2` (packaged models; int8 on the CPU).
        max_tokens: Of a transcript.
    """

    def __init__(self, name: str, *, engine: Engine = "transformers", max_tokens: int = 200) -> None:
        self.name, self.engine, self.max_tokens = name, engine, max_tokens
        self.directory = speech_directory(name)
        encoder = load_speech_encoder(name, window="padded")
        if not isinstance(encoder, WhisperSpeechEncoder):
            raise EtudeError(f"{name} is not a Whisper model", "The cascade needs one, e.g. whisper-base.")
        self.encoder, self.revision = encoder, f"{encoder.revision} {engine}"
        from etude.models import load_tokenizer

        self.tokenizer: Any = load_tokenizer(str(self.directory))
        self._model: Any = None

    @property
    def multilingual(self) -> bool:
        """Whether it knows languages besides English."""
        return "<|translate|>" in self.tokenizer.get_vocab() and not self.name.endswith(".en")

    def transcribe(self, waveforms: Sequence[Samples], language: str = "en") -> list[str]:
        """What is said, in the language it is said in.

        Raises:
            EtudeError: The model knows English only.
        """
        return self._write(waveforms, language, "transcribe")

    def translate(self, waveforms: Sequence[Samples], language: str) -> list[str]:
        """What is said, in English, by Whisper's own translation task.

        Raises:
            EtudeError: The model knows English only.
        """
        return self._write(waveforms, language, "translate")

    def _write(self, waveforms: Sequence[Samples], language: str, task: str) -> list[str]:
        if not self.multilingual and (task == "translate" or not language.lower().startswith("en")):
            raise EtudeError(
                f"{self.name} knows English only", "Take whisper-base, or a larger multilingual one."
            )
        mels = torch.stack([self.encoder.log_mel(w) for w in waveforms])
        if self.engine == "ctranslate2":
            rows = self._by_ctranslate2(mels.cpu().numpy(), language, task)
        else:
            rows = self._by_transformers(mels, language, task)
        return [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]

    def _by_transformers(self, mels: torch.Tensor, language: str, task: str) -> list[list[int]]:
        if self._model is None:
            from transformers import WhisperForConditionalGeneration

            with quiet_transformers():
                self._model = WhisperForConditionalGeneration.from_pretrained(
                    self.directory, use_safetensors=True
                )
            self._model.to(default_device()).eval()
            self._model.generation_config.max_length = None
        told = {"language": language[:2].lower(), "task": task} if self.multilingual else {}
        with quiet_transformers(), torch.no_grad():
            made = self._model.generate(
                mels.to(self._model.device), max_new_tokens=self.max_tokens, num_beams=1, **told
            )
        return [list(row) for row in made.tolist()]

    def _by_ctranslate2(self, mels: np.ndarray, language: str, task: str) -> list[list[int]]:
        if self.name not in PACKAGED:
            raise EtudeError(f"{self.name}: not packaged for CTranslate2", f"Take {' or '.join(PACKAGED)}.")
        try:
            import ctranslate2
        except ModuleNotFoundError as error:
            raise EtudeError(
                "the engine ctranslate2 needs its package", 'pip install "etude[speech]"'
            ) from error
        if self._model is None:
            folder = str(ctranslate2_directory(self.name))
            self._model = ctranslate2.models.Whisper(folder, compute_type="int8")
        names = ["<|startoftranscript|>"]
        names += [f"<|{language[:2].lower()}|>", f"<|{task}|>"] if self.multilingual else []
        prompt = self.tokenizer.convert_tokens_to_ids([*names, "<|notimestamps|>"])
        given = ctranslate2.StorageView.from_array(np.ascontiguousarray(mels, dtype=np.float32))
        found = self._model.generate(
            given, [prompt] * len(mels), beam_size=1, max_length=self.max_tokens + len(prompt)
        )
        return [list(one.sequences_ids[0]) for one in found]
