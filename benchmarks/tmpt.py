"""An epoch of tmpt against the usual one: texts padded to 400 tokens, pictures through the frozen network
each step.

Both train the same thing: MiniLM with LoRA on query and value, a frozen EfficientNet-Lite0, two projections
and a classifier, AdamW, batches of 16, the same rows, one thread. The peer is written here the way
transformers with peft is commonly used. `pad only` is the peer with the pictures' vectors kept, so that only
the padding differs. Rows are MultiClimate's where the research data is (`ETUDE_TEST_DATA`), made-up posts
otherwise. Each arm has a process of its own; features are computed before the clock starts and are timed
apart.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etude.methods.tmpt.claim import FILES, LABELS, TARGET, _frames
from etude.methods.tmpt.feature_cache import FeatureCache, StoredRows
from etude.methods.tmpt.fusion import Projection, build_network
from etude.methods.tmpt.metrics import macro_f1
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.pictures import pixel_square
from etude.methods.tmpt.posters import made_up_posts
from etude.methods.tmpt.posts import StanceExample
from etude.methods.tmpt.rows import Rows
from etude.methods.tmpt.rows_training import ask_rows, train_rows
from etude.methods.tmpt.settings import TMPTConfig, Training
from etude.methods.tmpt.targets import Target
from etude.models import load_encoder, load_vision

BATCH, SIDE, PADDED = 16, 128, 400
ARMS = ("ours", "peer, pad only", "peer")
CONFIG = TMPTConfig(
    text_tuning="lora", text_readout="mean", visual_prompts=0, gate="none", image_size=SIDE, width=300
)


def posts(count: int) -> tuple[list[StanceExample], tuple[str, ...], str]:
    """Rows, labels and where they are from; every k-th, so that many videos take part."""
    root = Path(os.environ.get("ETUDE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data") / "tmpt"
    if (root / FILES[0]).is_file():
        every = _frames((root / FILES[0],), 1)
        return every[:: len(every) // count][:count], LABELS, "MultiClimate"
    made = made_up_posts(count // 2)
    return list(made.examples), made.labels(), "made-up posts"


class NaiveModel(nn.Module):
    """BERT with LoRA by peft, a frozen CNN that is run each step, two projections, a classifier."""

    def __init__(self, classes: int, *, keep_pictures: bool) -> None:
        super().__init__()
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(task_type="FEATURE_EXTRACTION", r=8, lora_alpha=16, lora_dropout=0.0)
        self.text = get_peft_model(load_encoder("minilm", device="cpu").model, settings)
        self.vision = None if keep_pictures else load_vision(device="cpu")
        self.text_head, self.image_head = Projection(384, 300), Projection(1280, 300)
        self.classifier = nn.Linear(600, classes)

    def forward(self, ids: Tensor, mask: Tensor, picture: Tensor) -> Tensor:
        """Tokens and pictures to logits."""
        states = self.text(input_ids=ids, attention_mask=mask).last_hidden_state
        text = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        if self.vision is not None:
            picture = self.vision.cells(picture).mean(1).clone()
        return self.classifier(torch.cat([self.text_head(text), self.image_head(picture)], dim=-1))


def peer(count: int, epochs: int, *, keep_pictures: bool) -> dict[str, float]:
    examples, labels, _ = posts(count)
    tokenizer = load_encoder("minilm", device="cpu").tokenizer
    written = [f"{e.text}. The stance on {e.target} is: [MASK]." for e in examples]
    tokens = tokenizer(written, padding="max_length", truncation=True, max_length=PADDED, return_tensors="pt")
    pixels = torch.from_numpy(np.stack([pixel_square(e.image or b"", e.where, SIDE) for e in examples]))
    pictures = pixels
    if keep_pictures:
        vision = load_vision(device="cpu")
        pictures = torch.cat([vision.cells(pixels[i : i + 32]).mean(1) for i in range(0, count, 32)]).clone()
    truth = torch.tensor([labels.index(e.label or "") for e in examples])
    torch.manual_seed(0)
    model = NaiveModel(len(labels), keep_pictures=keep_pictures).train()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=1e-2
    )
    train, test = halves(count)
    order = np.random.default_rng(0)
    started = time.perf_counter()
    for _ in range(epochs):
        for batch in np.array_split(order.permutation(train), len(train) // BATCH):
            logits = model(tokens["input_ids"][batch], tokens["attention_mask"][batch], pictures[batch])
            optimizer.zero_grad()
            nn.functional.cross_entropy(logits, truth[batch]).backward()
            optimizer.step()
    seconds = (time.perf_counter() - started) / epochs
    model.eval()
    found = []
    with torch.no_grad():
        for batch in np.array_split(test, max(1, len(test) // 32)):
            short = int(tokens["attention_mask"][batch].sum(1).max())  # scoring is not what is timed
            ids, mask = tokens["input_ids"][batch, :short], tokens["attention_mask"][batch, :short]
            found.append(model(ids, mask, pictures[batch]).argmax(1).numpy())
    predicted = np.concatenate(found)
    return {
        "seconds": seconds,
        "macro-F1": macro_f1(truth.numpy()[test], predicted, len(labels)),
        "features": 0.0,
    }


def ours(count: int, epochs: int) -> dict[str, float]:
    examples, labels, _ = posts(count)
    targets = {name: Target(name, name, labels) for name in {e.target for e in examples} | {TARGET}}
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder) / "features")
        model = TMPTModel.from_encoders(config=CONFIG, targets=targets, cache=cache)
        model.labels = labels
        started = time.perf_counter()
        rows = model.rows(examples)
        features = time.perf_counter() - started
        network = build_network(CONFIG, model.text, model.vision, model.readout, len(labels), 0)
        train, test = halves(count)
        how = Training(epochs=epochs, batch_size=BATCH)
        outcome = train_rows(
            network, rows, train.tolist(), [], how, classes=len(labels), seed=0, out=Path(folder) / "fit"
        )
        predicted = ask_rows(network, rows, test.tolist()).logits.argmax(1)
    f1 = macro_f1(rows.labels[test], predicted, len(labels))
    return {"seconds": outcome.seconds / epochs, "macro-F1": f1, "features": features}


def halves(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two thirds to train on, whole batches; the rest to score."""
    order = np.random.default_rng(7).permutation(count)
    cut = count * 2 // 3 // BATCH * BATCH
    return order[:cut], order[cut:]


def arm(name: str, count: int, epochs: int) -> dict[str, float]:
    torch.set_num_threads(1)
    found = (
        ours(count, epochs) if name == "ours" else peer(count, epochs, keep_pictures=name == "peer, pad only")
    )
    return found | {"peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def head_epochs(rows: int = 4000, epochs: int = 5) -> list[dict[str, Any]]:
    """Seconds of an epoch on stored features: plain heads, and the grid adapter with 7 prompts on 4 x 4
    cells.
    """
    rng = np.random.default_rng(0)
    text = load_encoder("minilm", device="cpu")
    vision = load_vision(device="cpu")
    found = []
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
            outcome = train_rows(
                network,
                made,
                range(rows),
                [],
                Training(epochs=epochs),
                classes=3,
                seed=0,
                out=Path(folder) / "fit",
            )
        found.append({"arm": name, "rows": rows, "seconds an epoch": outcome.seconds / epochs})
    return found


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """The work in a process of its own, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def main(*, quick: bool) -> dict[str, Any]:
    count, epochs = (48, 1) if quick else (192, 2)
    measured = {name: apart(arm, name, count, epochs) for name in ARMS}
    best = measured["ours"]["seconds"]
    return {
        "rows": posts(count)[2],
        "posts": count,
        "epochs": epochs,
        "arms": [{"arm": name, **found} for name, found in measured.items()],
        "peer, pad only / ours": measured["peer, pad only"]["seconds"] / best,
        "peer / ours": measured["peer"]["seconds"] / best,
        "heads on stored features": apart(head_epochs, 1000 if quick else 4000, 2 if quick else 5),
    }
