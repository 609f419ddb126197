"""The arms of the claim: what each trains, what each is tested on, at each scale."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from etude.errors import EtudeError
from etude.evidence import Arm, Measurement
from etude.methods.speech_translation.audio import Samples, read_audio
from etude.methods.speech_translation.character_lm import REPEAT, TRANSLATE, character_lm
from etude.methods.speech_translation.design import (
    AdapterBlock,
    Design,
    LanguageBlock,
    MixerBlock,
    SpeechBlock,
    Stage,
)
from etude.methods.speech_translation.examples import Speech
from etude.methods.speech_translation.feature_cache import FeatureCache, Features
from etude.methods.speech_translation.language_models import load_language_model
from etude.methods.speech_translation.quality import failure_counts
from etude.methods.speech_translation.recognizers import Whisper
from etude.methods.speech_translation.speech_encoders import load_speech_encoder
from etude.methods.speech_translation.spoken_numbers import digit_words, prepare_numbers
from etude.methods.speech_translation.staged_training import Material, Schedule, train_stage
from etude.methods.speech_translation.systems import TEXT_PROMPT, Cascade
from etude.methods.speech_translation.training_run import with_vocabulary
from etude.methods.speech_translation.translator import SpeechTranslator
from etude.methods.speech_translation.utterances import Utterance, read_utterances

METRIC = "chrF"
TOPLINE = "text topline"
FIXED = {
    "none": ("none", 1),
    "conv 4x": ("conv:layers=2", 4),
    "stack 5": ("stack:k=5", 5),
    "pool 8x": ("pool:k=8", 8),
    "wlq 16": ("wlq:window=16,queries=1,hidden=128,heads=4", 16),
}
"""Arms of a fixed rate: length adapter, and how many features become one vector."""
CONTENT = {"ctc": "ctc:mode=average", "cif": "cif:unit=character"}
"""Arms that compress by content."""
CASCADES = ("cascade, zero-shot", "cascade, in-domain CTC")
_TOGETHER = 60  # utterances that are decoded at once


@dataclass(frozen=True)
class Budget:
    """What every arm gets.

    Attributes:
        sfm: Speech model, frozen.
        llm: Language model; `character` is trained in the run and then frozen, others get LoRA.
        utterances: To train on.
        head: Steps on transcripts.
        steps: Steps on translations.
        batch: Examples of a step.
        rate: Peak learning rate of the adapters.
        max_tokens: Of an answer.
    """

    sfm: str = "whisper-tiny.en"
    llm: str = "character"
    utterances: int = 800
    head: int = 100
    steps: int = 160
    batch: int = 16
    rate: float = 2e-3
    max_tokens: int = 48


SCALES = {
    "laptop": Budget(),
    "slow": Budget(llm="smollm2", head=400, steps=1200, rate=1e-3),
    "paper": Budget("openai/whisper-large-v3", "meta-llama/Llama-3.1-8B-Instruct", 10**9, 20_000, 28_000, 64,
                    1e-4, 256),
}  # fmt: skip


class World:
    """Data and models that the arms share.

    Args:
        data: The claim's folder.
        budget: Scale.
        model: Another language model.
    """

    def __init__(self, data: Path, budget: Budget, model: str | None) -> None:
        self.data, self.budget, self.llm = data, budget, model or budget.llm
        self.is_paper = budget.utterances == 10**9

    @cached_property
    def splits(self) -> tuple[list[Utterance], list[Utterance]]:
        """Training and test utterances."""
        if self.is_paper:
            return read_utterances(self.data / "train.tsv"), read_utterances(self.data / "test.tsv")
        task = prepare_numbers(self.data, train=self.budget.utterances)
        return task.train, task.test

    @cached_property
    def cache(self) -> FeatureCache:
        """Features of the frozen speech model."""
        return FeatureCache(load_speech_encoder(self.budget.sfm))

    @cached_property
    def test_features(self) -> list[Features]:
        """Of the test utterances."""
        test = self.splits[1]
        speech = Speech(test, self.cache)
        return [speech.of(u)["features"] for u in test]

    def llm_name(self, seed: int) -> str:
        """The language model's name or directory."""
        if self.llm != "character":
            return self.llm
        numbers = prepare_numbers(self.data, train=self.budget.utterances).numbers
        return str(character_lm(numbers, seed))

    @property
    def mixer(self) -> MixerBlock:
        """How the language model is asked."""
        if self.llm != "character":
            return MixerBlock()
        templates: dict[str, tuple[str, ...]] = {"st": (TRANSLATE,), "asr": (REPEAT,)}
        return MixerBlock(templates=templates, chat=False)

    def cascade(self, seed: int, recognizer: Any) -> Cascade:
        """The language model behind a recognizer."""
        language = load_language_model(self.llm_name(seed))
        prompt = TRANSLATE if self.llm == "character" else TEXT_PROMPT
        return Cascade(
            recognizer, language, prompt=prompt, mixer=self.mixer, max_tokens=self.budget.max_tokens
        )

    def design(self, la: str, seed: int) -> Design:
        """An arm's design: a stage on transcripts, then one on translations."""
        own = la.startswith(("ctc", "cif"))
        state: Any = {} if self.llm == "character" else {"llm": "lora"}
        rates: Any = {"adapter": self.budget.rate}
        stages = (
            Stage(tasks=("asr",), steps=self.budget.head, lr=rates, supervise_only=own,
                  trainable={} if own else state),
            Stage(tasks=("st",), steps=self.budget.steps, lr=rates, trainable=state),
        )  # fmt: skip
        return Design(
            sfm=SpeechBlock(name=self.budget.sfm),
            length_adapter=AdapterBlock.parse(la),
            modality_adapter=AdapterBlock(kind="mlp", options={"hidden": 256}),
            mixer=self.mixer,
            llm=LanguageBlock(name=self.llm_name(seed)),
            stages=stages,
        )


def speech_arm(world: World, name: str, la: str) -> Arm:
    """A translator with one length adapter."""

    def run(seed: int) -> Measurement:
        train, test = world.splits
        features = world.test_features
        started = time.perf_counter()
        translator = _trained(world, world.design(la, seed), train, seed)
        trained = time.perf_counter() - started
        started = time.perf_counter()
        made = _decode(translator, features, test, world.budget.max_tokens)
        decoded = time.perf_counter() - started
        half = len(test) // 2
        others = _decode(translator, [*features[half:], *features[:half]], test, world.budget.max_tokens)
        texts = [text for text, _ in made]
        facts = {
            "speech tokens": sum(n for _, n in made) / len(made),
            "training s": round(trained, 1),
            "decoding s": round(decoded, 2),
            **failure_counts(texts),
            "all blank": int(getattr(translator.length_adapter, "all_blank", 0)),
        }
        scores = _scores(texts, test)
        scores["chrF, other audio"] = _scores([text for text, _ in others], test)[METRIC]
        return _measured(scores, facts)

    return Arm(name, run, {"la": la})


def topline_arm(world: World) -> Arm:
    """The language model on the true words."""

    def run(seed: int) -> Measurement:
        _, test = world.splits
        started = time.perf_counter()
        texts = world.cascade(seed, _Named("text")).translate_text([u.transcript or "" for u in test], test)
        facts = {"decoding s": round(time.perf_counter() - started, 2), **failure_counts(texts)}
        return _measured(_scores(texts, test), facts)

    return Arm(TOPLINE, run)


def cascade_arm(world: World, name: str) -> Arm:
    """The language model on a transcript: Whisper's own, or that of a CTC head on the same features."""

    def run(seed: int) -> Measurement:
        train, test = world.splits
        started = time.perf_counter()
        if name == CASCADES[0]:
            trained = 0.0
            heard = _whisper_heard(world, test)
        else:
            heard, trained = _ctc_heard(world, train, test, seed)
        texts = world.cascade(seed, _Named(name)).translate_text(heard, test)
        facts = {
            "training s": round(trained, 1),
            "decoding s": round(time.perf_counter() - started - trained, 2),
            "transcripts right": sum(h == u.transcript for h, u in zip(heard, test, strict=True)) / len(test),
            **failure_counts(texts),
        }
        return _measured(_scores(texts, test), facts)

    return Arm(name, run)


@dataclass(frozen=True)
class _Named:
    """Stands where a cascade is given transcripts directly."""

    name: str

    def transcribe(self, waveforms: Sequence[Samples], language: str = "en") -> list[str]:
        raise NotImplementedError("transcripts are given")


def _trained(world: World, design: Design, train: Sequence[Utterance], seed: int) -> SpeechTranslator:
    design = with_vocabulary(design, train)
    torch.manual_seed(seed)
    language = load_language_model(design.llm.name)
    translator = SpeechTranslator(design, world.cache.encoder, language)
    schedule = Schedule(batch_size=world.budget.batch, seed=seed, save_every=10**9)
    with tempfile.TemporaryDirectory() as scratch:
        for number, stage in enumerate(design.stages):
            out = Path(scratch) / str(number)
            train_stage(translator, stage, Material(train), schedule, out, cache=world.cache)
    return translator.eval()


def _decode(
    translator: SpeechTranslator, features: Sequence[Features], test: Sequence[Utterance], most: int
) -> list[tuple[str, int]]:
    found: dict[int, tuple[str, int]] = {}
    order = sorted(range(len(test)), key=lambda i: len(features[i]))
    for start in range(0, len(order), _TOGETHER):
        part = order[start : start + _TOGETHER]
        made = translator.translate([features[i] for i in part], [test[i] for i in part], max_tokens=most)
        found |= {i: (m.text, m.speech_tokens) for i, m in zip(part, made, strict=True)}
    return [found[i] for i in range(len(test))]


_HEARD: dict[tuple[str, str], list[str]] = {}


def _whisper_heard(world: World, test: Sequence[Utterance]) -> list[str]:
    """Whisper's transcripts as digit words; they do not depend on the seed."""
    key = (world.budget.sfm, test[0].base)
    if key not in _HEARD:
        whisper = Whisper(world.budget.sfm, engine="transformers" if world.is_paper else "ctranslate2")
        texts: list[str] = []
        for start in range(0, len(test), 12):
            texts += whisper.transcribe([read_audio(u.reference) for u in test[start : start + 12]])
        _HEARD[key] = texts if world.is_paper else [digit_words(text) for text in texts]
    return _HEARD[key]


def _ctc_heard(
    world: World, train: Sequence[Utterance], test: Sequence[Utterance], seed: int
) -> tuple[list[str], float]:
    """Transcripts of a CTC head trained on the same utterances for as many steps; seconds of training."""
    from etude.methods.speech_translation.ctc_compression import CTCCompression

    started = time.perf_counter()
    design = world.design("ctc", seed)
    total = design.stages[0].model_copy(update={"steps": world.budget.head + world.budget.steps})
    translator = _trained(world, design.model_copy(update={"stages": (total,)}), train, seed)
    seconds = time.perf_counter() - started
    head = translator.length_adapter
    if not isinstance(head, CTCCompression):
        raise EtudeError("the recognizer is a CTC head", "Use the length adapter ctc.")
    heard: list[str] = []
    with torch.no_grad():
        for start in range(0, len(test), _TOGETHER):
            heard += head.transcribe(
                *translator.from_features(world.test_features[start : start + _TOGETHER])
            )
    return heard, seconds


def _scores(texts: Sequence[str], test: Sequence[Utterance]) -> dict[str, dict[str, float]]:
    from etude.methods.speech_translation.quality import character_f

    references = [u.translation or "" for u in test]
    pairs = list(zip(test, texts, references, strict=True))
    return {
        METRIC: {u.id: character_f(text, reference) for u, text, reference in pairs},
        "exact": {u.id: float(text == reference) for u, text, reference in pairs},
    }


def _measured(scores: dict[str, dict[str, float]], facts: dict[str, Any]) -> Measurement:
    exact = scores["exact"]
    return Measurement(scores, {"exact match": sum(exact.values()) / len(exact), **facts})
