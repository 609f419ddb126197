"""Data records from every kind of file; bad ones are named."""

from pathlib import Path

import pytest

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods.speech_translation.audio import write_wav
from etude.methods.speech_translation.tasks import check_fields
from etude.methods.speech_translation.utterances import Utterance, read_utterances, within_length

from .conftest import tone


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    write_wav(tmp_path / "a.wav", tone(0.5))
    return tmp_path


@pytest.mark.parametrize("suffix", ["jsonl", "tsv", "csv", "parquet"])
def test_rows_of_every_kind_of_table_are_the_same(wav: Path, suffix: str) -> None:
    write_records(wav / f"data.{suffix}", [{"id": 7, "audio": "a.wav", "translation": "Grün, ja"}])
    (row,) = read_utterances(wav / f"data.{suffix}")
    assert (row.id, row.translation, row.reference.path) == ("7", "Grün, ja", wav / "a.wav")


def test_a_fairseq_manifest_is_read_by_its_own_names(wav: Path) -> None:
    row = {"id": "x", "audio": "a.wav", "n_frames": 5, "src_text": "red", "tgt_text": "rot", "tgt_lang": "de"}
    write_records(wav / "train.tsv", [row])
    (read,) = read_utterances(wav / "train.tsv")
    assert (read.transcript, read.translation, read.target_lang) == ("red", "rot", "de")


def test_a_kaldi_folder_is_read_with_its_segments(wav: Path) -> None:
    (wav / "wav.scp").write_text("rec a.wav\n")
    (wav / "segments").write_text("u1 rec 0.0 0.2\nu2 rec 0.2 0.5\n")
    (wav / "text").write_text("u1 red\nu2 green\n")
    (wav / "text.de").write_text("u1 rot\nu2 grün\n")
    first, second = read_utterances(wav)
    assert (first.transcript, second.translation, second.target_lang) == ("red", "grün", "de")
    assert (second.reference.start, second.reference.end) == (0.2, 0.5)


def test_a_kaldi_pipe_is_never_run(wav: Path) -> None:
    (wav / "wav.scp").write_text("rec touch harm |\n")
    with pytest.raises(EtudeError, match="is a command"):
        read_utterances(wav)
    assert not (wav / "harm").exists()


def test_a_saved_dataset_with_audio_bytes_is_read(wav: Path) -> None:
    from datasets import Dataset

    content = (wav / "a.wav").read_bytes()
    rows = [{"id": "x", "audio": {"bytes": content, "path": "a.wav"}, "translation": "rot"}]
    Dataset.from_list(rows).save_to_disk(wav / "saved")
    (read,) = read_utterances(wav / "saved")
    assert read.reference.path.read_bytes() == content


def test_a_folder_of_audio_is_its_files(wav: Path) -> None:
    write_wav(wav / "b.wav", tone(0.5))
    assert [u.id for u in read_utterances(wav)] == ["a", "b"]


def test_missing_audio_is_counted_and_named(wav: Path) -> None:
    write_records(wav / "d.tsv", [{"id": "x", "audio": "a.wav"}, {"id": "y", "audio": "gone.wav"}])
    with pytest.raises(EtudeError, match=r"1 of 2 audio files are missing.*gone\.wav \(id y\)"):
        read_utterances(wav / "d.tsv")


def test_two_utterances_of_one_id_are_refused(wav: Path) -> None:
    write_records(wav / "d.tsv", [{"id": "x", "audio": "a.wav"}] * 2)
    with pytest.raises(EtudeError, match="two utterances have the id 'x'"):
        read_utterances(wav / "d.tsv")


def test_a_row_without_audio_is_named_by_line(wav: Path) -> None:
    (wav / "d.jsonl").write_text('{"id": "x", "audio": "a.wav"}\n{"id": "y"}\n')
    with pytest.raises(EtudeError, match=r"d\.jsonl:2: audio"):
        read_utterances(wav / "d.jsonl")


@pytest.mark.parametrize(
    ("task", "field"),
    [("asr", "transcript"), ("st", "translation"), ("chain", "transcript"), ("qa", "question"),
     ("continuation", "transcript")],
)  # fmt: skip
def test_a_task_without_its_field_is_refused(task: str, field: str) -> None:
    full = {"transcript": "a", "translation": "b", "target_lang": "de", "question": "c", "answer": "d"}
    check_fields([Utterance(id="x", audio="a.wav", **full)], [task])
    with pytest.raises(EtudeError, match=f"no {field}.*task {task}"):
        check_fields([Utterance(id="x", audio="a.wav", **{**full, field: None})], [task])


def test_a_missing_target_language_is_refused() -> None:
    with pytest.raises(EtudeError, match="no target_lang"):
        check_fields([Utterance(id="x", audio="a.wav", translation="b")], ["st"])


def test_lengths_outside_the_setting_are_left_out_and_counted(wav: Path) -> None:
    rows = read_utterances(wav)
    assert within_length(rows, 0.2, 30.0) == (rows, 0)
    assert within_length(rows, 0.6, 30.0) == ([], 1)
