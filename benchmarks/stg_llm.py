"""The training step of stg-llm against the step that ST-LLM and GPT4TS style code writes.

Both train the same 1,033,704 parameters of the same network (GPT-2's shape, 3 blocks, L = P = 12, 288 slots)
on the same windows with AdamW. The peer is written here from the description of such code: eager attention
that returns every attention matrix and hidden state, dropout left at GPT-2's default, the whole vocabulary in
memory, frozen weights in the optimizer's list, and a DataLoader over windows that were copied one by one.
`peer without dropout` is the same with dropout off.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks._comparison import Comparison, Figure, in_turn, ratios
from benchmarks._peak import peak_mb
from benchmarks._peers import TRANSFORMERS
from etude.methods.stg_llm.forecaster import Precision, Settings, audit, build_forecaster
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.windows import Scaler, Windows, WindowStarts, split_rows

PEERS = (TRANSFORMERS,)
PUBLISHED = "the step as ST-LLM and GPT4TS style code writes it"
PRODUCTS = (
    "Much of the difference is dropout on the attention matrices and the keeping of them; matrix "
    "products, equal in both, are the rest, and they weigh more in processor seconds than by the clock. "
    "With more nodes the attention matrices grow, and the ratio with them (`--full`)."
)
WEIGHTS = (
    "The frozen blocks' weights and activations are in both; the peer adds its matrices and the vocabulary."
)
HISTORY = HORIZON = 12
SLOTS = 288
ARMS = ("ours", "ours, bfloat16", "peer", "peer without dropout")
Step = Callable[[], float]


class NaiveForecaster(nn.Module):
    """The same network, written the usual way."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        config = transformers.GPT2Config(
            n_layer=3, output_attentions=True, output_hidden_states=True, attn_implementation="eager",
            attn_pdrop=dropout, embd_pdrop=dropout, resid_pdrop=dropout,
        )  # fmt: skip
        self.gpt2 = transformers.GPT2Model(config)
        self.time_of_day, self.day_of_week = nn.Embedding(SLOTS, 64), nn.Embedding(7, 64)
        self.encode, self.decode = nn.Linear(HISTORY + 128, 768), nn.Linear(768, HISTORY + 128)
        self.output = nn.Linear(HISTORY + 128, HORIZON)
        for name, parameter in self.gpt2.named_parameters():
            parameter.requires_grad = "ln" in name or "wpe" in name

    def forward(self, window: Tensor, slot: Tensor, weekday: Tensor) -> Tensor:
        """Windows (B, L, N, 1) to forecasts (B, P, N)."""
        nodes = window.shape[2]
        values = window.squeeze(-1).transpose(1, 2)  # (B, N, L)
        day = self.time_of_day(slot).unsqueeze(1).repeat(1, nodes, 1)
        week = self.day_of_week(weekday).unsqueeze(1).repeat(1, nodes, 1)
        tokens = torch.cat([values, day, week], dim=-1)
        states = self.gpt2(inputs_embeds=self.encode(tokens)).last_hidden_state
        return self.output(self.decode(states) + tokens).transpose(1, 2)


def panel(nodes: int, rows: int = 600) -> SensorPanel:
    """A synthetic panel; the step's cost does not depend on the values."""
    values = np.random.default_rng(0).normal(200, 50, size=(rows, nodes, 1)).astype(np.float32)
    times = np.datetime64("2018-01-01T00:00:00") + np.arange(rows) * np.timedelta64(300, "s")
    return SensorPanel(values, times, tuple(map(str, range(nodes))), 300)


def windows_of(data: SensorPanel) -> tuple[Windows, np.ndarray]:
    split = split_rows(len(data.times), HISTORY, HORIZON)
    scaler = Scaler.fit(data, split, per_node=False)
    return Windows(data, scaler, history=HISTORY, horizon=HORIZON, slots_per_day=SLOTS), split.train()


def ours(nodes: int, batch: int, precision: Precision) -> tuple[Step, int]:
    """One step as `train` makes it, and the number of trained parameters."""
    with tempfile.TemporaryDirectory() as folder:
        transformers.GPT2Config().save_pretrained(folder)
        settings = Settings(nodes=nodes, model=folder, layers=3, backbone="random", slots_per_day=SLOTS)
        model = build_forecaster(replace(settings, precision=precision))
        trained = audit(model, settings).trained
    model.train()
    windows, starts = windows_of(panel(nodes))
    loader = DataLoader(
        WindowStarts(starts), batch_size=batch, shuffle=True, drop_last=True, collate_fn=windows.batch
    )
    chosen = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=1e-3, weight_decay=0.05, fused=True)
    batches = iter(loader)

    def step() -> float:
        loss = model(**next(batches))["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()
        return float(loss.detach())

    return step, trained


def peer(nodes: int, batch: int, dropout: float) -> tuple[Step, int]:
    """One step of the naive code, and the number of trained parameters."""
    model = NaiveForecaster(dropout)
    model.train()
    windows, starts = windows_of(panel(nodes))
    copied = [windows.batch([int(start)]) for start in starts]
    columns = [torch.cat([c[name] for c in copied]) for name in ("window", "slot", "weekday", "target")]
    loader = DataLoader(TensorDataset(*columns), batch_size=batch, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    loss_function = nn.HuberLoss()
    batches = iter(loader)

    def step() -> float:
        window, slot, weekday, target = next(batches)
        optimizer.zero_grad()
        loss = loss_function(model(window, slot, weekday), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step, sum(p.numel() for p in model.parameters() if p.requires_grad)


def make(arm: str, nodes: int, batch: int) -> tuple[Step, int]:
    torch.manual_seed(0)
    if arm.startswith("ours"):
        return ours(nodes, batch, "float32" if arm == "ours" else "bfloat16")
    return peer(nodes, batch, 0.1 if arm == "peer" else 0.0)


def peak_memory(arm: str, nodes: int, batch: int) -> float:
    """MiB that building and two steps add to a fresh process (high-water mark of resident memory, Linux)."""
    before = peak_mb()
    step, _ = make(arm, nodes, batch)
    step()
    step()
    return peak_mb() - before


def agreement(nodes: int = 12) -> float:
    """Largest difference of the two networks' outputs with equal weights: they are the same function."""
    with tempfile.TemporaryDirectory() as folder:
        transformers.GPT2Config().save_pretrained(folder)
        settings = Settings(nodes=nodes, model=folder, layers=3, backbone="random", slots_per_day=SLOTS)
        model = build_forecaster(settings).eval()
    naive = NaiveForecaster(0.0).eval()
    blocks = {n: t for n, t in model.backbone.lm.state_dict().items() if n != "wte.weight"}  # type: ignore[union-attr]
    naive.gpt2.load_state_dict(blocks, strict=False)
    naive.time_of_day, naive.day_of_week = model.tokenizer.time_of_day, model.tokenizer.day_of_week
    naive.encode, naive.decode, naive.output = (
        model.adapter.encoder,
        model.adapter.decoder,
        model.adapter.output,
    )
    windows, starts = windows_of(panel(nodes))
    inputs = windows.inputs(starts[:3])
    with torch.inference_mode():
        return float((model(**inputs)["prediction"] - naive(**inputs)).abs().max())


def main(*, full: bool, repetitions: int) -> Comparison:
    """A training step of all arms in turn; `full` also at 883 nodes."""
    sizes = [(307, 4), (883, 1)] if full else [(307, 4)]
    spawn = multiprocessing.get_context("spawn")
    figures, rows = list[Figure](), list[dict[str, Any]]()
    for nodes, batch in sizes:
        made = {arm: make(arm, nodes, batch) for arm in ARMS}
        cpu = in_turn({arm: step for arm, (step, _) in made.items()}, repetitions, warm=True)
        memory = {}
        for arm in ("ours", "peer"):
            with spawn.Pool(1) as pool:
                memory[arm] = pool.apply(peak_memory, (arm, nodes, batch))
        work = f"a training step, {nodes} nodes, batch {batch}"
        for arm, target in (("peer", 1.5), ("peer without dropout", None)):
            name = PUBLISHED if arm == "peer" else f"{PUBLISHED}, dropout off"
            speed = ratios(cpu[arm], cpu["ours"])
            figures.append(Figure(work, name, "processor seconds", speed, target, if_missed=PRODUCTS))
        share = (memory["ours"] / memory["peer"],)
        figures.append(Figure(work, PUBLISHED, "MB added, ours over theirs", share, 0.5, "x", True, WEIGHTS))
        rows += [
            {"arm": arm, "nodes": nodes, "batch": batch, "trained": made[arm][1],
             "CPU s": statistics.median(taken), "MB added": memory.get(arm)}
            for arm, taken in cpu.items()
        ]  # fmt: skip
    details = {"largest difference of outputs with equal weights": agreement(), "training step": rows}
    return Comparison(figures, (), details)
