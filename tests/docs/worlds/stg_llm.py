"""stg-llm: the demo's synthetic ring road with six sensors, as an array and as wide tables."""

from pathlib import Path

import numpy as np
from tests.docs.tiny import tiny_lm
from tests.docs.world import Left, Swapped, World, write

STAMPS = [f"2024-01-{1 + at // 288:02d}T{at % 288 // 12:02d}:{at % 12 * 5:02d}:00" for at in range(2000)]


def table(values: np.ndarray) -> str:
    """A wide table of 5-minute rows, one column a sensor."""
    rows = [",".join([stamp, *(f"{v:.2f}" for v in row)]) for stamp, row in zip(STAMPS, values, strict=False)]
    return "\n".join([",".join(["time", *(f"s{at}" for at in range(6))]), *rows]) + "\n"


def prepare(folder: Path) -> None:
    from etude.methods.stg_llm.demo import ring_road

    values = ring_road(sensors=6).values[:, :, 0]  # (2016, 6)
    np.savez(folder / "PEMS08.npz", data=np.stack([values, values / 100, values / 2], axis=2))
    edges = "".join(f"{at},{(at + 1) % 6},1.0\n" for at in range(6))
    write(
        folder,
        edges_csv="from,to,weight\n" + edges,
        la_csv=table(values[:600]),
        other_csv=table(values[::-1]),
    )
    tiny_lm(folder / "tiny")


WORLD = World(
    prepare,
    table=(
        Swapped("train pems08", "a tiny network, few steps", "smollm2", "tiny --steps 6 --batch-size 8"),
        Swapped("train la.csv", "few steps of it", "--steps 100 --save-every 50", "--model tiny --steps 6"),
        Swapped("50,200,1000", "two sizes show the same", "50,200,1000", "20,40 --steps 4"),
        Left("--data DIR", "claims have tests of their own"),
    ),
    writes=("runs/pems08/model.safetensors", "next.html"),
    embedded=("smollm2",),
    slow=True,
)
