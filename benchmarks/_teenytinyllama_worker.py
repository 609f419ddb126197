"""One arm of the teenytinyllama benchmark in a process of its own: `worker.py ARM JOB`, prints one JSON line.

litgpt's arms run in litgpt's environment, where etude need not be installed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from _peak import peak_mb


class Blocks(torch.utils.data.Dataset):
    """Blocks of the token file, each with the token after it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.tokens, self.block = np.memmap(job["tokens"], dtype=np.uint16, mode="r"), job["context"]

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.block

    def __getitem__(self, index: int) -> Tensor:
        start = index * self.block
        return torch.from_numpy(self.tokens[start : start + self.block + 1].astype(np.int64))


def autocast(job: dict[str, Any]) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=job["dtype"] == "bfloat16")


def timed(job: dict[str, Any], started: float, marks: list[tuple[float, float]]) -> dict[str, float]:
    """Medians over the steps after the warm-up, from the moments at which steps ended."""
    marks = marks[job["warm"] :]
    wall = [b[0] - a[0] for a, b in pairwise(marks)]
    cpu = [b[1] - a[1] for a, b in pairwise(marks)]
    return {
        "wall": float(np.median(wall)),
        "cpu": float(np.median(cpu)),
        "memory": peak_mb() - started,
    }


def ours(job: dict[str, Any], *, compiled: bool) -> dict[str, float]:
    """The loop of `pretrain`: its network, loss, optimizer, batches and heap."""
    from etude.methods.teenytinyllama.configs import PRESETS
    from etude.methods.teenytinyllama.heap import kept_pages
    from etude.methods.teenytinyllama.network import Decoder
    from etude.methods.teenytinyllama.optimizer import build_adamw, learning_rate_at, set_learning_rate

    started = peak_mb()
    blocks = Blocks(job)
    order = np.random.default_rng(0).permutation(len(blocks))
    per_step = job["tokens_per_step"] // job["context"]
    with kept_pages():
        network = Decoder(PRESETS[job["preset"]], seed=0)
        network.compiled = compiled
        model = torch.compile(network) if compiled else network
        optimizer = build_adamw(network, weight_decay=0.01)
        marks: list[tuple[float, float]] = []
        for step in range(job["warm"] + job["steps"]):
            chosen = [order[(step * per_step + i) % len(order)] for i in range(per_step)]
            rows = torch.stack([blocks[int(i)] for i in chosen])
            with autocast(job):
                loss = model(rows[:, :-1], rows[:, 1:])
            loss.backward()
            assert torch.isfinite(loss)
            rate = learning_rate_at(step, peak=job["learning_rate"], warmup=2, steps=1000)
            set_learning_rate(optimizer, rate)
            optimizer.step()
            optimizer.zero_grad()
            marks.append((time.perf_counter(), time.process_time()))
        return timed(job, started, marks)


def trainer(job: dict[str, Any]) -> dict[str, float]:
    """The Hugging Face Trainer with LlamaForCausalLM."""
    import transformers

    from etude.methods.teenytinyllama.configs import PRESETS, to_transformers

    transformers.utils.logging.set_verbosity_error()
    started = peak_mb()
    marks: list[tuple[float, float]] = []

    class Mark(transformers.TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            marks.append((time.perf_counter(), time.process_time()))

    class Labeled(Blocks):
        def __getitem__(self, index: int) -> dict[str, Tensor]:  # type: ignore[override]
            row = super().__getitem__(index)[:-1]
            return {"input_ids": row, "labels": row}

    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(to_transformers(PRESETS[job["preset"]]))
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder, max_steps=job["warm"] + job["steps"], learning_rate=job["learning_rate"],
            per_device_train_batch_size=job["tokens_per_step"] // job["context"], weight_decay=0.01,
            lr_scheduler_type="cosine", max_grad_norm=0.0, optim="adamw_torch_fused", use_cpu=True,
            bf16=job["dtype"] == "bfloat16", save_strategy="no", report_to="none", logging_steps=10_000,
            disable_tqdm=True, dataloader_num_workers=0, dataloader_pin_memory=False,
        )  # fmt: skip
        transformers.Trainer(model, arguments, train_dataset=Labeled(job), callbacks=[Mark()]).train()
    return timed(job, started, marks)


def litgpt(job: dict[str, Any], *, compiled: bool) -> dict[str, float]:
    """GPT and chunked loss of litgpt in Fabric, stepped as its `pretrain.fit` does."""
    import lightning
    from litgpt.model import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    started = peak_mb()
    precision = "bf16-mixed" if job["dtype"] == "bfloat16" else "32-true"
    fabric = lightning.Fabric(devices=1, accelerator="cpu", precision=precision)
    fabric.launch()
    fabric.seed_everything(0, verbose=False)
    config = Config(
        name="llama", block_size=job["context"], vocab_size=job["vocab_size"],
        padded_vocab_size=job["vocab_size"],
        n_layer=job["layers"], n_head=job["heads"], n_embd=job["hidden"], n_query_groups=job["heads"],
        rotary_percentage=1.0, parallel_residual=False, bias=False, norm_class_name="RMSNorm",
        norm_eps=job["norm_eps"], mlp_class_name="LLaMAMLP", intermediate_size=job["mlp"],
    )  # fmt: skip
    model = GPT(config)
    if job["tied"]:
        model.lm_head.weight = model.transformer.wte.weight
    assert sum(p.numel() for p in model.parameters()) == job["parameters"]
    model = fabric.setup(torch.compile(model) if compiled else model)
    optimizer = fabric.setup_optimizers(
        torch.optim.AdamW(model.parameters(), lr=job["learning_rate"], weight_decay=0.01, fused=True)
    )
    batch = job["tokens_per_step"] // job["context"]
    loader = torch.utils.data.DataLoader(Blocks(job), batch_size=batch, shuffle=True, drop_last=True)
    loader = fabric.setup_dataloaders(loader)
    marks: list[tuple[float, float]] = []
    wanted = job["warm"] + job["steps"]
    while len(marks) < wanted:
        for rows in loader:
            logits = model(rows[:, :-1])
            loss = chunked_cross_entropy(logits, rows[:, 1:].contiguous())
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            marks.append((time.perf_counter(), time.process_time()))
            if len(marks) == wanted:
                break
    return timed(job, started, marks)


def main() -> None:
    """Run the arm that the command line names."""
    arm, job = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(job["threads"])
    name, _, how = arm.partition(", ")
    run = {"ours": ours, "HF Trainer": trainer, "litgpt": litgpt}[name]
    options = {} if name == "HF Trainer" else {"compiled": how == "compiled"}
    print(json.dumps(run(job, **options)))


if __name__ == "__main__":
    main()
