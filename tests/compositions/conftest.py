"""Compositions run by commands and files only, in a folder of their own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etude.cli import main
from etude.data import prose

Command = Callable[..., Any]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, where all that is said on the command line is a name of a file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def etude(capsys) -> Command:
    """Run a command line as a user types it, and read its `--json`."""

    def run(line: str) -> Any:
        main([*line.split(), "--json"])
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def pretrained(folder, etude) -> Callable[[int], None]:
    """Pretrain a small model on the prose of Python's documentation, in `run`."""

    def pretrain(steps: int) -> None:
        (folder / "train.txt").write_text(prose()[:120_000], encoding="utf-8")
        (folder / "held_out.txt").write_text(prose()[-8_000:], encoding="utf-8")
        etude("teenytinyllama tokenizer train.txt --vocab-size 600 --out tok")
        validation = "--validation held_out.txt --tokenizer tok --block 512"
        etude(f"teenytinyllama prepare train.txt {validation} --out corpus")
        shape = "--hidden 64 --layers 2 --heads 2 --mlp 128 --context 512"
        training = f"--tokens-per-step 1024 --steps {steps} --device cpu"
        etude(f"teenytinyllama pretrain corpus {shape} {training} --out run")

    return pretrain
