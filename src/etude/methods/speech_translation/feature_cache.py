"""Features of frozen encoders, computed once: shards of float16 on disk, memory-mapped.

A row is keyed by the audio's hash, the model's revision, the layer, and whether audio was padded. Each shard
is written in one step, so a killed run keeps what was whole. T * d * 2 bytes: 51 kB/s for Whisper base.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.data.store import cache_root
from etude.methods.speech_translation.audio import Samples
from etude.methods.speech_translation.speech_encoders import SpeechEncoder
from etude.runs import atomic_path, content_hash, read_json, write_json

Features = NDArray[np.float16]
_FORMAT = 1


class FeatureCache:
    """Features of one encoder.

    Args:
        encoder: What computes what is missing.
        folder: Where shards lie; by default one of etude's cache, shared by all runs.
    """

    def __init__(self, encoder: SpeechEncoder, folder: Path | None = None) -> None:
        self.encoder = encoder
        self.identity = [encoder.revision, encoder.layer, encoder.window, _FORMAT]
        root = folder or cache_root() / "speech-translation" / "features"
        self.folder = root / content_hash(self.identity)[:24]
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._open: dict[Path, Features] = {}
        for index in sorted(self.folder.glob("*.json")):
            self._add(index)

    def __contains__(self, key: str) -> bool:
        """Whether the features of an audio hash are here."""
        return key in self._places

    def __len__(self) -> int:
        """How many utterances are here."""
        return len(self._places)

    def __getitem__(self, key: str) -> Features:
        """Features of an audio hash, (T, d), a view of the mapped file."""
        shard, start, count = self._places[key]
        if shard not in self._open:
            self._open[shard] = np.load(shard, mmap_mode="r")
        return self._open[shard][start : start + count]

    def store(self, keys: Sequence[str], waveforms: Sequence[Samples]) -> None:
        """Compute and store the features of audio that is not here yet, as one shard.

        Args:
            keys: Audio hashes.
            waveforms: The audio, 16 kHz.
        """
        missing = [i for i, key in enumerate(keys) if key not in self._places]
        missing = [i for n, i in enumerate(missing) if keys[i] not in {keys[j] for j in missing[:n]}]
        if not missing:
            return
        rows = live_features(self.encoder, [waveforms[i] for i in missing])
        name = content_hash([keys[i] for i in missing])[:24]
        counts = [len(row) for row in rows]
        starts = np.cumsum([0, *counts[:-1]]).tolist()
        with atomic_path(self.folder / f"{name}.npy") as temporary:
            np.save(temporary, np.concatenate(rows))
        places = {keys[i]: [s, n] for i, s, n in zip(missing, starts, counts, strict=True)}
        write_json(self.folder / f"{name}.json", places)  # last: a shard without it does not count
        self._add(self.folder / f"{name}.json")

    def _add(self, index: Path) -> None:
        for key, (start, count) in read_json(index).items():
            self._places[key] = (index.with_suffix(".npy"), start, count)


def live_features(encoder: SpeechEncoder, waveforms: Sequence[Samples]) -> list[Features]:
    """Features of a frozen encoder in the precision that they are trained and stored in, (T, d) each."""
    import torch

    with torch.no_grad():
        x, lengths = encoder(waveforms)
    return [row[:n].cpu().numpy().astype(np.float16) for row, n in zip(x, lengths.tolist(), strict=True)]
