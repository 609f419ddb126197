import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from etude.data.store import PinnedWheel, cache_root, fetch_wheel, unpack
from etude.errors import EtudeError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pin(tmp_path, monkeypatch) -> PinnedWheel:
    """A wheel of our own in a folder that pip searches instead of the package index."""
    folder = tmp_path / "links"
    folder.mkdir()
    wheel = folder / "etude_test_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("payload/data.txt", "forty-two")
        archive.writestr("payload/__init__.py", "raise RuntimeError('was imported')")
        archive.writestr(
            "etude_test_data-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: etude-test-data\nVersion: 1.0\nRequires-Dist: not-there-at-all\n",
        )
        archive.writestr("etude_test_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("etude_test_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return PinnedWheel("etude-test-data", "1.0", hashlib.sha256(wheel.read_bytes()).hexdigest())


def test_a_wheel_is_unpacked_without_its_dependencies_and_without_being_imported(pin):
    folder = fetch_wheel(pin)
    assert (folder / "payload" / "data.txt").read_text() == "forty-two"
    assert folder.is_relative_to(cache_root())


def test_a_fetched_wheel_is_not_fetched_again(pin, monkeypatch):
    folder = fetch_wheel(pin)
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert fetch_wheel(pin) == folder


def test_other_bytes_than_the_pinned_ones_are_refused(pin):
    other = PinnedWheel(pin.name, pin.version, "0" * 64)
    with pytest.raises(EtudeError, match="expected 0000"):
        fetch_wheel(other)
    assert not list((cache_root() / "wheels").glob("*"))


def test_without_a_source_the_error_says_what_to_do(pin, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    with pytest.raises(EtudeError, match="could not be fetched") as caught:
        fetch_wheel(pin)
    assert "Go online" in caught.value.hint


@pytest.mark.parametrize("member", ["../outside.txt", "/absolute.txt", "a/../../outside.txt", "c:\\x.txt"])
def test_an_archive_cannot_write_outside_of_its_folder(tmp_path, member):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("fine.txt", "x")
        content.writestr(member, "x")
    with pytest.raises(EtudeError, match="outside"):
        unpack(archive, tmp_path / "deep" / "into")
    assert not (tmp_path / "outside.txt").exists()


def test_a_link_in_an_archive_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as content:
        content.writestr(link, "/etc/passwd")
    with pytest.raises(EtudeError, match="outside"):
        unpack(tmp_path / "evil.zip", tmp_path / "into")


def test_what_is_not_an_archive_is_said_so(tmp_path):
    (tmp_path / "x.whl").write_text("not a zip")
    with pytest.raises(EtudeError, match="not a zip"):
        unpack(tmp_path / "x.whl", tmp_path / "into")


def test_processes_that_fetch_the_same_wheel_do_not_collide(pin):
    code = (
        "from etude.data.store import *;"
        f"print(fetch_wheel(PinnedWheel({pin.name!r}, {pin.version!r}, {pin.sha256!r})))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(printed) == 1
    assert (Path(printed.pop()) / "payload" / "data.txt").exists()
    assert sorted(path.name[0] for path in (cache_root() / "wheels").iterdir()) == ["e"]


def test_a_cache_that_cannot_be_written_is_an_error_of_its_own(tmp_path, monkeypatch, pin):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "file"))
    with pytest.raises(EtudeError, match="cannot be written") as caught:
        fetch_wheel(pin)
    assert "ETUDE_CACHE" in caught.value.hint
