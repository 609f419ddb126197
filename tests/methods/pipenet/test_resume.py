"""Real processes are killed midway; the same command again gives what an uninterrupted one gives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etude.methods.pipenet.demo import SAMPLE
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.grounding_run import GroundingPlan, ground_file
from etude.methods.pipenet.questions import read_questions
from etude.runs import Run

PARSES = SAMPLE / "parses.jsonl"
QUESTIONS = SAMPLE / "questions.jsonl"

TRAIN = """
import sys
from etude.methods.pipenet import train
questions, graphs, out, encoder = sys.argv[1:]
train(questions, graphs=graphs, out=out, encoder=encoder, dim=8, layers=2, epochs=12, batch_size=4)
"""
GROUND = """
import sys, time
from pathlib import Path
from etude.methods.pipenet.grounding import Grounder
from etude.methods.pipenet.grounding_run import GroundingPlan, ground_file
from etude.methods.pipenet.questions import read_questions
from etude.runs import Run
ground = Grounder.ground
def slow(self, given):
    with open(sys.argv[4], "a") as log:
        log.write(given[0].text + "\\n")
    time.sleep(0.3)
    return ground(self, given)
Grounder.ground = slow
plan = GroundingPlan(Path(sys.argv[2]), sys.argv[5], chunk=4)
with Run(Path(sys.argv[3]), {}, command="ground") as run:
    ground_file(read_questions(sys.argv[1]), plan, run, meta={"relations": []})
    run.complete({})
"""


def start(program: str, *arguments: object) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], env=environment)


def kill_when(process: "subprocess.Popen[bytes]", ready) -> None:
    deadline = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_grounding_goes_on_at_the_next_chunk(kg_folder: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    arguments = (QUESTIONS, kg_folder, out, log, PARSES)
    process = start(GROUND, *arguments)
    kill_when(process, lambda: len(list((out / "steps").glob("*"))) >= 3)
    with pytest.raises(Exception, match="grounding is not finished"):
        GraphStore(out)
    assert start(GROUND, *arguments).wait() == 0
    with Run(tmp_path / "whole", {}, command="ground") as run:
        plan = GroundingPlan(kg_folder, str(PARSES), chunk=4)
        ground_file(read_questions(QUESTIONS), plan, run, meta={"relations": []})
    assert (out / "graphs.arrow").read_bytes() == (tmp_path / "whole" / "graphs.arrow").read_bytes()
    asked = log.read_text().splitlines()
    assert len(set(asked)) == 12 and len(asked) <= 13  # only the chunk it was killed in comes twice


@pytest.mark.slow  # three processes that import torch and train
def test_a_killed_training_resumes_to_the_same_weights(
    graphs_folder: Path, tiny_encoder: str, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    reference = start(TRAIN, QUESTIONS, graphs_folder, whole, tiny_encoder)
    process = start(TRAIN, QUESTIONS, graphs_folder, broken, tiny_encoder)
    kill_when(process, lambda: len(list((broken / "fit").glob("checkpoint-*"))) >= 2)
    assert not (broken / "model.safetensors").exists()
    assert start(TRAIN, QUESTIONS, graphs_folder, broken, tiny_encoder).wait() == 0
    assert reference.wait() == 0
    assert (broken / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, broken)]
    assert results[0] == {**results[1], "out": results[0]["out"]}
