"""speech-translation: training steps and encoding against default padding; recognition against its peer.

Three comparisons on real speech (ETUDE_TEST_DATA): a training step with a frozen encoder, features from the
cache, beside the same step fed by transformers' feature extractor, which pads to 30 s; the encoder alone on
3 s; and Whisper transcripts by our engines beside faster-whisper with the same weights, if installed.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from etude.errors import EtudeError
from etude.methods.speech_translation.audio import RATE, Samples, read_audio
from etude.methods.speech_translation.design import (
    AdapterBlock,
    Design,
    LanguageBlock,
    MixerBlock,
    SpeechBlock,
    Stage,
)
from etude.methods.speech_translation.examples import Batches, Example, Speech
from etude.methods.speech_translation.feature_cache import FeatureCache
from etude.methods.speech_translation.packaged_whisper import ctranslate2_directory, whisper_directory
from etude.methods.speech_translation.quality import word_error_rate
from etude.methods.speech_translation.recognizers import Whisper
from etude.methods.speech_translation.speech_encoders import load_speech_encoder
from etude.methods.speech_translation.spoken_numbers import prepare_numbers
from etude.methods.speech_translation.staged_training import block_optimizer
from etude.methods.speech_translation.translator import SpeechTranslator
from etude.methods.speech_translation.utterances import Utterance

SENTENCES = tuple(f"sense_and_sensibility_01_austen_64kb-08{n}" for n in (70, 80, 90))


def main(*, quick: bool = False) -> dict[str, Any]:
    default = Path(__file__).parents[2] / "shared" / "data"
    data = Path(os.environ.get("ETUDE_TEST_DATA") or default) / "speech-translation"
    if not (data / "librivox.csv").is_file():
        raise EtudeError(f"no research data at {data}", "Set ETUDE_TEST_DATA.")
    return {
        **training(data, steps=2 if quick else 6),
        **encoding(data, repeats=1 if quick else 5),
        "recognition": recognition(data, repeats=1 if quick else 3),
    }


def training(data: Path, *, steps: int, batch: int = 8) -> dict[str, Any]:
    """Utterances a second of whole steps: encoder or cache, adapters, SmolLM2, backward, optimizer."""
    utterances = prepare_numbers(data).train[: steps * batch]
    stage = Stage(steps=steps)
    design = Design(
        sfm=SpeechBlock(name="whisper-base"),
        length_adapter=AdapterBlock(kind="conv", options={"layers": 3}),
        modality_adapter=AdapterBlock(kind="linear"),
        mixer=MixerBlock(templates={"st": ("{speech}=",)}, chat=False),
        llm=LanguageBlock(name="smollm2"),
        stages=(stage,),
    )
    translator = SpeechTranslator.build(design).train()
    optimizer = block_optimizer(stage)(translator)

    def step(examples: list[Example]) -> None:
        optimizer.zero_grad()
        translator(examples)["loss"].backward()
        optimizer.step()

    with tempfile.TemporaryDirectory() as scratch:
        started = time.process_time()
        speech = Speech(utterances, FeatureCache(translator.sfm, Path(scratch)))
        filling = time.process_time() - started
        batches = Batches(utterances, ("st",), speech, batch_size=batch, count=steps)
        step(batches[0])  # warm-up
        started = time.process_time()
        for i in range(steps):
            step(batches[i])
        ours = steps * batch / (time.process_time() - started)
    extractor, encoder = _default_padding()
    peer_steps = max(1, steps // 3)
    started = time.process_time()
    for i in range(peer_steps):
        part = utterances[i * batch : (i + 1) * batch]
        step([_example(u, row) for u, row in zip(part, _padded(part, extractor, encoder), strict=True)])
    peer = peer_steps * batch / (time.process_time() - started)
    seconds = sum(speech.seconds.values()) / len(utterances)
    return {
        "training: mean seconds of an utterance": seconds,
        "training, default padding, utterances/s": peer,
        "training, feature cache, utterances/s": ours,
        "training, times as fast (target 5)": ours / peer,
        "filling the cache once, utterances/s": len(utterances) / filling,
    }


def _default_padding() -> tuple[Any, Any]:
    from transformers import WhisperFeatureExtractor, WhisperModel

    folder = whisper_directory("whisper-base")
    return WhisperFeatureExtractor.from_pretrained(folder), WhisperModel.from_pretrained(
        folder
    ).encoder.eval()


def _padded(part: list[Utterance], extractor: Any, encoder: Any) -> list[np.ndarray]:
    """Features as the default pipeline has them: 1,500 of them, whatever was said."""
    waves = [read_audio(u.reference) for u in part]
    given = extractor(waves, sampling_rate=RATE, return_tensors="pt").input_features
    with torch.no_grad():
        states = encoder(given).last_hidden_state
    return [row.numpy().astype(np.float16) for row in states]


def _example(utterance: Utterance, features: np.ndarray) -> Example:
    return Example(utterance, "st", utterance.translation or "", features=features)


def encoding(data: Path, *, repeats: int) -> dict[str, Any]:
    """Whisper base's encoder on 3 s: transformers on the padded 30 s, and on the true length."""
    extractor, encoder = _default_padding()
    wave = read_audio(data / f"{SENTENCES[1]}.wav")[: 3 * RATE]
    ours = load_speech_encoder("whisper-base")

    def padded() -> None:
        encoder(extractor(wave, sampling_rate=RATE, return_tensors="pt").input_features)

    with torch.no_grad():
        peer_seconds, our_seconds = _best(padded, repeats), _best(lambda: ours([wave]), repeats)
    return {
        "encoding 3 s, padded to 30 s, ms": 1000 * peer_seconds,
        "encoding 3 s, true length, ms": 1000 * our_seconds,
        "encoding, times as fast (target 8)": peer_seconds / our_seconds,
    }


def recognition(data: Path, *, repeats: int) -> list[dict[str, Any]]:
    """Three LibriVox sentences by Whisper tiny.en, one after the other, greedily."""
    waves = [read_audio(data / f"{name}.wav") for name in SENTENCES]
    lines = (data / "librivox.csv").read_text().splitlines()[1:]
    references = [line.partition(",")[2] for line in lines]
    spoken = sum(len(w) for w in waves) / RATE
    contenders: dict[str, Callable[[Samples], str]] = {}
    for engine in ("transformers", "ctranslate2"):
        whisper = Whisper("whisper-tiny.en", engine=engine)  # type: ignore[arg-type]
        contenders[f"ours, {engine}"] = lambda wave, w=whisper: w.transcribe([wave])[0]  # type: ignore[misc]
    if importlib.util.find_spec("faster_whisper"):
        from faster_whisper import WhisperModel

        model = WhisperModel(str(ctranslate2_directory("whisper-tiny.en")), compute_type="int8")
        contenders["faster-whisper, int8"] = lambda wave: " ".join(
            s.text for s in model.transcribe(wave, beam_size=1, language="en")[0]
        )
    rows = []
    for name, transcribe in contenders.items():
        texts = [transcribe(wave) for wave in waves]
        seconds = _best(lambda t=transcribe: [t(wave) for wave in waves], repeats)  # type: ignore[misc]
        wer = word_error_rate(texts, references).scores["wer"]
        rows.append({"system": name, "real-time factor": seconds / spoken, "WER": wer})
    return rows


def _best(work: Callable[[], Any], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)
