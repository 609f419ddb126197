"""What a person sees of speech: its spectrogram, and where each length adapter's vectors lie on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    seconds = len(samples) / RATE
    figure, (top, bottom) = new_figure(
        width=7.2, height=4.2, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 2]}
    )
    _draw_frames(top, samples, encoder)
    for row, (_, count) in enumerate(ticks.items()):
        places = [(i + 0.5) * seconds / count for i in range(count)]
        bottom.scatter(places, [-row] * count, marker="|", s=120)
    bottom.set_yticks([-row for row in range(len(ticks))])
    bottom.set_yticklabels([f"{name}: {count}" for name, count in ticks.items()])
    bottom.set_ylim(-len(ticks) + 0.4, 0.6)
    bottom.set_xlabel("seconds")
    return Figure(figure, "Spectrogram of the recording, and the speech tokens of each length adapter")


def token_figure(
    samples: Samples, encoder: WhisperSpeechEncoder, runs: Sequence[tuple[int, int, str]], title: str
) -> Figure:
    """Whisper's mel frames of a recording, and the runs that a CTC head merges into one vector each.

    Args:
        samples: 16 kHz.
        encoder: Whose frames are drawn.
        runs: First frame, frame behind the last, character (empty: blank).
        title: Of the figure.
    """
    figure, (top, bottom) = new_figure(
        width=7.2, height=3.0, nrows=2, sharex=True, gridspec_kw={"height_ratios": [4, 1]}
    )
    _draw_frames(top, samples, encoder)
    for number, (first, last, character) in enumerate(runs):
        start, end = first / encoder.rate, last / encoder.rate
        shade = "#F0F0F0" if not character else ("#9ECAE1", "#C6DBEF")[number % 2]
        bottom.axvspan(start, end, color=shade, linewidth=0)
        bottom.axvline(start, color="white", linewidth=0.8)
        if character.strip():
            bottom.text((start + end) / 2, 0.5, character, ha="center", va="center", fontsize=8)
    bottom.set_ylim(0, 1)
    bottom.set_yticks([])
    bottom.set_xlim(0, len(samples) / RATE)
    bottom.set_ylabel(f"{len(runs)} tokens", rotation=0, ha="right", va="center")
    bottom.set_xlabel("seconds")
    caption = "Each shaded run becomes one vector; letters are what the CTC head reads there, grey is blank."
    return Figure(figure, f"{title}: spectrogram and speech tokens", caption)


def _draw_frames(axes: Any, samples: Samples, encoder: WhisperSpeechEncoder) -> None:
    mel: NDArray[np.float32] = encoder.log_mel(samples)[:, : len(samples) // HOP].cpu().numpy()
    axes.imshow(
        mel,
        origin="lower",
        aspect="auto",
        extent=(0, len(samples) / RATE, 0, mel.shape[0]),
        cmap="magma",
        rasterized=True,
    )
    axes.set_ylabel("mel channel")
    axes.grid(visible=False)


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
