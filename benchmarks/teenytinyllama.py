"""Pretraining by `teenytinyllama` against the Hugging Face Trainer and litgpt, on the same model and tokens.

Every arm is a process of its own that trains the same Llama shape from fresh weights on the same tokens.
AdamW, tokens a step, dtype and threads are the same; rounds are interleaved, so that a busy machine slows all
arms alike. A round times steps after some to warm up: wall clock, processor time, highest resident memory.
`limit` is what the cores could do if a step were its matrix products alone (tokens x 6 N over the measured
matrix rate).

The Trainer needs nothing more. litgpt has an environment of its own, found by `ETUDE_LITGPT_PYTHON`:

    python -m venv litgpt-env
    litgpt-env/bin/pip install litgpt==0.5.13 "torch>=2.10,<2.14" numpy
    ETUDE_LITGPT_PYTHON=litgpt-env/bin/python python -m benchmarks teenytinyllama

litgpt's own `pretrain` passes the model through torch.compile; nano is timed so, and without.
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


def main(*, quick: bool = False) -> dict[str, Any]:
    """Tokens a second, processor time, memory, and ratios to ours.

    Args:
        quick: nano alone, two rounds, without the compiled arms.
    """
    litgpt = os.environ.get("ETUDE_LITGPT_PYTHON")
    available = [arm for arm in ARMS if litgpt or not arm.startswith("litgpt")]
    threads = min(2, os.cpu_count() or 1)
    cases = (
        [("nano", "float32")] if quick else [("nano", "float32"), ("micro", "float32"), ("mini", "float32")]
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for preset, dtype in cases:
            shape = shape_of(preset)
            tokens = Path(folder) / f"{preset}.bin"
            steps = {"nano": 40, "micro": 20, "mini": 8}[preset] // (2 if quick else 1)
            write_tokens(tokens, shape["vocab_size"], 80 * shape["tokens_per_step"] + 1)
            job = {
                **shape,
                "tokens": str(tokens),
                "dtype": dtype,
                "threads": threads,
                "steps": steps,
                "warm": 4,
            }
            compiled = preset == "nano" and not quick
            arms = [arm for arm in available if compiled or "compiled" not in arm]
            found: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
            rates: list[float] = []
            for round_number in range(2 if quick else 3):
                for arm in arms:
                    print(f"{preset} {dtype}, round {round_number + 1}: {arm}", file=sys.stderr, flush=True)
                    python = litgpt if arm.startswith("litgpt") and litgpt else sys.executable
                    found[arm].append(run_worker(arm, job, python))
                rates.append(matrix_rate(preset, dtype, threads))
            rows += _summary(shape, dtype, found, max(rates))
    import torch
    import transformers

    return {
        "threads": threads,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "litgpt": "0.5.13" if litgpt else "not measured: ETUDE_LITGPT_PYTHON is not set",
        "pretraining": rows,
    }


def _summary(
    shape: dict[str, Any], dtype: str, found: dict[str, list[dict[str, float]]], rate: float
) -> list[dict[str, Any]]:
    per_step = shape["tokens_per_step"]
    medians = {
        arm: {name: statistics.median(r[name] for r in rounds) for name in ("wall", "cpu", "memory")}
        for arm, rounds in found.items()
    }
    limit = rate / (6 * shape["parameters"])
    rows = [
        {
            "preset": shape["preset"],
            "dtype": dtype,
            "arm": arm,
            "tokens/s": round(per_step / m["wall"]),
            "tokens/s, min to max": " to ".join(
                f"{per_step / w:.0f}"
                for w in sorted((r["wall"] for r in found[arm]), reverse=True)[:: max(1, len(found[arm]) - 1)]
            ),
            "CPU ms a step": round(1000 * m["cpu"], 1),
            "wall, arm ÷ ours": round(m["wall"] / medians["ours"]["wall"], 2),
            "CPU, arm ÷ ours": round(m["cpu"] / medians["ours"]["cpu"], 2),
            "peak MiB above start": round(m["memory"]),
            "share of matrix rate": round(per_step / m["wall"] / limit, 3),
        }
        for arm, m in medians.items()
    ]
    rows.append(
        {
            "preset": shape["preset"],
            "dtype": dtype,
            "arm": "limit",
            "tokens/s": round(limit),
            "tokens/s, min to max": f"{rate / 1e9:.0f} GFLOP/s",
            "CPU ms a step": None,
            "wall, arm ÷ ours": round(per_step / limit / medians["ours"]["wall"], 2),
            "CPU, arm ÷ ours": None,
            "peak MiB above start": None,
            "share of matrix rate": 1.0,
        }
    )
    return rows
