"""The verb `build`: parallel sentences become speech-translation data, spoken by a synthesizer.

For language pairs without recordings. The speech is synthetic, and every row, the folder's README and the
result say so. English by espeak-ng at 140 words a minute is understood by Whisper base; French by espeak-ng
is not, so the source language should be English.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.data import read_rows, write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.speech_translation.audio import AudioReference, audio_seconds
from etude.methods.speech_translation.tasks import language_name
from etude.render import console, table
from etude.runs import Run, atomic_path, content_hash, write_text

if TYPE_CHECKING:
    from rich.console import RenderableType

PROGRAM = "espeak-ng"
_HEADER = 44  # bytes of its WAV header
SHARES = {"test": 0.1, "dev": 0.05}  # of the source sentences; the rest is for training


@dataclass(frozen=True)
class BuildResult:
    """What was spoken.

    Args:
        out: The folder with data.tsv.
        synthesizer: Program, version, voices, words a minute.
        utterances: How many.
        splits: Split to utterances.
        seconds: Of speech in all.
    """

    out: str
    synthesizer: str
    utterances: int
    splits: dict[str, int]
    seconds: float

    def __rich__(self) -> RenderableType:
        """Counts, and that the speech is synthetic."""
        rows: list[list[Any]] = [
            ["synthetic speech by", self.synthesizer],
            ["utterances", self.utterances],
            *[[f"  {split}", count] for split, count in self.splits.items()],
            ["speech, s", self.seconds],
            ["data", f"{self.out}/data.tsv"],
        ]
        return table(["speech-translation build", ""], rows)


@verb
def build(
    pairs: str,
    *,
    out: Path,
    source_lang: str = "en",
    target_lang: str = "fr",
    voices: tuple[str, ...] = ("en-us", "en-gb"),
    rate: int = 140,
    limit: int | None = None,
    seed: int = 0,
) -> BuildResult:
    """Make speech-translation data from parallel sentences, spoken by espeak-ng: synthetic speech.

    Sentences that stand in several pairs are spoken once and are in one split. Other columns (an attribution)
    are kept. The same command goes on after a kill.

    Args:
        pairs: Table with a column per language, named by its code (en, fr), or transcript and translation.
        out: Folder for data.tsv, the recordings and a README.
        source_lang: Code of the language that is spoken.
        target_lang: Code of the language that is written.
        voices: Voices of espeak-ng, by turns (espeak-ng --voices).
        rate: Words a minute.
        limit: Only this many pairs, drawn by the seed.
        seed: Of the draw and the splits.

    Raises:
        EtudeError: espeak-ng is not installed, has no such voice, or the table lacks a column.
    """
    rows = _pairs(pairs, source_lang, target_lang)
    rows = sorted(rows, key=lambda row: _order(seed, "draw", row["transcript"], row["translation"]))[:limit]
    version = _version()
    speaker = f"{PROGRAM} {version}, {', '.join(voices)}, {rate} words a minute"
    config = {
        "rows": content_hash(rows),
        "speaker": speaker,
        "languages": [source_lang, target_lang],
        "seed": seed,
    }
    with Run(out, config, command="speech-translation build") as run:
        if run.result is not None:
            return BuildResult(**run.result)
        sentences = list(dict.fromkeys(row["transcript"] for row in rows))
        files = {}
        for number, sentence in enumerate(sentences):
            voice = voices[number % len(voices)]
            files[sentence] = (f"audio/{content_hash([sentence, voice, rate])[:20]}.wav", voice)
            speak(sentence, out / files[sentence][0], voice=voice, rate=rate)
            if number % 500 == 499:
                console().print(f"{number + 1:,} of {len(sentences):,} sentences are spoken")
        splits = _splits(sentences, seed)
        made = [
            {
                "id": f"pair-{i:05}",
                "audio": files[row["transcript"]][0],
                "source_lang": source_lang,
                "target_lang": target_lang,
                "speaker": f"{PROGRAM} {files[row['transcript']][1]} (synthetic)",
                "split": splits[row["transcript"]],
                **row,
            }
            for i, row in enumerate(rows)
        ]
        write_records(out / "data.tsv", made)
        write_text(out / "README.md", _readme(speaker, pairs, source_lang, target_lang))
        result = BuildResult(
            out=str(out),
            synthesizer=speaker,
            utterances=len(made),
            splits=dict(Counter(str(row["split"]) for row in made)),
            seconds=round(sum(audio_seconds(AudioReference(out / name)) for name, _ in files.values()), 1),
        )
        run.complete(asdict(result))
        return result


def speak(text: str, path: Path, *, voice: str = "en-us", rate: int = 140) -> None:
    """Write a WAV file of a sentence; one that is there is kept.

    Args:
        text: Goes to the synthesizer's standard input, never onto a command line.
        path: The file.
        voice: Of espeak-ng.
        rate: Words a minute.

    Raises:
        EtudeError: espeak-ng is not installed, or refuses.
    """
    if path.is_file():
        return
    done = _run("-v", voice, "-s", str(rate), "--stdin", "--stdout", said=text)
    if done.returncode or len(done.stdout) < _HEADER:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise EtudeError(
            f"{PROGRAM} cannot say {text[:60]!r} with the voice {voice!r} ({reason[:200]})",
            f"{PROGRAM} --voices lists the voices; --rate is 80 to 450.",
        )
    with atomic_path(path) as temporary:  # written here: the program does not see a full disk
        temporary.write_bytes(_with_lengths(done.stdout))


def _with_lengths(wav: bytes) -> bytes:
    """A WAV file that was piped, with the lengths in its header that were not known at its start."""
    size = len(wav) - 8, len(wav) - _HEADER
    riff, data = (length.to_bytes(4, "little") for length in size)
    return wav[:4] + riff + wav[8 : _HEADER - 4] + data + wav[_HEADER:]


def _run(*arguments: str, said: str = "") -> subprocess.CompletedProcess[bytes]:
    """The program in a home of its own: it looks for a sound server and leaves folders behind."""
    with tempfile.TemporaryDirectory(prefix="etude-espeak-") as home:
        places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"), home)
        return subprocess.run(
            [_program(), *arguments], input=said.encode(), capture_output=True, check=False,
            env={**os.environ, **places},
        )  # fmt: skip


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise EtudeError(
            f"{PROGRAM} is not on the PATH", f"Install it: apt install {PROGRAM}, or brew install {PROGRAM}."
        )
    return found


def _version() -> str:
    words = _run("--version").stdout.decode(errors="replace").split()
    return next((word for word in words if word[:1].isdigit()), "of unknown version")


def _pairs(source: str, source_lang: str, target_lang: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line, row in read_rows(source):
        names = (source_lang, target_lang) if source_lang in row else ("transcript", "translation")
        texts = [str(row.pop(name, None) or "").strip() for name in names]
        if not all(texts):
            raise EtudeError(
                f"{source}:{line}: no text in {names[0]!r} or {names[1]!r}",
                f"Columns {source_lang} and {target_lang}, or transcript and translation.",
            )
        extra = {
            name: value for name, value in row.items() if name not in ("id", "audio", "speaker", "split")
        }
        found.append({"transcript": texts[0], "translation": texts[1], **extra})
    if not found:
        raise EtudeError(f"{source}: holds no pair", f"Columns {source_lang} and {target_lang}.")
    return found


def _splits(sentences: Sequence[str], seed: int) -> dict[str, str]:
    ordered = sorted(sentences, key=lambda sentence: _order(seed, "split", sentence))
    made, start = dict.fromkeys(sentences, "train"), 0
    for split, share in SHARES.items():
        stop = start + round(share * len(ordered))
        made |= dict.fromkeys(ordered[start:stop], split)
        start = stop
    return made


def _order(seed: int, *parts: str) -> str:
    return hashlib.sha256("\x1f".join([str(seed), *parts]).encode()).hexdigest()


def _readme(speaker: str, pairs: str, source_lang: str, target_lang: str) -> str:
    spoken, written = language_name(source_lang), language_name(target_lang)
    return (
        f"# Synthetic speech\n\nThe {spoken} recordings in `audio/` were not spoken by a person: {speaker}.\n"
        f"The sentences and their {written} translations are those of `{Path(pairs).name}`; their licence "
        "and attribution hold.\nSay so wherever scores on them are reported.\n"
    )
