"""The claim's task: three real spoken digits of one speaker become a German number word.

"three seven two" is dreihundertzweiundsiebzig: the order changes. Recordings are the Free Spoken Digit
Dataset's, 8 kHz, joined end to end per speaker; test numbers and test speaker are not in the training data.
"""

from __future__ import annotations

import importlib.util
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from etude.data import read_records, write_records
from etude.data.store import cache_root, locked
from etude.errors import EtudeError
from etude.methods.speech_translation.audio import RATE, Samples, read_audio, write_wav
from etude.methods.speech_translation.utterances import Utterance, read_utterances
from etude.runs import atomic_path, content_hash, file_hash

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SEGMENTS = "fsdd_segments.csv"
SPEAKERS = ("george", "jackson", "lucas", "nicolas")
UNSEEN = "theo"
GAP = 0.05  # seconds between digits
_VERSION = 2
_DEV = 40


class Segment(BaseModel):
    """One recorded digit within a speaker's file; samples at 8 kHz."""

    file: str
    speaker: str
    digit: int
    start_sample: int
    end_sample: int


@dataclass(frozen=True)
class NumberTask:
    """Utterances of the task.

    Attributes:
        train: Four speakers, 720 numbers.
        dev: 40 more utterances of the same speakers and numbers, to say when a recognizer has learned enough.
        test: Another speaker, the other 180 numbers.
        numbers: The training numbers, for the language model's text.
    """

    train: list[Utterance]
    dev: list[Utterance]
    test: list[Utterance]
    numbers: list[int]


def english(number: int) -> str:
    """`three seven two` for 372."""
    return " ".join(WORDS[int(digit)] for digit in str(number))


def german(number: int) -> str:
    """`dreihundertzweiundsiebzig` for 372.

    Raises:
        EtudeError: num2words is not installed.
    """
    if importlib.util.find_spec("num2words") is None:
        raise EtudeError("number words need the package num2words", 'pip install "etude[speech]"')
    import num2words

    return str(num2words.num2words(number, lang="de"))


def digit_words(text: str) -> str:
    """What a recognizer heard, as digit words: `372`, `3, 7, 2` and `Three seven two.` are the same."""
    import re

    found = re.findall(rf"\d|{'|'.join(WORDS)}", text.lower())
    return " ".join(WORDS[int(one)] if one.isdigit() else one for one in found)


def number_split() -> tuple[list[int], list[int]]:
    """The 900 numbers of three digits, 720 to train on and 180 unseen ones."""
    numbers = list(range(100, 1000))
    random.Random(0).shuffle(numbers)
    return sorted(numbers[:720]), sorted(numbers[720:])


def prepare_numbers(data: Path, *, train: int = 800) -> NumberTask:
    """Cut and join the recordings; the WAV files stay in the cache.

    Args:
        data: Folder with `fsdd_segments.csv` and the speakers' files.
        train: Training utterances.

    Raises:
        EtudeError: The folder lacks them.
    """
    if not (data / SEGMENTS).is_file():
        raise EtudeError(
            f"{data} lacks {SEGMENTS} and the recordings fsdd_SPEAKER.wav",
            "The Free Spoken Digit Dataset, joined per speaker, with columns file, speaker, digit, "
            "start_sample, end_sample.",
        )
    place = cache_root() / "speech-translation" / "numbers"
    folder = place / content_hash([_VERSION, file_hash(data / SEGMENTS), train])[:16]
    learned, unseen = number_split()
    with locked(f"numbers-{folder.name}"):
        if not folder.is_dir():
            with atomic_path(folder) as temporary:
                _write(data, temporary, learned, unseen, train)
    made = {split: read_utterances(folder / f"{split}.jsonl") for split in ("train", "dev", "test")}
    return NumberTask(**made, numbers=learned)


def _write(data: Path, folder: Path, learned: Sequence[int], unseen: Sequence[int], train: int) -> None:
    digits = _digits(data)
    draw = random.Random(1)
    folder.mkdir()
    asked = [(draw.choice(SPEAKERS), draw.choice(learned)) for _ in range(train)]
    more = [(draw.choice(SPEAKERS), draw.choice(learned)) for _ in range(_DEV)]
    for split, pairs in (("train", asked), ("dev", more), ("test", [(UNSEEN, n) for n in unseen])):
        rows = []
        for i, (speaker, number) in enumerate(pairs):
            takes = [draw.choice(digits[speaker, int(d)]) for d in str(number)]
            name = f"{split}-{i:04}-{speaker}-{number}"
            write_wav(folder / f"{name}.wav", join_digits(takes))
            rows.append(
                Utterance(
                    id=name,
                    audio=f"{name}.wav",
                    transcript=english(number),
                    target_lang="de",
                    translation=german(number),
                    speaker=speaker,
                )
            )
        write_records(folder / f"{split}.jsonl", rows)


def join_digits(takes: Sequence[Samples]) -> Samples:
    """Recordings one after the other, 50 ms of silence between."""
    gap = np.zeros(round(GAP * RATE), dtype=np.float32)
    pieces = [piece for take in takes for piece in (gap, take)][1:]
    return np.concatenate(pieces)


def _digits(data: Path) -> dict[tuple[str, int], list[Samples]]:
    found: dict[tuple[str, int], list[Samples]] = defaultdict(list)
    whole: dict[str, Samples] = {}
    for segment in read_records(data / SEGMENTS, Segment):
        if segment.file not in whole:
            whole[segment.file] = read_audio(data / segment.file)  # 8 to 16 kHz
        cut = whole[segment.file][2 * segment.start_sample : 2 * segment.end_sample]
        found[segment.speaker, segment.digit].append(cut)
    return found
