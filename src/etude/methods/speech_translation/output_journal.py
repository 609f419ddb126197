"""Outputs kept one by one as they come, so that a killed evaluation asks for none of them twice."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Output:
    """What was written for one utterance.

    Attributes:
        id: The utterance.
        audio: Its audio, as the data says it.
        translation: What was written.
        n_frames: Features of the speech encoder.
        n_speech_tokens: Vectors that went into the language model.
        seconds: Wall time.
        audio_seconds: Length of the audio.
    """

    id: str
    audio: str
    translation: str
    n_frames: int
    n_speech_tokens: int
    seconds: float
    audio_seconds: float


class OutputJournal:
    """A file of outputs; a line that a kill cut off is not counted.

    Args:
        path: The file.
        key: What determines the outputs; lines of another key are ignored.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self._known: dict[str, Output] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    told = json.loads(line)
                    if told["key"] == key:
                        self._known[told["output"]["id"]] = Output(**told["output"])
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, utterance: str) -> Output | None:
        """The output of an utterance, None while there is none."""
        return self._known.get(utterance)

    def add(self, output: Output) -> None:
        """Keep an output, durably."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": self.key, "output": asdict(output)}, ensure_ascii=False)
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(f"\n{line}\n")  # the newline before closes a line that was cut off
            handle.flush()
            os.fsync(handle.fileno())
        self._known[output.id] = output
