"""SignRound against auto-round: the same blocks, samples, steps, batch and dtype; CPU seconds, memory, and
the loss.

The peer runs in an interpreter of its own, named by ETUDE_AUTOROUND_PYTHON, made once by

    python -m venv peer && peer/bin/pip install --only-binary=:all: torch transformers accelerate datasets
    py-cpuinfo peer/bin/pip install --no-deps --only-binary=:all: auto-round==0.16.1

(a plain install of auto-round may build for a quarter of an hour). Runs alternate, each in its own process;
imports and model loading are not counted. Both results are judged by one instrument: the
mean squared error of the last block's
output against full precision, on samples neither has seen. `floor` is the forward and backward passes alone.
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

from etude.errors import EtudeError
from etude.methods.signround.calibration import make_samples, read_calibration
from etude.models import load_causal_lm
from etude.render import console
from etude.runs import write_json

WORKER = Path(__file__).with_name("_signround_worker.py")


def main(
    *,
    quick: bool = False,
    blocks: int = 1,
    steps: int = 50,
    batch_size: int = 8,
    seqlen: int = 256,
    nsamples: int = 64,
    bits: int = 2,
    group_size: int = 64,
    repetitions: int = 3,
    threads: int = 2,
) -> dict[str, Any]:
    """Run the comparison on the first blocks of SmolLM2.

    Args:
        quick: One block, 20 steps of 128-token samples, three repetitions; only ours, the peer, the floor.
        blocks: Blocks of SmolLM2 to quantize.
        steps: SignSGD steps per block, the same for both sides, as all that follows.
        batch_size: Samples per step.
        seqlen: Tokens per sample.
        nsamples: Samples.
        bits: Bits per weight.
        group_size: Inputs per group.
        repetitions: Alternating runs of each side.
        threads: Threads of each process.
    """
    peer = os.environ.get("ETUDE_AUTOROUND_PYTHON")
    if not peer:
        raise EtudeError(
            "ETUDE_AUTOROUND_PYTHON is not set: no interpreter with auto-round",
            f"make one as described at the top of {Path(__file__).name} and set the variable to its python",
        )
    if quick:
        blocks, steps, seqlen, repetitions = 1, 20, 128, 3
    with TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work, blocks, seqlen, nsamples)
        job = {
            "model": str(work / "model"),
            "samples": str(work / "samples.safetensors"),
            "steps": steps,
            "batch_size": batch_size,
            "bits": bits,
            "group_size": group_size,
            "threads": threads,
            "compile": False,
            "bfloat16": False,
            "gradient_dtype": "auto",
        }
        sides = {
            "ours": ("ours", sys.executable, {}),
            "ours, bfloat16": ("ours", sys.executable, {"bfloat16": True}),
            "auto-round, bfloat16": ("peer", peer, {"bfloat16": True}),
            "ours, float32 weight gradient": ("ours", sys.executable, {"gradient_dtype": "float32"}),
            "auto-round": ("peer", peer, {}),
            "auto-round, torch.compile": ("peer", peer, {"compile": True}),
            "floor": ("floor", sys.executable, {}),
        }
        if quick:
            sides = {name: sides[name] for name in ("ours", "auto-round", "floor")}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(repetitions):
            for name, (who, python, changes) in sides.items():
                console().print(f"signround benchmark: {name}")
                runs[name].append(measure(work, who, python, {**job, **changes}))
    medians = {name: statistics.median(run["cpu"] for run in many) for name, many in runs.items()}
    return {
        "work": f"{blocks} blocks of SmolLM2, w{bits}g{group_size}a, {steps} steps of "
        f"{batch_size} x {seqlen} tokens, {nsamples} samples, float32, {threads} threads",
        "cpu_ratio": medians["auto-round"] / medians["ours"],
        "other_cpu_ratios": {
            f"{peer_side} / {our_side}": medians[peer_side] / medians[our_side]
            for peer_side, our_side in (
                ("auto-round, torch.compile", "ours"),
                ("auto-round, bfloat16", "ours, bfloat16"),
                ("auto-round", "ours, float32 weight gradient"),
            )
            if peer_side in medians and our_side in medians
        },
        "over_floor": medians["ours"] / medians["floor"],
        "loss_ratio": statistics.median(r["loss"] for r in runs["ours"])
        / statistics.median(r["loss"] for r in runs["auto-round"]),
        "sides": [
            {
                "side": name,
                "cpu_s": medians[name],
                "cpu_min": min(run["cpu"] for run in many),
                "cpu_max": max(run["cpu"] for run in many),
                "wall_s": statistics.median(run["wall"] for run in many),
                "peak_mb": statistics.median(run["peak_mb"] for run in many),
                "loaded_mb": statistics.median(run["loaded_mb"] for run in many),
                "loss": statistics.median(run["loss"] for run in many) if "loss" in many[0] else None,
            }
            for name, many in runs.items()
        ],
        "repetitions": repetitions,
        "versions": {"torch": torch.__version__, "auto-round": peer_version(peer)},
    }


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


def peer_version(python: str) -> str:
    """auto-round's version in the peer's interpreter."""
    command = "from importlib.metadata import version; print(version('auto-round'))"
    return subprocess.run([python, "-c", command], capture_output=True, text=True, check=True).stdout.strip()
