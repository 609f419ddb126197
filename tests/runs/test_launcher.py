"""Of several processes that run one command, the first keeps the books and writes the files."""

import threading
import time
from pathlib import Path

import pytest

from etude.data.store import cache_root, locked
from etude.runs import Run, atomic_path, leads, processes, read_json, write_json, write_text


@pytest.fixture
def second(monkeypatch):
    """This process is the second of two."""
    for name, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)


def written_later(path: Path, text: str) -> threading.Thread:
    """The first process writes a file a little later."""

    def write() -> None:
        time.sleep(0.2)
        path.write_text(text)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_alone_a_process_leads() -> None:
    assert leads() and processes() == 1


def test_the_second_process_waits_for_the_first_ones_file_and_leaves_it_alone(tmp_path: Path, second) -> None:
    assert not leads() and processes() == 2
    thread = written_later(tmp_path / "a.json", "1")
    write_json(tmp_path / "a.json", 2)
    assert (tmp_path / "a.json").read_text() == "1"
    thread.join()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_files_inside_an_unfinished_folder_are_written_by_every_process(tmp_path: Path, second) -> None:
    (tmp_path / "model").mkdir()
    with atomic_path(tmp_path / "model") as temporary:
        temporary.mkdir()
        write_text(temporary / "inside.txt", "mine")
        assert (temporary / "inside.txt").read_text() == "mine"
    assert list((tmp_path / "model").iterdir()) == []


def test_who_holds_the_caches_lock_writes_below_it(tmp_path: Path, monkeypatch, second) -> None:
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    with locked("vectors"):
        write_text(cache_root() / "vectors" / "a.txt", "mine")
    assert (cache_root() / "vectors" / "a.txt").read_text() == "mine"


def test_the_second_process_takes_part_in_a_run_without_its_books(
    tmp_path: Path, monkeypatch, second
) -> None:
    def become(number: str) -> None:
        monkeypatch.setenv("RANK", number)
        monkeypatch.setenv("LOCAL_RANK", number)

    def opened() -> Run:
        return Run(tmp_path / "r", {"bits": 4}, command="m v")

    become("0")
    with opened() as first:
        first.finish("before", {"x": 1})
        books = sorted(path.name for path in (tmp_path / "r").rglob("*"))
        become("1")
        with opened() as run:
            assert run.result is None and run.step("before", lambda: pytest.fail("again")) == {"x": 1}
            assert run.step("now", lambda: {"y": (1, 2)}) == {"y": [1, 2]} and run.finished("now")
            run.complete({"loss": 0.5})
            assert run.result == {"loss": 0.5}
        assert sorted(path.name for path in (tmp_path / "r").rglob("*")) == books
        assert read_json(tmp_path / "r" / "run.json")["status"] == "running"
        become("0")
