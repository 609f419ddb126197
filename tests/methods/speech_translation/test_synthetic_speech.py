"""`build`: parallel sentences become spoken data that says it is synthetic."""

import shutil
import subprocess
from pathlib import Path

import pytest

from etude.data import read_rows
from etude.errors import EtudeError
from etude.methods.speech_translation.audio import RATE, read_audio
from etude.methods.speech_translation.quality import word_error_rate
from etude.methods.speech_translation.synthetic_speech import build, speak
from etude.methods.speech_translation.utterances import read_utterances

SENTENCES = [f"{who} {does} the {what}" for who in ("He", "She") for does in ("sees", "buys")
             for what in ("house", "garden", "horse", "boat", "letter")]  # fmt: skip


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines = ["en\tfr\tattribution"]
    lines += [f"{text}\tfrançais {i}\tours #{i}" for i, text in enumerate(SENTENCES)]
    lines.append(f"{SENTENCES[0]}\tautrement\tours #0b")
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path / "pairs.tsv"


needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@needs_espeak
def test_pairs_are_spoken_and_keep_their_attribution(pairs: Path, tmp_path: Path) -> None:
    made = build(str(pairs), out=tmp_path / "d")
    rows = [row for _, row in read_rows(tmp_path / "d" / "data.tsv")]
    assert made.utterances == len(rows) == 21
    assert {row["attribution"] for row in rows} == {f"ours #{i}" for i in range(20)} | {"ours #0b"}
    assert all("synthetic" in row["speaker"] for row in rows)
    assert "not spoken by a person" in (tmp_path / "d" / "README.md").read_text()
    utterances = read_utterances(tmp_path / "d")
    assert {(u.transcript, u.translation) for u in utterances} >= {(SENTENCES[3], "français 3")}
    both = [u for u in utterances if u.transcript == SENTENCES[0]]
    assert len({u.audio for u in both}) == 1 and len({u.split for u in both}) == 1  # spoken once
    assert len({u.audio for u in utterances}) == 20
    assert made.splits["test"] in (2, 3) and made.splits["dev"] in (1, 2)
    seconds = [len(read_audio(u.reference)) / RATE for u in utterances]
    assert all(0.5 < s < 4 for s in seconds)


@needs_espeak
def test_a_smaller_draw_is_part_of_a_larger_one_and_nothing_is_spoken_twice(
    pairs: Path, tmp_path: Path
) -> None:
    build(str(pairs), out=tmp_path / "d", limit=8)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "d" / "audio").iterdir()}
    few = {u.transcript for u in read_utterances(tmp_path / "d")}
    build(str(pairs), out=tmp_path / "d", limit=8)
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    build(str(pairs), out=tmp_path / "e", limit=12)
    assert few < {u.transcript for u in read_utterances(tmp_path / "e")}


@needs_espeak
def test_a_sentence_is_text_whatever_it_looks_like(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"transcript": "-w /tmp/x; touch y", "translation": "rien"}\n')
    made = build(str(tmp_path / "p.jsonl"), out=tmp_path / "d")
    assert made.utterances == 1 and not (tmp_path / "y").exists()
    with pytest.raises(EtudeError, match="with the voice 'klingon-99'"):
        build(str(tmp_path / "p.jsonl"), out=tmp_path / "e", voices=("klingon-99",))


@pytest.mark.parametrize(
    ("text", "message"),
    [("en\tfr\nHello\t\n", r"p\.tsv:2: no text"), ("de\tfr\nHallo\tSalut\n", "no text in 'transcript'"),
     ("en\tfr\n", "holds no pair")],
)  # fmt: skip
def test_tables_without_pairs_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text(text)
    with pytest.raises(EtudeError, match=message):
        build(str(tmp_path / "p.tsv"), out=tmp_path / "d")


def test_without_espeak_it_says_how_to_install_it(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EtudeError, match="not on the PATH") as caught:
        build(str(pairs), out=tmp_path / "d")
    assert "install espeak-ng" in caught.value.hint


@needs_espeak
@pytest.mark.slow  # Whisper base on six sentences
def test_whisper_base_understands_english_espeak(shared_data, tmp_path: Path, real_weights) -> None:
    from etude.methods.speech_translation.recognizers import Whisper

    real_weights("whisper-base")
    build(str(shared_data("speech-translation") / "tatoeba_en_fr.tsv"), out=tmp_path / "d", limit=12)
    utterances = read_utterances(tmp_path / "d")
    heard = Whisper("whisper-base", engine="ctranslate2").transcribe(
        [read_audio(u.reference) for u in utterances]
    )
    assert word_error_rate(heard, [u.transcript or "" for u in utterances]).scores["wer"] < 0.4


@needs_espeak
def test_a_recording_is_that_of_the_program(tmp_path: Path) -> None:
    sentence, file, own = "twenty one days and one hundred nights", tmp_path / "a.wav", tmp_path / "own.wav"
    speak(sentence, file)
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "140", "-w", own, sentence], check=True)
    assert file.read_bytes() == own.read_bytes()
