"""speech-translation: training steps and encoding against default padding; recognition against its peer.

Three comparisons on real speech (ETUDE_TEST_DATA): a training step with a frozen encoder, features from the
cache, beside the same step fed by transformers' feature extractor, which pads to 30 s; the encoder alone on
3 s; and Whisper transcripts by our engines beside faster-whisper with the same weights, if installed.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks._comparison import Comparison, Figure, Missing, in_turn, ratios
from benchmarks._peers import FASTER_WHISPER, TRANSFORMERS
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

PEERS = (TRANSFORMERS, FASTER_WHISPER)
SENTENCES = tuple(f"sense_and_sensibility_01_austen_64kb-08{n}" for n in (70, 80, 90))


def main(*, full: bool, repetitions: int) -> Comparison:
    """All three; `full` takes six steps a repetition instead of one."""
    default = Path(__file__).parents[2] / "shared" / "data"
    data = Path(os.environ.get("ETUDE_TEST_DATA") or default) / "speech-translation"
    if not (data / "librivox.csv").is_file():
        raise EtudeError(f"no research data at {data}", "Set ETUDE_TEST_DATA.")
    step, rates = training(data, 6 if full else 1, repetitions)
    recognized, missing, systems = recognition(data, repetitions)
    details = {"training": rates, "recognition": systems}
    return Comparison([step, encoding(data, repetitions), *recognized], missing, details)


def training(data: Path, steps: int, repetitions: int, batch: int = 8) -> tuple[Figure, dict[str, Any]]:
    """Whole steps in turn: encoder or cache, adapters, SmolLM2, backward, optimizer."""
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
        extractor, encoder = _default_padding()

        def ours() -> None:
            for i in range(steps):
                step(batches[i])

        def peer() -> None:
            part = utterances[:batch]
            step([_example(u, row) for u, row in zip(part, _padded(part, extractor, encoder), strict=True)])

        step(batches[0])  # warm-up
        seconds = in_turn({"ours": ours, "peer": peer}, repetitions)
    mine = [taken / steps for taken in seconds["ours"]]
    figure = Figure(
        f"a training step of {batch} short utterances, Whisper base frozen, SmolLM2",
        "features of transformers' extractor, padded to 30 s",
        "processor seconds",
        ratios(seconds["peer"], mine),
        5,
    )
    return figure, {
        "mean seconds of an utterance": sum(speech.seconds.values()) / len(utterances),
        "default padding, utterances/s": batch / median(seconds["peer"]),
        "feature cache, utterances/s": batch / median(mine),
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


def encoding(data: Path, repetitions: int) -> Figure:
    """Whisper base's encoder on 3 s: transformers on the padded 30 s, and on the true length."""
    extractor, encoder = _default_padding()
    wave = read_audio(data / f"{SENTENCES[1]}.wav")[: 3 * RATE]
    ours = load_speech_encoder("whisper-base")

    def padded() -> None:
        encoder(extractor(wave, sampling_rate=RATE, return_tensors="pt").input_features)

    with torch.no_grad():
        seconds = in_turn({"peer": padded, "ours": lambda: ours([wave])}, repetitions, warm=True)
    return Figure(
        "Whisper base's encoder on 3 s of speech",
        "transformers, padded to 30 s",
        "processor seconds",
        ratios(seconds["peer"], seconds["ours"]),
        8,
    )


def recognition(data: Path, repetitions: int) -> tuple[list[Figure], list[Missing], list[dict[str, Any]]]:
    """Three LibriVox sentences by Whisper tiny.en, one after the other, greedily."""
    waves = [read_audio(data / f"{name}.wav") for name in SENTENCES]
    lines = (data / "librivox.csv").read_text().splitlines()[1:]
    references = [line.partition(",")[2] for line in lines]
    spoken = sum(len(w) for w in waves) / RATE
    work = f"recognizing {spoken:.0f} s of speech, Whisper tiny.en, greedily, int8"
    contenders: dict[str, Callable[[Samples], str]] = {}
    for engine in ("transformers", "ctranslate2"):
        whisper = Whisper("whisper-tiny.en", engine=engine)  # type: ignore[arg-type]
        contenders[f"ours, {engine}"] = lambda wave, w=whisper: w.transcribe([wave])[0]  # type: ignore[misc]
    if there := FASTER_WHISPER.version() is not None:
        from faster_whisper import WhisperModel

        model = WhisperModel(str(ctranslate2_directory("whisper-tiny.en")), compute_type="int8")
        contenders["faster-whisper, int8"] = lambda wave: " ".join(
            s.text for s in model.transcribe(wave, beam_size=1, language="en")[0]
        )
    texts: dict[str, list[str]] = {}
    arms = {
        name: lambda name=name, t=transcribe: texts.__setitem__(name, [t(wave) for wave in waves])
        for name, transcribe in contenders.items()
    }
    seconds = in_turn(arms, repetitions, warm=True)
    rows = [
        {"system": name, "real-time factor": median(taken) / spoken,
         "WER": word_error_rate(texts[name], references).scores["wer"]}
        for name, taken in seconds.items()
    ]  # fmt: skip
    if not there:
        return [], [Missing(work, FASTER_WHISPER)], rows
    speed = ratios(seconds["faster-whisper, int8"], seconds["ours, ctranslate2"])
    return [Figure(work, "faster-whisper", "processor seconds", speed)], [], rows
