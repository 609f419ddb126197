"""A run's folder: resume, locks, atomic files, and what is refused."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.runs import (
    Run,
    atomic_path,
    content_hash,
    file_hash,
    read_json,
    source_hash,
    write_json,
    write_text,
)


def test_a_finished_step_is_not_computed_again(tmp_path: Path) -> None:
    calls = []
    for _ in range(2):
        with Run(tmp_path / "r", {"bits": 4}, command="m v") as run:
            assert run.step("a", lambda: calls.append(1) or {"x": 1}) == {"x": 1}
    assert len(calls) == 1


def test_a_complete_run_returns_its_result_and_says_how_it_went(tmp_path: Path) -> None:
    with Run(tmp_path / "r", {"bits": 4, "seed": 7}, command="m v") as run:
        assert run.result is None
        run.complete({"loss": 0.5})
    with Run(tmp_path / "r", {"seed": 7, "bits": 4}, command="m v") as run:
        assert run.result == {"loss": 0.5}
    facts = read_json(tmp_path / "r" / "run.json")
    assert facts["status"] == "complete"
    assert facts["config"] == {"bits": 4, "seed": 7}
    assert facts["versions"]["etude"]
    assert facts["peak_memory_mb"] > 1
    assert facts["host"]["cores"] == os.cpu_count()


def test_a_failed_run_says_so_and_can_go_on(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Run(tmp_path / "r", {}, command="m v") as run:
        run.finish("a", 1)
        raise ZeroDivisionError
    assert read_json(tmp_path / "r" / "run.json")["status"] == "failed"
    with Run(tmp_path / "r", {}, command="m v") as run:
        assert run.finished("a")
        assert not run.finished("b")


def test_another_configuration_is_refused_and_the_difference_is_named(tmp_path: Path) -> None:
    with Run(tmp_path / "r", {"bits": 4}, command="m v"):
        pass
    with (
        pytest.raises(EtudeError, match="bits: 4 there, 3 now"),
        Run(tmp_path / "r", {"bits": 3}, command="m v"),
    ):
        pass
    with pytest.raises(EtudeError, match="command"), Run(tmp_path / "r", {"bits": 4}, command="m w"):
        pass


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with (
        Run(tmp_path / "r", {}, command="m v"),
        pytest.raises(EtudeError, match="in use"),
        Run(tmp_path / "r", {}, command="m v"),
    ):
        pass


def test_a_folder_that_is_not_a_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(EtudeError, match="not empty"), Run(tmp_path, {}, command="m v"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(EtudeError, match="is a file"), Run(tmp_path / "thesis.txt", {}, command="m v"):
        pass


def test_step_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    with Run(tmp_path / "r", {}, command="m v") as run:
        run.finish("../../evil", 1)
        assert run.record("../../evil") == 1
    assert not (tmp_path / "evil").exists()


def test_a_killed_process_leaves_whole_steps_and_no_lock(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import time
        from etude.runs import Run
        with Run({str(tmp_path / "r")!r}, {{}}, command="m v") as run:
            for i in range(10_000):
                run.finish(f"s{{i}}", list(range(1000)))
        """
    )
    victim = subprocess.Popen([sys.executable, "-c", script])
    while len(list((tmp_path / "r").glob("steps/*.json"))) < 5:
        assert victim.poll() is None
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    with Run(tmp_path / "r", {}, command="m v") as run:
        assert run.record("s3") == list(range(1000))
        for path in (tmp_path / "r" / "steps").glob("*.json"):
            json.loads(path.read_text())


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "f.txt", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "f.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "f.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with atomic_path(tmp_path / "d") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="cannot be written"), atomic_path(tmp_path / "f"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    for call in (lambda: read_json(tmp_path / "x.json"), lambda: file_hash(tmp_path / "no")):
        with pytest.raises(EtudeError, match=str(tmp_path)):
            call()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)


@given(st.dictionaries(st.text(), JSON))
def test_the_content_hash_does_not_depend_on_order(value: dict) -> None:
    assert content_hash(value) == content_hash(dict(reversed(list(value.items()))))


def test_hashes_change_with_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert source_hash("etude.runs") != source_hash("etude.render")


def test_what_a_kill_left_of_an_unfinished_file_is_gone_after_the_next_start(tmp_path):
    with Run(tmp_path / "r", {"a": 1}, command="test") as run:
        run.finish("one", 1)
    left = [tmp_path / "r" / ".model.ab12.tmp", tmp_path / "r" / "steps" / ".x.json.cd34.tmp"]
    for folder in left:
        folder.mkdir()
        (folder / "half").write_text("half")
    with Run(tmp_path / "r", {"a": 1}, command="test") as run:
        assert not any(folder.exists() for folder in left)
        assert run.record("one") == 1
