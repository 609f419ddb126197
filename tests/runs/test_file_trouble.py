"""Trouble with files, whoever raises it, is told with the file's name and what to do; nothing else is."""

import errno
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from etude.cli import main
from etude.errors import EtudeError
from etude.runs import atomic_path, file_trouble, read_json


def raised(act):
    try:
        act()
    except Exception as error:
        return file_trouble(error)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EDQUOT, errno.EMFILE]
)
def test_what_the_system_refuses_is_told_with_the_path(number):
    told = file_trouble(OSError(number, "as the system says", "/disk/run/weights.bin"))
    assert told is not None
    assert told.problem.startswith("/disk/run/weights.bin: ")
    assert told.hint


def test_the_path_is_found_where_the_error_has_none():
    def write(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert "out.json" in raised(lambda: write(Path("out.json"))).problem


def test_a_file_that_is_written_beside_is_called_by_its_final_name():
    told = file_trouble(OSError(errno.ENOSPC, "full", "/run/.model.x1y2.tmp/model/weights.safetensors"))
    assert told.problem.startswith("/run/model/weights.safetensors: ")


def test_a_full_disk_is_known_by_words_too():
    assert "no space" in file_trouble(sqlite3.OperationalError("database or disk is full")).problem
    assert file_trouble(RuntimeError("I/O error: No space left on device (os error 28)")) is not None


@pytest.mark.parametrize("length", [0, 3, 40])
def test_damaged_tensors_are_told(tmp_path, length):
    from safetensors.numpy import load_file, save_file

    file = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(9)}, file)
    file.write_bytes(file.read_bytes()[:length])
    assert "model.safetensors" in raised(lambda: load_file(file)).problem


def test_damaged_arrays_tables_and_databases_are_told(tmp_path):
    import polars as pl

    for name in ("a.npy", "a.parquet", "a.sqlite"):
        (tmp_path / name).write_bytes(b"neither of them, but long enough to be one or another of the three")
    assert "a.npy" in raised(lambda: np.load(tmp_path / "a.npy", mmap_mode="r")).problem
    assert "a.parquet" in raised(lambda: pl.read_parquet(tmp_path / "a.parquet")).problem

    def ask(path: Path) -> None:
        sqlite3.connect(path).execute("SELECT * FROM sqlite_master")

    assert "a.sqlite" in raised(lambda: ask(tmp_path / "a.sqlite")).problem


@pytest.mark.parametrize("error", [ValueError("1"), KeyError("a"), ZeroDivisionError(), TypeError("x")])
def test_what_is_not_about_a_file_stays_what_it_is(error):
    def fail(path: Path) -> None:
        raise error

    assert raised(lambda: fail(Path("innocent.txt"))) is None


def test_the_command_line_tells_it_in_two_lines(tmp_path, monkeypatch, capsys):
    def refuse() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/disk/x")

    monkeypatch.setattr("etude.report.listing.list_methods", refuse)
    with pytest.raises(SystemExit) as end:
        main(["list"])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: /disk/x: no space left on device"


def test_a_write_that_the_limit_on_sizes_stops_is_told(tmp_path):
    with pytest.raises(EtudeError, match=r"a\.json: cannot be written"), atomic_path(tmp_path / "a.json"):
        raise OSError(errno.EFBIG, "File too large")
    assert not list(tmp_path.iterdir())


def test_json_that_is_too_deep_is_refused(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(EtudeError, match=r"deep\.json"):
        read_json(tmp_path / "deep.json")


def test_a_result_that_was_cut_short_is_named(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps({"a": 1})[:3])
    with pytest.raises(EtudeError, match=r"result\.json: not valid JSON"):
        read_json(tmp_path / "result.json")
