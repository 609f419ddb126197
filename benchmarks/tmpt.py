"""An epoch of tmpt against the usual one: texts padded to 400 tokens, frozen vision run at each step.

All arms train the same thing: MiniLM with LoRA on query and value, a frozen vision network, two projections
and a classifier, AdamW, batches of 16, the same rows, one thread. `padded to 400` is ours with each text
padded to 400 tokens, on the same batches: what remains is padding, and scores differ by dropout alone.
`peer` is written here the way transformers with peft is commonly used: 400 tokens, and the pictures through
the frozen network at each step. The network is EfficientNet-Lite0, and a ViT (12 blocks, width 192, 224
pixels) of random weights, which no score is asked of. `7 prompts` has visual prompts before the ViT's last
block, the states before it kept. Rows are MultiClimate's where the research data is (`ETUDE_TEST_DATA`),
made-up posts otherwise. Each arm has a process of its own; what it computes once is timed apart, as
`before`. Times are processor seconds of one thread, so that other work on the machine weighs little.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._comparison import Comparison, Figure, ratios
from benchmarks._peak import peak_mb
from benchmarks._peers import PEFT, TRANSFORMERS
from etude.methods.tmpt.feature_cache import FeatureCache, StoredRows
from etude.methods.tmpt.fusion import Projection, build_network
from etude.methods.tmpt.metrics import macro_f1
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.pictures import pixel_square
from etude.methods.tmpt.posters import made_up_posts
from etude.methods.tmpt.posts import StanceDataset, StanceExample
from etude.methods.tmpt.rows import Rows, picture_of
from etude.methods.tmpt.rows_training import ask_rows, train_rows
from etude.methods.tmpt.settings import TMPTConfig, Training
from etude.methods.tmpt.visual_prompts import vit_vector
from etude.models import VisionEncoder, load_encoder, load_vision
from etude.models.quiet import quiet_transformers

PEERS = (TRANSFORMERS, PEFT)
CELLS = (
    "The grid adapter's projection of 16 cells a picture is trained, so it cannot be stored: it is 21 "
    "billion multiply-adds an epoch forwards and for its gradient. Plain heads meet the aim."
)
BATCH, PADDED, RATE, BLOCKS = 16, 400, 1e-3, 12
CNN, VIT = "efficientnet-lite0", "vit"
SIDES = {CNN: 128, VIT: 224}
PLAIN = TMPTConfig(text_tuning="lora", text_readout="mean", visual_prompts=0, gate="none", width=300)
PROMPTED = TMPTConfig(
    text_tuning="lora",
    text_readout="mean",
    visual_prompts=7,
    visual_prompt_start=BLOCKS,
    gate="none",
    width=300,
)


def posts(train: int, test: int) -> tuple[list[StanceExample], tuple[str, ...], str]:
    """Rows to train on and then rows to score, their labels, and where they are from; of many videos each."""
    root = Path(os.environ.get("ETUDE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data") / "tmpt"
    if (root / "multiclimate_train.parquet").is_file():
        data = StanceDataset.from_parquet(root / "multiclimate_train.parquet", group_by="video")
        name = "MultiClimate"
    else:
        data, name = made_up_posts(train + test), "made-up posts"
    videos = np.random.default_rng(7).permutation(sorted({e.group for e in data.examples}))
    held = set(videos[: len(videos) // 3])
    parts = [[e for e in data.examples if (e.group in held) == scored] for scored in (False, True)]
    chosen = [
        [part[i] for i in np.random.default_rng(8).permutation(len(part))[:count]]
        for part, count in zip(parts, (train, test), strict=True)
    ]
    return [*chosen[0], *chosen[1]], data.labels(), name


def vision_of(kind: str, folder: Path) -> str:
    """The name of a vision encoder; the ViT is drawn from a seed and written to the folder."""
    if kind == CNN:
        return CNN
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=192,
        num_hidden_layers=BLOCKS,
        num_attention_heads=3,
        intermediate_size=768,
        image_size=SIDES[VIT],
    )
    with quiet_transformers():
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder / "vit")
    return str(folder / "vit")


def vector_of(vision: VisionEncoder, pixels: Tensor) -> Tensor:
    """The frozen network's vector of each picture, (B, d)."""
    found = vit_vector(vision, pixels) if vision.kind == "vit" else vision.cells(pixels).mean(1)
    return found.clone()  # a tensor that gradients may pass


class PeerModel(nn.Module):
    """BERT with LoRA by peft, a frozen vision network run at each step, two projections, a classifier."""

    def __init__(self, vision: VisionEncoder, classes: int) -> None:
        super().__init__()
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(task_type="FEATURE_EXTRACTION", r=8, lora_alpha=16, lora_dropout=0.0)
        self.text = get_peft_model(load_encoder("minilm", device="cpu").model, settings)
        self.vision = vision
        self.text_head, self.image_head = Projection(384, 300), Projection(vision.width, 300)
        self.classifier = nn.Linear(600, classes)

    def forward(self, ids: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
        """Tokens and pictures to logits."""
        states = self.text(input_ids=ids, attention_mask=mask).last_hidden_state
        text = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        picture = self.image_head(vector_of(self.vision, pixels))
        return self.classifier(torch.cat([self.text_head(text), picture], dim=-1))


def peer(kind: str, train: int, test: int, epochs: int) -> dict[str, float]:
    examples, labels, _ = posts(train, test)
    tokenizer = load_encoder("minilm", device="cpu").tokenizer
    written = [f"{e.text}. The stance on {e.target} is: [MASK]." for e in examples]
    tokens = tokenizer(written, padding="max_length", truncation=True, max_length=PADDED, return_tensors="pt")
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    pixels = torch.from_numpy(np.stack([pixel_square(picture_of(e), e.where, SIDES[kind]) for e in examples]))
    truth = torch.tensor([labels.index(e.label or "") for e in examples])
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        vision = load_vision(vision_of(kind, Path(folder)), device="cpu")
    model = PeerModel(vision, len(labels)).train()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=1e-2
    )
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=epochs * train // BATCH)
    order = np.random.default_rng(0)
    started = time.process_time()
    for _ in range(epochs):
        for batch in order.permutation(train).reshape(-1, BATCH):
            logits = model(ids[batch], mask[batch], pixels[batch])
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, truth[batch]).backward()
            optimizer.step()
            fall.step()
    seconds = (time.process_time() - started) / epochs
    peak = peak_mb()
    model.eval()
    found = []
    with torch.no_grad():
        for start in range(train, train + test, 32):
            batch = np.arange(start, min(start + 32, train + test))
            short = int(mask[batch].sum(1).max())  # scoring is not what is timed
            found.append(
                model(ids[batch][:, :short], mask[batch][:, :short], pixels[batch]).argmax(1).numpy()
            )
    f1 = macro_f1(truth.numpy()[train:], np.concatenate(found), len(labels)) if test else float("nan")
    return {"seconds an epoch": seconds, "before, s": 0.0, "macro-F1": f1, "peak MB": peak}


def ours(
    kind: str, train: int, test: int, epochs: int, pad_to: int | None = None, config: TMPTConfig = PLAIN
) -> dict[str, float]:
    examples, labels, _ = posts(train, test)
    with tempfile.TemporaryDirectory() as folder:
        vision = vision_of(kind, Path(folder))
        cache = FeatureCache(Path(folder) / "features")
        model = TMPTModel.from_encoders(
            vision=vision, config=replace(config, image_size=SIDES[kind]), cache=cache
        )
        model.labels = labels
        started = time.process_time()
        rows = model.rows(examples)
        before = time.process_time() - started
        network = build_network(model.config, model.text, model.vision, model.readout, len(labels), 0)
        how = Training(epochs=epochs, batch_size=BATCH, linear_rate=RATE, prompt_rate=RATE, pad_to=pad_to)
        started = time.process_time()
        train_rows(
            network, rows, range(train), [], how, classes=len(labels), seed=0, out=Path(folder) / "fit"
        )
        seconds = (time.process_time() - started) / epochs
        peak = peak_mb()
        scored = range(train, train + test)
        predicted = ask_rows(network, rows, scored).logits.argmax(1) if test else np.zeros(0)
    f1 = macro_f1(rows.labels[train:], predicted, len(labels)) if test else float("nan")
    return {
        "seconds an epoch": seconds,
        "before, s": before,
        "macro-F1": f1,
        "peak MB": peak,
    }


def head_epochs(rows: int, epochs: int) -> dict[str, float]:
    """Processor seconds of an epoch on stored features: plain heads, and the grid adapter on 16 cells."""
    rng = np.random.default_rng(0)
    text = load_encoder("minilm", device="cpu")
    vision = load_vision(device="cpu")
    found = dict[str, float]()
    shapes: dict[str, tuple[TMPTConfig, tuple[int, ...]]] = {
        "text": (TMPTConfig(text_tuning="frozen", branches="text", visual_prompts=0), (1280,)),
        "concat": (TMPTConfig(text_tuning="frozen", visual_prompts=0), (1280,)),
        "tmpt, grid adapter": (TMPTConfig(text_tuning="frozen"), (16, 1280)),
    }
    for name, (config, shape) in shapes.items():
        stored = {
            "text": StoredRows.of(rng.normal(size=(rows, 384)).astype(np.float32)),
            "image": StoredRows.of(rng.normal(size=(256, *shape)).astype(np.float16)),
        }
        made = Rows(
            ids=tuple(map(str, range(rows))), labels=rng.integers(0, 3, rows), prompted=(), pad=0,
            text=stored["text"], text_at=np.arange(rows),
            image=None if config.branches == "text" else stored["image"], image_at=np.arange(rows) % 256,
            target=None,
        )  # fmt: skip
        network = build_network(config, text, vision, "mean", 3, 0)
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            train_rows(
                network,
                made,
                range(rows),
                [],
                Training(epochs=epochs),
                classes=3,
                seed=0,
                out=Path(folder) / "fit",
            )
            seconds = (time.process_time() - started) / epochs
        found[name] = seconds
    return found


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """The work in a process of its own with one thread, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1, torch.set_num_threads, (1,)) as pool:
        return pool.apply(work, arguments)


def main(*, full: bool, repetitions: int) -> Comparison:
    """An epoch of all arms in turn, and heads on stored features; `full`: more posts, and a ViT."""
    train, test = (64, 150) if full else (32, 16)
    visions = {"EfficientNet-Lite0": CNN} | ({"ViT": VIT} if full else {})
    figures, details = list[Figure](), dict[str, Any]()
    for name, kind in visions.items():
        scored = test if kind == CNN else 0
        arms: dict[str, tuple[Any, ...]] = {
            "ours": (ours, kind, train, scored, 1),
            "ours, padded to 400": (ours, kind, train, scored, 1, PADDED),
            "transformers and peft": (peer, kind, train, scored, 1),
        }
        if kind == VIT:
            arms["ours, 7 prompts before the last block"] = (ours, kind, train, 0, 1, None, PROMPTED)
            del arms["ours, padded to 400"]
        runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
        for _ in range(repetitions):
            for arm, work in arms.items():
                runs[arm].append(apart(*work))
        details[f"an epoch with a frozen {name}"] = table(runs)
        figures += compared(f"an epoch over {train} posts, LoRA beside a frozen {name}", runs)
    heads = [apart(head_epochs, 4000, 2) for _ in range(repetitions)]
    figures += [
        Figure(f"an epoch over 4,000 stored rows: {arm}", "", "processor seconds",
               tuple(found[arm] for found in heads), 1, "s", True, CELLS)
        for arm in heads[0]
    ]  # fmt: skip
    details |= {"rows": posts(train, test)[2], "posts to train on": train, "posts to score": test}
    return Comparison(figures, (), details)


def compared(work: str, runs: dict[str, list[dict[str, float]]]) -> list[Figure]:
    """Seconds and memory of the other arms over ours."""
    seconds = {arm: [one["seconds an epoch"] for one in many] for arm, many in runs.items()}
    figures = [
        Figure(work, arm, "processor seconds", ratios(seconds[arm], seconds["ours"]), 3)
        for arm in ("ours, padded to 400", "transformers and peft")
        if arm in runs
    ]
    peak = {arm: [one["peak MB"] for one in many] for arm, many in runs.items()}
    memory = ratios(peak["transformers and peft"], peak["ours"])
    return [*figures, Figure(work, "transformers and peft", "peak MB", memory, 1)]


def table(runs: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Arms as rows of medians."""
    return [
        {"arm": arm, **{key: statistics.median(one[key] for one in many) for key in many[0]}}
        for arm, many in runs.items()
    ]
