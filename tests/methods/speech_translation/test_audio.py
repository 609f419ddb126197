"""Real audio in: formats, rates, channels, pieces, and what is refused."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.speech_translation.audio import (
    RATE,
    audio_hash,
    audio_seconds,
    chunks,
    parse_reference,
    read_audio,
    write_wav,
)

from .conftest import tone


def pitch(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_tone_keeps_its_pitch_and_length_in_every_format_and_rate(
    tmp_path: Path, suffix: str, rate: int
) -> None:
    times = np.arange(rate) / rate
    soundfile.write(tmp_path / f"a.{suffix}", 0.3 * np.sin(2 * np.pi * 500 * times), rate)
    samples = read_audio(tmp_path / f"a.{suffix}")
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(RATE, rel=0.1)  # MP3 pads
    assert pitch(samples) == pytest.approx(500, abs=2)


def test_stereo_is_the_mean_of_its_channels(tmp_path: Path) -> None:
    left, right = tone(0.5, 300), tone(0.5, 700)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), (left + right) / 2, atol=1e-6)


def test_a_piece_of_a_file_is_what_lies_between_its_times(tmp_path: Path) -> None:
    whole = tone(2.0)
    write_wav(tmp_path / "a.wav", whole)
    piece = read_audio(f"{tmp_path / 'a.wav'}:0.5:1.25")
    np.testing.assert_allclose(piece, whole[8000:20000], atol=1e-4)
    assert audio_seconds(parse_reference(f"{tmp_path / 'a.wav'}:0.5:")) == pytest.approx(1.5)


@pytest.mark.parametrize("times", ["1:0.5", "-1:1", "1:1"])
def test_times_out_of_order_are_refused(tmp_path: Path, times: str) -> None:
    with pytest.raises(EtudeError, match="is nothing"):
        parse_reference(f"{tmp_path / 'a.wav'}:{times}")


def test_a_piece_behind_the_end_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(0.5))
    with pytest.raises(EtudeError, match=r"has 0\.50 s"):
        read_audio(f"{tmp_path / 'a.wav'}:3:4")


def test_missing_files_and_files_that_are_no_audio_are_named(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="no such audio file"):
        read_audio(tmp_path / "gone.wav")
    (tmp_path / "text.wav").write_text("these are words")
    with pytest.raises(EtudeError, match=r"text\.wav: not audio"):
        read_audio(tmp_path / "text.wav")


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_less_than_a_tenth_of_a_second_is_refused(tmp_path: Path, seconds: float) -> None:
    write_wav(tmp_path / "a.wav", tone(seconds))
    with pytest.raises(EtudeError, match=r"less than 0\.1 s"):
        read_audio(tmp_path / "a.wav")


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(8000, np.nan, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(EtudeError, match="not numbers"):
        read_audio(tmp_path / "a.wav")


def test_16_bit_wav_is_read_without_soundfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wav(tmp_path / "a.wav", tone(0.5))
    by_soundfile = read_audio(f"{tmp_path / 'a.wav'}:0.1:0.4")
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    np.testing.assert_array_equal(read_audio(f"{tmp_path / 'a.wav'}:0.1:0.4"), by_soundfile)
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    with pytest.raises(EtudeError, match=r"without the package soundfile") as caught:
        read_audio(tmp_path / "a.flac")
    assert caught.value.hint == 'pip install "etude[speech]"'


@settings(max_examples=30, deadline=None)
@given(st.integers(2000, 200_000), st.floats(1.0, 3.0), st.integers(0, 5))
def test_chunks_cover_the_audio_without_gaps_and_none_is_too_long(n: int, longest: float, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(size=n).astype(np.float32)
    pieces = list(chunks(samples, longest, search=0.5))
    assert pieces[0][0] == 0 and pieces[-1][1] == n
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
    assert all(0.1 * RATE <= b - a <= longest * RATE for a, b in pieces)


def test_long_audio_is_cut_where_it_is_quiet() -> None:
    samples = tone(4.0)
    samples[40_000:44_000] = 0  # 2.5 to 2.75 s
    (first, second) = chunks(samples, 3.0, search=2.0)
    assert 40_000 <= first[1] <= 44_000 and second == (first[1], len(samples))


def test_the_same_samples_have_the_same_hash() -> None:
    assert audio_hash(tone(0.3)) == audio_hash(tone(0.3).copy()) != audio_hash(tone(0.3, 441))


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_wav_file_that_was_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.zeros(16_000, np.float32))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(EtudeError, match=r"a\.wav: cut off: [\d,]+ of 32,044 bytes"):
        read_audio(path)
    path.write_bytes(whole[:4] + b"\xff\xff\xff\xff" + whole[8:])  # of a stream whose length was not known
    assert len(read_audio(path)) == 16_000
