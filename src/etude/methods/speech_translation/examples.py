"""What a training step sees: utterances with their task, target and features, in batches of like length."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset

from etude.methods.speech_translation.audio import RATE, Samples, audio_hash, read_audio
from etude.methods.speech_translation.design import Task
from etude.methods.speech_translation.feature_cache import FeatureCache, Features
from etude.methods.speech_translation.tasks import target_text
from etude.methods.speech_translation.utterances import Utterance

_POOL = 50  # batches that are sorted by length together


@dataclass(frozen=True)
class Example:
    """One utterance with one task.

    Attributes:
        utterance: The record.
        task: What is to be written.
        target: It, as text.
        features: Of a frozen encoder, (T, d); None where the encoder is trained.
        waveform: 16 kHz samples where `features` are None.
    """

    utterance: Utterance
    task: Task
    target: str
    features: Features | None = None
    waveform: Samples | None = None


class Speech:
    """The audio of utterances: features from a cache for a frozen encoder, else waveforms.

    Args:
        utterances: The records.
        cache: Of the frozen encoder; None where it is trained.
        together: Utterances that are encoded and stored as one shard.
    """

    def __init__(
        self, utterances: Sequence[Utterance], cache: FeatureCache | None, *, together: int = 16
    ) -> None:
        self.cache = cache
        self.keys: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        known: list[tuple[str, Samples]] = []
        for utterance in utterances:
            samples = read_audio(utterance.reference)
            self.keys[utterance.id] = key = audio_hash(samples)
            self.seconds[utterance.id] = len(samples) / RATE
            if cache is not None and key not in cache:
                known.append((key, samples))
            if cache is not None and len(known) == together:
                self._store(cache, known)
                known = []
        if cache is not None and known:
            self._store(cache, known)

    @staticmethod
    def _store(cache: FeatureCache, known: list[tuple[str, Samples]]) -> None:
        known.sort(key=lambda pair: len(pair[1]))
        cache.store([key for key, _ in known], [samples for _, samples in known])

    def of(self, utterance: Utterance) -> dict[str, Any]:
        """`features` or `waveform` of an utterance, as fields of an `Example`."""
        if self.cache is not None:
            return {"features": self.cache[self.keys[utterance.id]]}
        return {"waveform": read_audio(utterance.reference)}


class Batches(Dataset[list[Example]]):
    """Batches of like length, planned ahead: the same for every arm that sees the same utterances.

    Args:
        utterances: The records.
        tasks: Each utterance gives one example per task.
        speech: Their audio.
        batch_size: Examples of a batch.
        count: Batches in all; None for one pass.
        seed: Of the order.
        continuations: Utterance id to target, for that task.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        tasks: Sequence[Task],
        speech: Speech,
        *,
        batch_size: int,
        count: int | None = None,
        seed: int = 0,
        continuations: Mapping[str, str] | None = None,
    ) -> None:
        self.speech = speech
        told = continuations or {}
        self.pairs = [(u, t, target_text(u, t, told.get(u.id))) for u in utterances for t in tasks]
        sizes = [speech.seconds[u.id] * 50 + len(target) for u, _, target in self.pairs]
        self.plan = plan_batches(sizes, batch_size, count, seed)

    def __len__(self) -> int:
        """Batches."""
        return len(self.plan)

    def __getitem__(self, index: int) -> list[Example]:
        """The examples of a batch, with their audio."""
        chosen = [self.pairs[i] for i in self.plan[index]]
        return [Example(u, task, target, **self.speech.of(u)) for u, task, target in chosen]


def collate(items: list[list[Example]]) -> dict[str, Any]:
    """The planned batch as the translator's arguments."""
    return {"examples": [example for batch in items for example in batch]}


def plan_batches(sizes: Sequence[float], batch_size: int, count: int | None, seed: int) -> list[list[int]]:
    """Indices of each batch: shuffled, then sorted by size within pools, so that little is padded.

    Args:
        sizes: Speech and text of each example.
        batch_size: Examples of a batch.
        count: Batches in all, over as many passes as needed; None for one pass in which each comes once.
        seed: Of the order.
    """
    draw = random.Random(seed)
    plan: list[list[int]] = []
    while count is None or len(plan) < count:
        plan += _one_pass(sizes, batch_size, draw)
        if count is None:
            return plan
    return plan[:count]


def _one_pass(sizes: Sequence[float], batch_size: int, draw: random.Random) -> Iterator[list[int]]:
    order = list(range(len(sizes)))
    draw.shuffle(order)
    pool = batch_size * _POOL
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda i: sizes[i])
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    draw.shuffle(batches)
    return iter(batches)
