"""A visible use in seconds: a real recording, heard, drawn, cut into speech tokens, and translated."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from etude.methods.speech_translation.audio import RATE, read_audio
from etude.methods.speech_translation.language_models import load_language_model
from etude.methods.speech_translation.recognizers import Whisper
from etude.methods.speech_translation.sound_view import spectrogram_figure, token_counts
from etude.methods.speech_translation.speech_encoders import WhisperSpeechEncoder, load_speech_encoder
from etude.methods.speech_translation.systems import Cascade
from etude.methods.speech_translation.utterances import Utterance
from etude.render import Audio, Code, Demo, TableBlock, Text

RECORDING = Path(__file__).parent / "sample" / "young-man.wav"
ADAPTERS = ("none", "conv:layers=2", "stack:k=5", "conv:layers=3", "wlq:window=17")


def demo(out: Path) -> Demo:
    """Translate a LibriVox sentence with Whisper tiny.en and SmolLM2; show what each adapter would pass on.

    Args:
        out: Folder, not needed here.
    """
    samples = read_audio(RECORDING)
    encoder = load_speech_encoder("whisper-tiny.en")
    assert isinstance(encoder, WhisperSpeechEncoder)
    started = time.perf_counter()
    with torch.no_grad():
        _, lengths = encoder([samples])
    true_length = time.perf_counter() - started
    counts = token_counts(int(lengths), encoder.width, ADAPTERS)
    whisper = Whisper("whisper-tiny.en", max_tokens=32)
    cascade = Cascade(whisper, load_language_model("smollm2"), max_tokens=32)
    utterance = Utterance(id=RECORDING.stem, audio=str(RECORDING), target_lang="fr")
    heard = whisper.transcribe([samples])[0]
    french = cascade.translate_text([heard], [utterance])[0]
    seconds = len(samples) / RATE
    return Demo(
        headline=f"{seconds:.1f} s of real speech, {int(lengths)} features, "
        f"{counts['wlq:window=17']} to {counts['none']} speech tokens: {heard!r}",
        went_in=[
            Audio(RECORDING, "LibriVox, Sense and Sensibility (public domain)"),
            spectrogram_figure(samples, encoder, counts),
        ],
        came_out=[
            Text("What Whisper tiny.en hears:"),
            Code(heard),
            Text("What SmolLM2-135M makes of it in French (a small model: read it as such):"),
            Code(french),
            TableBlock(
                ["length adapter", "speech tokens", "tokens per second"],
                [[name, count, count / seconds] for name, count in counts.items()],
                "What goes into the language model; on the true length the encoder took "
                f"{1000 * true_length:.0f} ms",
            ),
        ],
        meaning="This is the cascade, which needs no training. `etude speech-translation train` joins the "
        "same encoder to the same language model by one of these adapters; which one is worth it is in "
        "`etude claim speech-translation`.",
    )
