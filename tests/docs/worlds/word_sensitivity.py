"""word-sensitivity: a hundred and sixty labeled stories put together from parts."""

from pathlib import Path
from typing import Any

from tests.docs.tiny import story, tiny_lm
from tests.docs.world import Swapped, World, jsonl, write


def prepare(folder: Path) -> None:
    rows = [{"text": story(280, seed), "label": seed % 2} for seed in range(200)]
    write(folder, reviews_jsonl=jsonl(rows))
    tiny_lm(folder / "tiny", layers=10)


def names(folder: Path) -> dict[str, Any]:
    """A text as an array: eight tokens of width four."""
    import torch

    return {"x": torch.randn(8, 4, generator=torch.Generator().manual_seed(0))}


WORLD = World(
    prepare,
    table=(
        Swapped("smollm2", "135M weights take a minute", "smollm2", "tiny"),
        Swapped("curve raf", "fewer texts and seeds", "--seeds 5", "--seeds 2 --count 2"),
        Swapped("modify raf", "fewer texts", "--n-train 150", "--n-train 40"),
        Swapped(
            "sigmoid",
            "fewer texts and seeds",
            "[16, 64, 256]",
            '[16, 64], embeddings="tiny", seeds=1, count=2',
        ),
    ),
    names=names,
    writes=("words/words.html", "curve/report.html", "curve/curve.png", "ws/sensitivity.parquet"),
    embedded=("smollm2",),
    slow=True,
)
