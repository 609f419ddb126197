"""Real processes are killed midway; the same command again gives what an uninterrupted one gives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TRAIN = """
import sys
from etude.methods.speech_translation import train
data, sfm, llm, out = sys.argv[1:]
train(data, sfm=sfm, llm=llm, la="ctc", ma="linear", stages="ctc@6,asr+st@12", out=out, batch_size=2)
"""
TRANSLATE = """
import sys, time
from pathlib import Path
from etude.methods.speech_translation import systems
from etude.methods.speech_translation.translator import Spoken
from etude.methods.speech_translation.translating import translate
class Slow:
    name, identity, task = "slow", "slow", "st"
    def translate(self, waveforms, utterances, *, beams=1):
        with open(sys.argv[3], "a") as log:
            log.write(" ".join(u.id for u in utterances) + "\\n")
        time.sleep(0.2)
        return [Spoken("text of " + u.id, 5, 5) for u in utterances]
from etude.methods.speech_translation import translating
translating.open_system = lambda *a, **k: Slow()
translate(sys.argv[1], model="slow", target_lang="de", out=Path(sys.argv[2]), batch_size=2)
"""


def start(program: str, *arguments: object) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], env=environment)


def kill_when(process: "subprocess.Popen[bytes]", ready) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_translation_asks_for_no_utterance_twice(data_folder: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out.jsonl", tmp_path / "log"
    arguments = (data_folder / "data.tsv", out, log)
    process = start(TRANSLATE, *arguments)
    kill_when(process, lambda: log.exists() and len(log.read_text().splitlines()) >= 3)
    assert not out.exists()
    assert start(TRANSLATE, *arguments).wait() == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["translation"] for row in rows] == [f"text of u{i}" for i in range(12)]
    asked = log.read_text().splitlines()
    assert len(set(asked)) == 6 and len(asked) <= 7  # only the batch it was killed in comes twice


@pytest.mark.slow  # three processes that import torch and train
def test_a_killed_training_resumes_to_the_same_weights(
    data_folder: Path, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = (data_folder / "data.tsv", whisper_folder, llm_folder)
    reference = start(TRAIN, *arguments, whole)
    process = start(TRAIN, *arguments, broken)
    kill_when(process, lambda: len(list((broken / "stage-1").glob("checkpoint-*/complete"))) >= 2)
    assert not (broken / "adapter.safetensors").exists()
    assert start(TRAIN, *arguments, broken).wait() == 0
    assert reference.wait() == 0
    name = "adapter.safetensors"
    assert (broken / name).read_bytes() == (whole / name).read_bytes()
