"""SignRound against auto-round: the same blocks, samples, steps, batch and dtype; CPU seconds, memory, and
the loss.

Runs alternate, each in its own process; imports and model loading are not counted. Both results are judged by
one instrument: the mean squared error of the last block's output against full precision, on samples neither
has seen. `floor` is the forward and backward passes alone.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from benchmarks._comparison import Comparison, Figure, Missing, ratios
from benchmarks._peers import AUTOROUND, TRANSFORMERS
from etude.errors import EtudeError
from etude.methods.signround.calibration import make_samples, read_calibration
from etude.models import load_causal_lm
from etude.render import console
from etude.runs import write_json

PEERS = (AUTOROUND, TRANSFORMERS)
SAMPLES = 64
ELEMENTWISE = (
    "A step is mostly the block's forward and backward pass, which both must run; what tuning adds to it "
    "here is smaller than what auto-round adds, but twice as fast as both together would be faster than "
    "the passes alone."
)
FLOOR = "What is left over the passes is one pass over the weights for rounding and one for the sign update."
WORKER = Path(__file__).with_name("_signround_worker.py")


def main(*, full: bool, repetitions: int) -> Comparison:
    """Run the comparison on the first block of SmolLM2; `full`: longer samples, more steps, more arms."""
    steps, seqlen = (50, 256) if full else (20, 128)
    threads = min(2, os.cpu_count() or 1)
    peer = AUTOROUND.python()
    sides: dict[str, tuple[str, str, dict[str, Any]]] = {"ours": ("ours", sys.executable, {})}
    if peer:
        sides["auto-round"] = ("peer", peer, {})
    sides["floor"] = ("floor", sys.executable, {})
    if full:
        sides["ours, bfloat16"] = ("ours", sys.executable, {"bfloat16": True})
        sides["ours, float32 weight gradient"] = ("ours", sys.executable, {"gradient_dtype": "float32"})
    if full and peer:
        sides["auto-round, bfloat16"] = ("peer", peer, {"bfloat16": True})
        sides["auto-round, torch.compile"] = ("peer", peer, {"compile": True})
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    with TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work, 1, seqlen, SAMPLES)
        job = {
            "model": str(work / "model"),
            "samples": str(work / "samples.safetensors"),
            "steps": steps,
            "batch_size": 8,
            "bits": 2,
            "group_size": 64,
            "threads": threads,
            "compile": False,
            "bfloat16": False,
            "gradient_dtype": "auto",
        }
        for _ in range(repetitions):
            for name, (who, python, changes) in sides.items():
                console().print(f"signround benchmark: {name}")
                runs[name].append(measure(work, who, python, {**job, **changes}))
    return compared(runs, f"tuning one block of SmolLM2 (w2g64a, {steps} steps of 8 x {seqlen} tokens)")


def compared(runs: dict[str, list[dict[str, float]]], work: str) -> Comparison:
    """Figures of the arms that were run."""
    cpu = {name: [run["cpu"] for run in many] for name, many in runs.items()}
    ours = runs["ours"]
    figures = [
        Figure(work, "forward and backward passes alone", "processor seconds, ours over theirs",
               ratios(cpu["ours"], cpu["floor"]), 1.5, "x", True, FLOOR)
    ]  # fmt: skip
    missing = [] if "auto-round" in runs else [Missing(work, AUTOROUND)]
    for name, beside in (
        ("auto-round", "ours"),
        ("auto-round, torch.compile", "ours"),
        ("auto-round, bfloat16", "ours, bfloat16"),
    ):
        if name not in runs:
            continue
        target, why = (2, ELEMENTWISE) if name == "auto-round" else (None, "")
        speed = ratios(cpu[name], cpu[beside])
        figures.append(Figure(work, name, "processor seconds", speed, target, if_missed=why))
    if "auto-round" in runs:
        peer = runs["auto-round"]
        for what, key in (("peak MB", "peak_mb"), ("loss on unseen samples", "loss")):
            values = ratios([one[key] for one in peer], [one[key] for one in ours])
            figures.append(Figure(work, "auto-round", what, values))
    rows = [
        {
            "side": name,
            **{
                key: statistics.median(run[key] for run in many)
                for key in ("cpu", "wall", "peak_mb", "loaded_mb")
            },
            "loss": statistics.median(run["loss"] for run in many) if "loss" in many[0] else None,
        }
        for name, many in runs.items()
    ]
    return Comparison(figures, missing, {"sides": rows})


def prepare(work: Path, blocks: int, seqlen: int, nsamples: int) -> None:
    """Write SmolLM2 cut to its first blocks, and samples: `train` for both sides, `test` for the judge."""
    lm = load_causal_lm("smollm2", dtype="float32", device="cpu")
    config = type(lm.model.config)(
        **{**lm.model.config.to_dict(), "num_hidden_layers": blocks, "layer_types": None}
    )
    small = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    state = lm.model.state_dict()
    small.load_state_dict({name: state[name] for name in small.state_dict()})
    small.save_pretrained(work / "model")
    lm.tokenizer.save_pretrained(work / "model")
    samples = make_samples(
        read_calibration(None, lm.tokenizer),
        seqlen=seqlen,
        nsamples=nsamples + 16,
        vocabulary=config.vocab_size,
        end=lm.tokenizer.eos_token_id,
        seed=0,
    ).samples
    save_file({"train": samples[:-16].clone(), "test": samples[-16:].clone()}, work / "samples.safetensors")


def measure(work: Path, who: str, python: str, job: dict[str, Any]) -> dict[str, float]:
    """One run of one side in its own process, judged here."""
    weights = work / "weights.safetensors"
    weights.unlink(missing_ok=True)
    write_json(work / "job.json", {**job, "weights": str(weights)})
    environment = {**os.environ, "OMP_NUM_THREADS": str(job["threads"]), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [python, str(WORKER), who, str(work / "job.json")],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        raise EtudeError(
            f"the {who} run failed: {done.stderr.strip().splitlines()[-1:]}", "run the worker by hand"
        )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    if weights.exists():
        found["loss"] = judge(work, weights)
    return found


@torch.no_grad()
def judge(work: Path, weights: Path) -> float:
    """Mean squared error of the last block's output against full precision, on the test samples."""
    model = AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32).eval()
    test = load_file(work / "samples.safetensors")["test"]
    full = model.model(test, output_hidden_states=True).hidden_states[-2:]
    model.load_state_dict(load_file(weights), strict=False)
    quantized = model.model(test, output_hidden_states=True).hidden_states[-2:]
    return float((full[-1] - quantized[-1]).pow(2).mean())
