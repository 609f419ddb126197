"""One measured run of the signround benchmark, in a process of its own: `ours`, `peer` (auto-round) or
`floor`.

    python benchmarks/_signround_worker.py WHO JOB.json

The job names the model directory, the samples and the settings; the process prints one JSON line: CPU and
wall seconds of the quantization alone (imports and loading left out) and its peak memory, and saves the
quantized model's weights.
"""

import json
import sys
import time
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from _peak import peak_mb


def run_ours(model: Any, samples: torch.Tensor, job: dict[str, Any]) -> Any:
    """Etude's tuner over all blocks."""
    from etude.methods.signround import QuantScheme, RoundingConfig, quantize_model

    config = RoundingConfig(
        steps=job["steps"],
        batch_size=job["batch_size"],
        seqlen=samples.shape[1],
        nsamples=len(samples),
        gradient_dtype=job["gradient_dtype"],
        compute_dtype="bfloat16" if job["bfloat16"] else "float32",
    )
    scheme = QuantScheme(job["bits"], job["group_size"])
    return lambda: quantize_model(model, None, samples, scheme, config=config).model


def run_peer(model: Any, samples: torch.Tensor, job: dict[str, Any]) -> Any:
    """auto-round over all blocks, without packing."""
    import logging

    from auto_round import AutoRound

    logging.disable(logging.INFO)
    rounding = AutoRound(
        model,
        AutoTokenizer.from_pretrained(job["model"]),
        scheme="W4A16",
        bits=job["bits"],
        group_size=job["group_size"],
        sym=False,
        iters=job["steps"],
        seqlen=samples.shape[1],
        nsamples=len(samples),
        batch_size=job["batch_size"],
        dataset=torch.utils.data.DataLoader([{"input_ids": x} for x in samples], batch_size=1),
        device_map="cpu",
        amp=job["bfloat16"],
        enable_torch_compile=job["compile"],
        low_cpu_mem_usage=False,
    )
    return lambda: rounding.quantize()[0]


def run_floor(model: Any, samples: torch.Tensor, job: dict[str, Any]) -> Any:
    """The forward and backward passes that any block-wise tuner makes, and nothing else."""
    from etude.methods.signround.blocks import capture_inputs, find_blocks, run_block

    def floor() -> None:
        blocks = find_blocks(model)
        hidden = torch.empty(*samples.shape, model.config.hidden_size)
        capture_inputs(model, blocks, samples, hidden, job["batch_size"])
        for block in blocks:
            target = torch.empty_like(hidden)
            run_block(block, hidden, target, job["batch_size"])
            block.module.requires_grad_(False)
            leaves = {slot.parameter: block.matrix(slot).clone().requires_grad_() for slot in block.slots}
            for _ in range(job["steps"]):
                chosen = torch.randperm(len(hidden))[: job["batch_size"]]
                with torch.autocast("cpu", torch.bfloat16, enabled=job["bfloat16"]):
                    output = block(hidden[chosen], leaves)
                loss = torch.nn.functional.mse_loss(output.float(), target[chosen])
                torch.autograd.grad(loss, list(leaves.values()))
            hidden = target

    return floor


def main() -> None:
    """Load, measure, print."""
    who, path = sys.argv[1:3]
    with open(path) as file:
        job = json.load(file)
    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32).eval()
    samples = load_file(job["samples"])["train"]
    work = {"ours": run_ours, "peer": run_peer, "floor": run_floor}[who](model, samples, job)
    before = peak_mb()
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = peak_mb()
    if result is not None:
        state = {n: p.detach().float().contiguous() for n, p in result.named_parameters() if ".layers." in n}
        save_file(state, job["weights"])
    print(json.dumps({"cpu": cpu, "wall": wall, "peak_mb": peak, "loaded_mb": before}))


if __name__ == "__main__":
    main()
