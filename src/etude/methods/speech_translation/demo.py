"""A visible use in seconds: a real recording, heard, drawn, cut into speech tokens, and translated."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from etude.methods.speech_translation.audio import RATE, read_audio
from etude.methods.speech_translation.ctc_compression import CTCCompression
from etude.methods.speech_translation.recognizers import Whisper
from etude.methods.speech_translation.recorded_digits import recorded_numbers
from etude.methods.speech_translation.sound_view import spectrogram_figure, token_counts, token_figure
from etude.methods.speech_translation.speech_encoders import WhisperSpeechEncoder, load_speech_encoder
from etude.methods.speech_translation.translator_folder import SAMPLE, facts_of, load_translator
from etude.render import Audio, Block, Code, Demo, TableBlock, Text

SENTENCE = Path(__file__).parent / "sample" / "young-man.wav"
ADAPTERS = ("none", "conv:layers=2", "stack:k=5", "conv:layers=3", "wlq:window=17")


def demo(out: Path) -> Demo:
    """Translate spoken numbers that were not trained on, and show what other adapters would pass on.

    Args:
        out: Folder for the recordings.
    """
    utterances = recorded_numbers(out / "recordings")
    waves = [read_audio(u.reference) for u in utterances]
    translator = load_translator(SAMPLE)
    encoder, head = translator.sfm, translator.length_adapter
    assert isinstance(encoder, WhisperSpeechEncoder) and isinstance(head, CTCCompression)
    started = time.perf_counter()
    made = translator.translate(waves, utterances)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        x, lengths = encoder(waves)
        runs, heard = head.runs(x, lengths), head.transcribe(x, lengths)
    spoken = sum(map(len, waves)) / RATE
    went_in: list[Block] = []
    for one, samples, pieces in zip(utterances, waves, runs, strict=True):
        went_in.append(Audio(one.reference.path, repr(one.transcript)))
        went_in.append(token_figure(samples, encoder, pieces, one.transcript or one.id))
    rows: list[list[Any]] = [
        [u.transcript, h, m.speech_tokens, m.text, "yes" if m.text == u.translation else u.translation]
        for u, h, m in zip(utterances, heard, made, strict=True)
    ]
    test = facts_of(SAMPLE)["test"]
    right = sum(m.text == u.translation for u, m in zip(utterances, made, strict=True))
    return Demo(
        headline=f"{utterances[0].transcript!r} is heard and becomes {made[0].text!r}: {right} of "
        f"{len(made)} spoken numbers right in every letter, in {seconds:.1f} s for {spoken:.1f} s of speech",
        went_in=[
            Text(
                "Three numbers in a voice that the translator was not trained on: recorded digits which the "
                "package captcha carries (BSD-3-Clause), joined."
            ),
            *went_in,
        ],
        came_out=[
            TableBlock(
                ["said", "its CTC head hears", "tokens", "German", "right?"],
                rows,
                "Whisper tiny.en (frozen), a CTC length adapter, an MLP and a character language model; of "
                f"{test['utterances']} unseen numbers by another unseen speaker {100 * test['exact']:.0f} % "
                f"are right in every letter (chrF {test['chrf']:.0f})",
            ),
            *_sentence(),
        ],
        meaning="Speech goes into the language model as vectors, here one for each run of a label; the order "
        "of the digits changes in German, so the language model has to understand what it gets. Which length "
        "adapter is worth it is in `etude claim speech-translation`; `etude speech-translation train` makes "
        "such a translator from your recordings.",
    )


def _sentence() -> list[Block]:
    """Read speech: what Whisper hears, and how many vectors each fixed-rate length adapter makes of it."""
    samples = read_audio(SENTENCE)
    encoder = load_speech_encoder("whisper-tiny.en")
    assert isinstance(encoder, WhisperSpeechEncoder)
    started = time.perf_counter()
    with torch.no_grad():
        _, lengths = encoder([samples])
    took = time.perf_counter() - started
    counts = token_counts(int(lengths), encoder.width, ADAPTERS)
    seconds = len(samples) / RATE
    return [
        Text("A sentence of read speech, and what Whisper tiny.en hears:"),
        Audio(SENTENCE, "LibriVox, Sense and Sensibility (public domain)"),
        Code(Whisper("whisper-tiny.en", max_tokens=32).transcribe([samples])[0]),
        spectrogram_figure(samples, encoder, counts),
        TableBlock(
            ["length adapter", "speech tokens", "tokens per second"],
            [[name, count, count / seconds] for name, count in counts.items()],
            f"What would go into a language model; on the true length the encoder took {1000 * took:.0f} ms",
        ),
    ]
