"""Token shards on disk: any range across files, and every way in which a folder can be wrong."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.teenytinyllama import TokenShards
from etude.methods.teenytinyllama.shards import check_dtype, smallest_dtype

LENGTHS = (7, 1, 0, 12, 5)


def make_corpus(folder: Path, dtype: str = "uint16", **changes: Any) -> np.ndarray:
    """A corpus written by hand, as the format's description says."""
    tokens = np.random.default_rng(0).integers(0, 100, sum(LENGTHS)).astype(dtype)
    shards, at = [], 0
    for number, length in enumerate(LENGTHS):
        data = tokens[at : at + length].astype(f"<u{tokens.itemsize}").tobytes()
        at += length
        name = f"train-{number:05d}.bin"
        (folder / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        shards.append({"file": name, "tokens": length, "sha256": digest, "largest": 99})
    totals = {"documents": 3, "tokens": len(tokens), "bytes": 50, "words": 9}
    empty = {"documents": 0, "tokens": 0, "bytes": 0, "words": 0}
    manifest = {
        "format": 1,
        "block": 4,
        "dtype": dtype,
        "vocab_size": 100,
        "end_token": 2,
        "tokenizer_sha256": "0" * 64,
        "seed": 0,
        "splits": {"train": {"shards": shards, **totals}, "val": {"shards": [], **empty}},
        "sources": [],
        "removed": {},
        "other_language": 0,
        "leaked_paragraphs": 0,
        "leaked_documents": 0,
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return tokens


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_range_reads_as_if_there_were_one_file(
    dtype: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    tokens = make_corpus(folder, dtype)
    shards = TokenShards.open(folder)
    shards.verify()
    start = data.draw(st.integers(0, len(tokens)))
    stop = data.draw(st.integers(start, len(tokens)))
    found = shards.read(start, stop)
    assert len(shards) == len(tokens)
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, tokens[start:stop])


def test_a_range_within_one_file_is_a_view_of_it(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    shards = TokenShards.open(tmp_path)
    assert np.shares_memory(shards.read(9, 15), shards.arrays[3])


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 26)])
def test_a_range_outside_is_an_error(tmp_path: Path, start: int, stop: int) -> None:
    make_corpus(tmp_path)
    with pytest.raises(IndexError):
        TokenShards.open(tmp_path).read(start, stop)


def test_a_split_that_is_not_there_is_named(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    with pytest.raises(EtudeError, match="no val split"):
        TokenShards.open(tmp_path, "val")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "manifest.json").unlink(), "not a prepared corpus"),
        (lambda f: (f / "manifest.json").write_text("{"), "not valid JSON"),
        (lambda f: make_corpus(f, format=2), "format 2, expected 1"),
        (lambda f: make_corpus(f, dtype="int8"), "dtype"),
        (lambda f: make_corpus(f, vocab_size=50), "token id 99, and the vocabulary has 50"),
        (lambda f: (f / "train-00003.bin").unlink(), "train-00003.bin: no such file"),
        (lambda f: (f / "train-00003.bin").write_bytes(b"x"), "1 bytes, where manifest.json says 12 tokens"),
    ],
)
def test_damaged_corpora_are_named(tmp_path: Path, harm: Any, message: str) -> None:
    make_corpus(tmp_path)
    harm(tmp_path)
    with pytest.raises(EtudeError, match=message):
        TokenShards.open(tmp_path)


def test_changed_tokens_are_found_by_their_hash(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    path = tmp_path / "train-00000.bin"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with pytest.raises(EtudeError, match=r"train-00000\.bin: its SHA-256"):
        TokenShards.open(tmp_path).verify()


def test_a_shard_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["splits"]["train"]["shards"][0]["file"] = "../secret.bin"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EtudeError, match="outside of the folder"):
        TokenShards.open(tmp_path)


def test_the_narrowest_dtype_that_fits() -> None:
    assert [smallest_dtype(n) for n in (300, 65_536, 65_537)] == ["uint16", "uint16", "uint32"]
    check_dtype("uint16", 65_536)
    check_dtype("uint32", 200_000)
    with pytest.raises(EtudeError, match="uint16 holds token ids up to 65,535"):
        check_dtype("uint16", 65_537)
