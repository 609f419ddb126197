"""tmpt: made-up posts with drawn posters as a user's table, and as a folder of MMSD."""

import csv
from pathlib import Path
from typing import Any

from tests.docs.world import Left, Served, Swapped, World

HEAD = ("id", "text", "image", "target", "label", "post")


def save(path: Path, head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([head, *rows])


def prepare(folder: Path) -> None:
    from etude.methods.tmpt.posters import made_up_posts

    (folder / "pictures").mkdir()
    rows = []
    for example in made_up_posts(28).examples:
        (folder / "pictures" / f"{example.group}.png").write_bytes(example.image)
        rows.append(
            (example.id, example.text, f"{example.group}.png", example.target, example.label, example.group)
        )
    save(folder / "posts.csv", HEAD, rows[:40])
    save(folder / "labeled.csv", HEAD, rows[40:])
    save(folder / "new.csv", HEAD[:4], [row[:4] for row in rows[40:48]])
    mmsd = ("tweet_id", "image_numero", "stance_target", "stance_label")
    for split, at in (("train", 0), ("valid", 4), ("test", 8)):
        place = folder / "Multi-Modal-Stance-Detection" / "MTSE" / "in-target" / "DT"
        save(place / f"{split}.csv", mmsd, [(at + i, 0, "Donald Trump", "Favor") for i in range(4)])


def model(messages: list[dict[str, Any]]) -> str:
    """Says the same of every post."""
    return "The words and the poster take the same side of the project."


WORLD = World(
    prepare,
    table=(
        Swapped(
            "zero-shot", "tuning all of MiniLM takes a minute", "zero-shot", "zero-shot --text-tuning frozen"
        ),
        Served("openai/MODEL", "no served model offline", model),
        Left("MTSE/in-target", "full-size encoders of the hub"),
        Left("claim tmpt", "claims have tests of their own"),
    ),
    writes=(
        "runs/stance/metrics.json",
        "runs/stance/report.html",
        "runs/stance/predictions/the-new-tram-line.csv",
    ),
    embedded=("minilm", "efficientnet-lite0"),
    slow=True,
)
