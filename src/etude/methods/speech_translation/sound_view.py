"""What a person sees of speech: its spectrogram, and where each length adapter's vectors lie on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from etude.methods.speech_translation.audio import RATE, Samples
from etude.methods.speech_translation.length_adapters import build_length_adapter
from etude.methods.speech_translation.speech_encoders import HOP, WhisperSpeechEncoder
from etude.render import Figure, new_figure


def spectrogram_figure(samples: Samples, encoder: WhisperSpeechEncoder, ticks: dict[str, int]) -> Figure:
    """Whisper's mel frames of a recording, and below it one row of vectors per length adapter.

    Args:
        samples: 16 kHz.
        encoder: Whose frames are drawn.
        ticks: Length adapter to the number of its vectors.
    """
    frames = len(samples) // HOP
    mel: NDArray[np.float32] = encoder.log_mel(samples)[:, :frames].cpu().numpy()
    seconds = len(samples) / RATE
    figure, (top, bottom) = new_figure(
        width=7.2, height=4.2, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 2]}
    )
    top.imshow(
        mel,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, mel.shape[0]),
        cmap="magma",
        rasterized=True,
    )
    top.set_ylabel("mel channel")
    top.grid(visible=False)
    for row, (_, count) in enumerate(ticks.items()):
        places = [(i + 0.5) * seconds / count for i in range(count)]
        bottom.scatter(places, [-row] * count, marker="|", s=120)
    bottom.set_yticks([-row for row in range(len(ticks))])
    bottom.set_yticklabels([f"{name}: {count}" for name, count in ticks.items()])
    bottom.set_ylim(-len(ticks) + 0.4, 0.6)
    bottom.set_xlabel("seconds")
    return Figure(figure, "Spectrogram of the recording, and the speech tokens of each length adapter")


def token_counts(frames: int, width: int, adapters: Sequence[str]) -> dict[str, int]:
    """Vectors that fixed-rate length adapters make of so many features.

    Args:
        frames: Features of the encoder.
        width: d of the features.
        adapters: As for `--la`.
    """
    from etude.methods.speech_translation.design import AdapterBlock

    counts = {}
    for text in adapters:
        block = AdapterBlock.parse(text)
        adapter = build_length_adapter(block.kind, width, block.options).eval()
        with torch.no_grad():
            _, lengths = adapter(torch.zeros(1, frames, width), torch.tensor([frames]))
        counts[text] = int(lengths)
    return counts
