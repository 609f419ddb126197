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

EVALUATE = (
    TRANSLATE[: TRANSLATE.index("from etude.methods.speech_translation import translating")]
    + """
from etude.methods.speech_translation.evaluation import evaluate_system
from etude.methods.speech_translation.utterances import read_utterances
import etude.methods.speech_translation.evaluation as evaluation
whole = evaluation.translate_each
evaluation.translate_each = lambda *a, **k: whole(*a, **{**k, "batch_size": 2})
evaluate_system(Slow(), read_utterances(sys.argv[1]), out=Path(sys.argv[2]))
"""
)
CACHE = """
import sys, time
from pathlib import Path
from etude.methods.speech_translation.examples import Speech
from etude.methods.speech_translation.feature_cache import FeatureCache
from etude.methods.speech_translation.speech_encoders import load_speech_encoder
from etude.methods.speech_translation.utterances import read_utterances
encoder = load_speech_encoder(sys.argv[2])
forward = encoder.forward
def slow(waves):
    with open(sys.argv[4], "a") as log:
        log.write(f"{len(waves)}\\n")
    time.sleep(0.3)
    return forward(waves)
encoder.forward = slow
Speech(read_utterances(sys.argv[1]), FeatureCache(encoder, Path(sys.argv[3])), together=2)
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


@pytest.mark.slow  # two processes that import torch
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


@pytest.mark.slow  # two processes that import torch
def test_a_killed_evaluation_asks_for_no_utterance_twice(data_folder: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "e", tmp_path / "log"
    arguments = (data_folder / "data.tsv", out, log)
    process = start(EVALUATE, *arguments)
    kill_when(process, lambda: log.exists() and len(log.read_text().splitlines()) >= 8)  # in the control
    assert not (out / "outputs.jsonl").exists()
    assert start(EVALUATE, *arguments).wait() == 0
    asked = log.read_text().splitlines()
    assert 12 <= len(asked) <= 13 and len(set(asked)) == 6
    rows = [json.loads(line) for line in (out / "outputs.jsonl").read_text().splitlines()]
    assert [row["translation"] for row in rows] == [f"text of u{i}" for i in range(12)]


@pytest.mark.slow  # two processes that import torch
def test_a_killed_feature_cache_keeps_its_whole_shards(
    data_folder: Path, whisper_folder: str, tmp_path: Path
) -> None:
    from etude.methods.speech_translation.audio import audio_hash, read_audio
    from etude.methods.speech_translation.feature_cache import FeatureCache, live_features
    from etude.methods.speech_translation.speech_encoders import load_speech_encoder
    from etude.methods.speech_translation.utterances import read_utterances

    log = tmp_path / "log"
    arguments = (data_folder / "data.tsv", whisper_folder, tmp_path / "f", log)
    process = start(CACHE, *arguments)
    kill_when(process, lambda: log.exists() and len(log.read_text().splitlines()) >= 3)
    assert start(CACHE, *arguments).wait() == 0
    assert 6 <= len(log.read_text().splitlines()) <= 7  # only the shard it was killed in comes twice
    encoder = load_speech_encoder(whisper_folder)
    cache = FeatureCache(encoder, tmp_path / "f")
    assert len(cache) == 12
    for utterance in read_utterances(data_folder / "data.tsv"):
        samples = read_audio(utterance.reference)
        stored, live = cache[audio_hash(samples)], live_features(encoder, [samples])[0]
        assert stored.shape == live.shape and abs(stored - live).max() < 4e-3
