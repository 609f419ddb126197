"""Pretraining by `teenytinyllama` against the Hugging Face Trainer and litgpt, on the same model and tokens.

Every arm is a process of its own that trains the same Llama shape from fresh weights on the same tokens.
AdamW, tokens a step, dtype and threads are the same; rounds are interleaved, so that a busy machine slows all
arms alike. A round times steps after some to warm up: wall clock, processor time, highest resident memory.
`limit` is what the cores could do if a step were its matrix products alone (tokens x 6 N over the measured
matrix rate).

litgpt's own `pretrain` passes the model through torch.compile; with `--full` nano is timed so, and without.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._comparison import Comparison, Figure, Missing, ratios
from benchmarks._peers import LITGPT, TRANSFORMERS

PEERS = (TRANSFORMERS, LITGPT)
TRAINER = (
    "The share of the matrix rate (in the table of details) says how much of a step its matrix products are: "
    "more of it the larger the network. All arms run these products and the same attention kernel, so that "
    "what the Trainer adds around them, and what ours saves in other passes, is less and less of a step."
)
ROUNDS = "The arms do the same products; the difference is within the spread of the rounds."
ARMS = ("ours", "ours, compiled", "HF Trainer", "litgpt", "litgpt, compiled")
_WORKER = Path(__file__).with_name("_teenytinyllama_worker.py")


def write_tokens(path: Path, vocab_size: int, tokens: int) -> None:
    """Random tokens: the work of a step does not depend on the text."""
    np.random.default_rng(0).integers(4, vocab_size, tokens, dtype=np.uint16).tofile(path)


def shape_of(preset: str) -> dict[str, Any]:
    """The preset's numbers, for workers that do not know etude."""
    from etude.methods.teenytinyllama.configs import PRESETS, RECIPES, parameters

    config = PRESETS[preset]
    return {
        "preset": preset,
        "hidden": config.hidden,
        "mlp": config.mlp,
        "layers": config.layers,
        "heads": config.heads,
        "context": config.context,
        "vocab_size": config.vocab_size,
        "norm_eps": config.norm_eps,
        "tied": config.tied,
        "learning_rate": RECIPES[preset].learning_rate,
        "tokens_per_step": RECIPES[preset].tokens_per_step,
        "parameters": parameters(config),
    }


def run_worker(arm: str, job: dict[str, Any], python: str) -> dict[str, float]:
    """One round of one arm in a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(job["threads"]), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [python, str(_WORKER), arm, json.dumps(job)], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{arm}: {done.stderr[-1500:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def matrix_rate(preset: str, dtype: str, threads: int) -> float:
    """Operations a second of the model's own matrix products on this machine."""
    import torch

    from etude.methods.teenytinyllama.configs import PRESETS, RECIPES
    from etude.methods.teenytinyllama.rates import gemm_peak

    torch.set_num_threads(threads)
    config, tokens = PRESETS[preset], RECIPES[preset].tokens_per_step
    number = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    return gemm_peak(config, tokens, dtype=number, device=torch.device("cpu"), repetitions=20)


def main(*, full: bool, repetitions: int) -> Comparison:
    """nano, micro and mini by all arms in turn, each round in a process of its own.

    `full` takes more steps a round, and passes nano through torch.compile, too.
    """
    python = LITGPT.python()
    available = [arm for arm in ARMS if python or not arm.startswith("litgpt")]
    threads = min(2, os.cpu_count() or 1)
    figures, rows = list[Figure](), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        for preset, steps in (("nano", 40), ("micro", 20), ("mini", 8)):
            shape = shape_of(preset)
            tokens = Path(folder) / f"{preset}.bin"
            write_tokens(tokens, shape["vocab_size"], 80 * shape["tokens_per_step"] + 1)
            job = {
                **shape,
                "tokens": str(tokens),
                "dtype": "float32",
                "threads": threads,
                "steps": steps if full else max(3, steps // 5),
                "warm": 4 if full else 2,
            }
            arms = [arm for arm in available if (full and preset == "nano") or "compiled" not in arm]
            found: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
            rates: list[float] = []
            for number in range(repetitions):
                for arm in arms:
                    print(f"{preset}, round {number + 1}: {arm}", file=sys.stderr, flush=True)
                    found[arm].append(
                        run_worker(
                            arm, job, python if arm.startswith("litgpt") and python else sys.executable
                        )
                    )
                rates.append(matrix_rate(preset, "float32", threads))
            figures += _figures(preset, found)
            rows += _summary(shape, found, max(rates))
    missing = [] if python else [Missing("pretraining steps", LITGPT)]
    return Comparison(figures, missing, {"threads": threads, "pretraining": rows})


def _figures(preset: str, found: dict[str, list[dict[str, float]]]) -> list[Figure]:
    ours = found["ours"]
    work = f"a pretraining step of {preset}, float32"
    figures = []
    for arm, target, why in (("HF Trainer", 1.5, TRAINER), ("litgpt", 1.0, ROUNDS)):
        if arm not in found:
            continue
        for key, measure, aim in (("wall", "wall seconds", target), ("memory", "MB added", None)):
            values = ratios([one[key] for one in found[arm]], [one[key] for one in ours])
            figures.append(Figure(work, arm, measure, values, aim, if_missed=why))
    return figures


def _summary(
    shape: dict[str, Any], found: dict[str, list[dict[str, float]]], rate: float
) -> list[dict[str, Any]]:
    per_step, limit = shape["tokens_per_step"], rate / (6 * shape["parameters"])
    rows: list[dict[str, Any]] = []
    for arm, rounds in found.items():
        middle = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        rate_of = per_step / middle["wall"]
        rows.append(
            {
                "preset": shape["preset"],
                "arm": arm,
                "tokens/s": round(rate_of),
                "CPU ms a step": round(1000 * middle["cpu"], 1),
                "MB added": round(middle["memory"]),
                "share of matrix rate": round(rate_of / limit, 3),
            }
        )
    return [*rows, {"preset": shape["preset"], "arm": "limit", "tokens/s": round(limit)}]
