"""Real audio in: WAV, FLAC, MP3 or OGG of any rate and channels becomes 16 kHz mono; long files are cut.

An audio reference is a path, or `path:start:end` in seconds. What was changed (rate, channels) is said once
per kind, not once per file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.render import console

RATE = 16_000
SHORTEST = 0.1  # seconds
_STREAMED = 0x7FFF0000  # lengths from here on stand for an unknown one
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class AudioReference:
    """A file, or a piece of one.

    Args:
        path: The file.
        start: In seconds.
        end: In seconds; None is the file's end.
    """

    path: Path
    start: float = 0.0
    end: float | None = None


def parse_reference(text: str, base: Path | None = None) -> AudioReference:
    """Read `path` or `path:start:end`.

    Args:
        text: As written in a data file.
        base: Folder that relative paths belong to.

    Raises:
        EtudeError: The times are not seconds in order.
    """
    pieces = text.rsplit(":", 2)
    where, times = text, None
    if len(pieces) == 3 and not Path(text).exists():
        try:
            times = float(pieces[1]), float(pieces[2]) if pieces[2] else None
            where = pieces[0]
        except ValueError:
            pass
    path = Path(where).expanduser()
    if base is not None and not path.is_absolute():
        path = base / path
    if times is None:
        return AudioReference(path)
    start, end = times
    if not 0 <= start < (np.inf if end is None else end):
        raise EtudeError(f"{text}: from {start} s to {end} s is nothing", "Write path:start:end in seconds.")
    return AudioReference(path, start, end)


def read_audio(reference: AudioReference | Path | str) -> Samples:
    """Samples at 16 kHz, mono, in [-1, 1].

    Args:
        reference: A file, or a piece of one.

    Returns:
        (samples,) float32.

    Raises:
        EtudeError: The file is missing, not audio, or holds less than 0.1 s.
    """
    if isinstance(reference, str):
        reference = parse_reference(reference)
    if isinstance(reference, Path):
        reference = AudioReference(reference)
    with _open(reference.path) as file:
        rate, channels = file.samplerate, file.channels
        first = round(reference.start * rate)
        last = len(file) if reference.end is None else min(len(file), round(reference.end * rate))
        if first and first >= len(file):
            raise EtudeError(
                f"{reference.path}: has {len(file) / rate:.2f} s, asked was from {reference.start} s",
                "Mend the times in path:start:end.",
            )
        file.seek(first)
        samples = file.read(last - first, dtype="float32", always_2d=True)
    seconds = len(samples) / rate
    if seconds < SHORTEST:
        raise EtudeError(
            f"{reference.path}: {seconds:.3f} s of audio, less than {SHORTEST} s", "Leave this utterance out."
        )
    if not np.isfinite(samples).all():
        raise EtudeError(f"{reference.path}: holds samples that are not numbers", "Write the file again.")
    if channels > 1:
        _say_once(f"audio with {channels} channels is mixed down to one")
    if rate != RATE:
        _say_once(f"audio of {rate:,} Hz is resampled to {RATE:,} Hz")
    return resample(samples.mean(axis=1), rate)


def audio_seconds(reference: AudioReference) -> float:
    """Length in seconds, from the file's header.

    Raises:
        EtudeError: The file is missing or not audio.
    """
    with _open(reference.path) as file:
        whole = len(file) / file.samplerate
    return max(0.0, (whole if reference.end is None else min(reference.end, whole)) - reference.start)


def resample(samples: NDArray[np.floating], rate: int) -> Samples:
    """To 16 kHz by a polyphase filter."""
    if rate == RATE:
        return samples.astype(np.float32)
    from scipy.signal import resample_poly

    ratio = Fraction(RATE, rate)
    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator), dtype=np.float32)


def chunks(samples: Samples, longest: float = 30.0, search: float = 3.0) -> Iterator[tuple[int, int]]:
    """Cut long audio where it is quietest.

    Args:
        samples: 16 kHz, mono.
        longest: Seconds of a piece at most.
        search: The cut lies within this many seconds before the limit, in the quietest 0.1 s.

    Yields:
        `(first, last)` sample of each piece, in order and without gaps.
    """
    limit, window = round(longest * RATE), RATE // 10
    first = 0
    while len(samples) - first > limit:
        low = first + limit - round(search * RATE)
        energy = np.convolve(samples[low : first + limit].astype(np.float64) ** 2, np.ones(window), "valid")
        cut = low + int(energy.argmin()) + window // 2
        if len(samples) - cut < SHORTEST * RATE:
            cut = len(samples) - round(SHORTEST * RATE)
        yield first, cut
        first = cut
    yield first, len(samples)


def audio_hash(samples: Samples) -> str:
    """What identifies audio: SHA-256 (hex) of its 16 kHz samples."""
    return hashlib.sha256(np.ascontiguousarray(samples, dtype="<f4").tobytes()).hexdigest()


def write_wav(path: Path, samples: Samples) -> None:
    """Write 16-bit mono WAV at 16 kHz."""
    import wave

    clipped = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(clipped.tobytes())


class _File(Protocol):
    """What is used of an open audio file."""

    samplerate: int
    channels: int

    def __len__(self) -> int: ...
    def __enter__(self) -> _File: ...
    def __exit__(self, *error: Any) -> Any: ...
    def seek(self, first: int) -> Any: ...
    def read(self, count: int, *, dtype: str, always_2d: bool) -> NDArray[np.float32]: ...


class _Wav:
    """A WAV file of 8 or 16 bits, where soundfile is not installed."""

    def __init__(self, path: Path) -> None:
        from scipy.io import wavfile

        self.samplerate, values = wavfile.read(path)
        if values.dtype == np.uint8:
            values = (values.astype(np.int16) - 128) << 8
        if values.dtype != np.int16:
            raise ValueError("neither 8 nor 16 bits")
        self.values = values.reshape(len(values), -1)
        self.channels = self.values.shape[1]
        self.at = 0

    def __len__(self) -> int:
        return len(self.values)

    def __enter__(self) -> _Wav:
        return self

    def __exit__(self, *error: Any) -> None:
        return None

    def seek(self, first: int) -> None:
        self.at = first

    def read(self, count: int, *, dtype: str, always_2d: bool) -> NDArray[np.float32]:
        piece: NDArray[np.float32] = self.values[self.at : self.at + count].astype(np.float32) / 32768
        return piece


def _open(path: Path) -> _File:
    if not path.is_file():
        raise EtudeError(f"{path}: no such audio file", "Check the path in the data file.")
    _refuse_cut_off(path)
    try:
        import soundfile
    except ModuleNotFoundError as error:
        try:
            return _Wav(path)
        except (ValueError, EOFError):
            raise EtudeError(
                f"{path}: without the package soundfile only WAV of 8 or 16 bits is read",
                'pip install "etude[speech]"',
            ) from error
    try:
        opened: _File = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise EtudeError(
            f"{path}: not audio that can be read ({error.error_string})", "Give WAV, FLAC, MP3 or OGG."
        ) from error
    return opened


def _refuse_cut_off(path: Path) -> None:
    """Refuse a WAV file that is shorter than its header says, of which readers give the rest."""
    with open(path, "rb") as handle:
        head = handle.read(8)
    said, there = int.from_bytes(head[4:], "little") + 8, path.stat().st_size
    if head[:4] == b"RIFF" and there < said < _STREAMED:
        raise EtudeError(
            f"{path}: cut off: {there:,} of {said:,} bytes are there",
            "Restore it, or leave this utterance out.",
        )


@cache
def _say_once(text: str) -> None:
    console().print(text)
