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
from etude.methods.speech_translation.audio import read_audio
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
from etude.methods.speech_translation.staged_training import Material, Schedule, StageReport, train_stage
from etude.methods.speech_translation.systems import TEXT_PROMPT, TextTranslator
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
CONTENT = {
    "ctc": ("ctc:mode=average", True),
    "ctc, no head stage": ("ctc:mode=average", False),
    "cif": ("cif:unit=character", True),
}
"""Arms that compress by content: length adapter, and whether it spends the first stage on its own loss (else,
as the fixed-rate arms do, on transcription through the language model)."""
CASCADES = ("cascade, zero-shot", "cascade, in-domain CTC")
PAPER_FILES = ("train.tsv", "dev.tsv", "test.tsv")
_TOGETHER = 60  # utterances that are decoded at once


@dataclass(frozen=True)
class Budget:
    """What every arm gets.

    Attributes:
        sfm: Speech model, frozen.
        llm: Language model; `character` is trained in the run and then frozen, others get LoRA.
        utterances: To train on.
        head: Steps on transcripts.
        head_most: Of a CTC head's own stage, which ends sooner at `head_wer`; such a step costs a small part
            of one through the language model.
        head_wer: Word error rate on the development utterances at which a CTC head has learned enough.
        steps: Steps on translations.
        batch: Examples of a step.
        rate: Peak learning rate of the adapters.
        max_tokens: Of an answer.
    """

    sfm: str = "whisper-tiny.en"
    llm: str = "character"
    utterances: int = 800
    head: int = 100
    head_most: int = 600
    head_wer: float = 0.05
    steps: int = 160
    batch: int = 16
    rate: float = 2e-3
    max_tokens: int = 48


SCALES = {
    "laptop": Budget(),
    "slow": Budget(llm="smollm2", head=400, head_most=2400, steps=1200, rate=1e-3),
    "paper": Budget(
        sfm="openai/whisper-large-v3",
        llm="meta-llama/Llama-3.1-8B-Instruct",
        utterances=10**9,
        head=20_000,
        head_most=20_000,
        head_wer=0.1,
        steps=28_000,
        batch=64,
        rate=1e-4,
        max_tokens=256,
    ),
}


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
    def splits(self) -> tuple[list[Utterance], list[Utterance], list[Utterance]]:
        """Training, development and test utterances."""
        if self.is_paper:
            learned, dev, test = (read_utterances(self.data / name) for name in PAPER_FILES)
            return learned, dev, test
        task = prepare_numbers(self.data, train=self.budget.utterances)
        return task.train, task.dev, task.test

    @cached_property
    def cache(self) -> FeatureCache:
        """Features of the frozen speech model."""
        return FeatureCache(load_speech_encoder(self.budget.sfm))

    @cached_property
    def test_features(self) -> list[Features]:
        """Of the test utterances; those of the others are in the cache from here on."""
        learned, dev, test = self.splits
        speech = Speech([*learned, *dev, *test], self.cache)
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

    def text_translator(self, seed: int) -> TextTranslator:
        """The language model on transcripts."""
        language = load_language_model(self.llm_name(seed))
        prompt = TRANSLATE if self.llm == "character" else TEXT_PROMPT
        return TextTranslator(language, prompt=prompt, mixer=self.mixer, max_tokens=self.budget.max_tokens)

    def design(self, la: str, seed: int, *, own: bool = False) -> Design:
        """An arm's design: a stage on transcripts, then one on translations.

        Args:
            la: Length adapter.
            seed: Of the language model.
            own: The first stage is spent on the length adapter's own loss.
        """
        stops = own and la.startswith("ctc")
        state: Any = {} if self.llm == "character" else {"llm": "lora"}
        rates: Any = {"adapter": self.budget.rate}
        stages = (
            Stage(tasks=("asr",), steps=self.budget.head_most if stops else self.budget.head, lr=rates,
                  supervise_only=own, until_wer=self.budget.head_wer if stops else None,
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


def speech_arm(world: World, name: str, la: str, own: bool = False) -> Arm:
    """A translator with one length adapter."""

    def run(seed: int) -> Measurement:
        test, features = world.splits[2], world.test_features
        design = world.design(la, seed, own=own)
        started = time.perf_counter()
        translator, reports = _trained(world, design, seed)
        trained = time.perf_counter() - started
        started = time.perf_counter()
        made = _decode(translator, features, test, world.budget.max_tokens)
        decoded = time.perf_counter() - started
        half = len(test) // 2
        others = _decode(translator, [*features[half:], *features[:half]], test, world.budget.max_tokens)
        texts = [text for text, _ in made]
        facts = {
            "speech tokens": sum(n for _, n in made) / len(made),
            "steps": [report.steps for report in reports],
            "head WER": reports[0].wer,
            "training s": round(trained, 1),
            "decoding s": round(decoded, 2),
            **failure_counts(texts),
            "all blank": int(getattr(translator.length_adapter, "all_blank", 0)),
        }
        scores = _scores(texts, test)
        scores["chrF, other audio"] = _scores([text for text, _ in others], test)[METRIC]
        return _measured(scores, facts)

    return Arm(name, run, {"la": la, "own": own})


def topline_arm(world: World) -> Arm:
    """The language model on the true words."""

    def run(seed: int) -> Measurement:
        test = world.splits[2]
        translator = world.text_translator(seed)
        started = time.perf_counter()
        texts = translator.translate([u.transcript or "" for u in test], test)
        facts = {"decoding s": round(time.perf_counter() - started, 2), **failure_counts(texts)}
        return _measured(_scores(texts, test), facts)

    return Arm(TOPLINE, run)


def cascade_arm(world: World, name: str) -> Arm:
    """The language model on a transcript: Whisper's own, or that of a CTC head on the same features."""

    def run(seed: int) -> Measurement:
        test = world.splits[2]
        translator = world.text_translator(seed)
        if name == CASCADES[0]:
            (heard, seconds), trained = _whisper_heard(world, test), 0.0
        else:
            heard, seconds, trained = _ctc_heard(world, test, seed)
        started = time.perf_counter()
        texts = translator.translate(heard, test)
        facts = {
            "training s": round(trained, 1),
            "decoding s": round(time.perf_counter() - started + seconds, 2),
            "transcripts right": sum(h == u.transcript for h, u in zip(heard, test, strict=True)) / len(test),
            **failure_counts(texts),
        }
        return _measured(_scores(texts, test), facts)

    return Arm(name, run)


def _trained(world: World, design: Design, seed: int) -> tuple[SpeechTranslator, list[StageReport]]:
    learned, dev, _ = world.splits
    design = with_vocabulary(design, learned)
    torch.manual_seed(seed)
    language = load_language_model(design.llm.name)
    translator = SpeechTranslator(design, world.cache.encoder, language)
    schedule = Schedule(batch_size=world.budget.batch, seed=seed, save_every=10**9)
    reports = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, stage in enumerate(design.stages):
            out = Path(scratch) / str(number)
            material = Material(learned, dev if stage.until_wer is not None else ())
            reports.append(train_stage(translator, stage, material, schedule, out, cache=world.cache))
    return translator.eval(), reports


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


_HEARD: dict[tuple[str, str], tuple[list[str], float]] = {}


def _whisper_heard(world: World, test: Sequence[Utterance]) -> tuple[list[str], float]:
    """Whisper's transcripts as digit words, which do not depend on the seed, and the seconds it took."""
    key = (world.budget.sfm, test[0].base)
    if key not in _HEARD:
        whisper = Whisper(world.budget.sfm, engine="transformers" if world.is_paper else "ctranslate2")
        texts: list[str] = []
        started = time.perf_counter()
        for start in range(0, len(test), 12):
            texts += whisper.transcribe([read_audio(u.reference) for u in test[start : start + 12]])
        seconds = time.perf_counter() - started
        _HEARD[key] = (texts if world.is_paper else [digit_words(text) for text in texts]), seconds
    return _HEARD[key]


def _ctc_heard(world: World, test: Sequence[Utterance], seed: int) -> tuple[list[str], float, float]:
    """Transcripts of a CTC head trained on the same utterances, seconds of hearing, seconds of training.

    It has as many steps as the arm ctc has at most.
    """
    from etude.methods.speech_translation.ctc_compression import CTCCompression

    features = world.test_features
    started = time.perf_counter()
    design = world.design("ctc", seed, own=True)
    steps = world.budget.head_most + world.budget.steps
    total = design.stages[0].model_copy(update={"steps": steps, "until_wer": None})
    translator, _ = _trained(world, design.model_copy(update={"stages": (total,)}), seed)
    trained = time.perf_counter() - started
    head = translator.length_adapter
    if not isinstance(head, CTCCompression):
        raise EtudeError("the recognizer is a CTC head", "Use the length adapter ctc.")
    heard: list[str] = []
    started = time.perf_counter()
    with torch.no_grad():
        for start in range(0, len(test), _TOGETHER):
            heard += head.transcribe(*translator.from_features(features[start : start + _TOGETHER]))
    return heard, time.perf_counter() - started, trained


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
