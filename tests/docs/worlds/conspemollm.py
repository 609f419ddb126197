"""conspemollm: the package's synthetic texts in the layouts of COCO and LOCO, and ratings made up by rule."""

import csv
import json
from pathlib import Path
from typing import Any

from tests.docs.world import Left, Swapped, World

MOODS = {"lovely": 4.5, "fine": 3.6, "plain": 3.0, "poor": 2.4, "awful": 1.5}


def save(path: Path, rows: list[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows(rows)


def prepare(folder: Path) -> None:
    from etude.methods.conspemollm.synthetic import synthetic_articles, synthetic_tweets
    from etude.methods.conspemollm.tasks import bare, task_named

    categories = [bare(label) for label in task_named("theory-type").classes]
    tweets = [(tweet.id, tweet.text, *tweet.levels) for tweet in synthetic_tweets()]
    save(folder / "coco.csv", [("id", "text", *categories), *tweets])
    annotations, texts = synthetic_articles()
    articles = [{"doc_id": name, "txt": text, "subcorpus": "conspiracy"} for name, text in texts.items()]
    (folder / "LOCO.json").write_text(json.dumps(articles), encoding="utf-8")
    seeds = {"coronavirus": "corona", "sandy hook": "sandy.hook"}
    judged = [(a.document, seeds[a.topic], a.annotator, a.judgment, a.relatedness) for a in annotations]
    save(folder / "annotations.csv", [("doc id", "seeds", "annotator", "conspiracy", "relatedness"), *judged])
    rated = [
        (f"doc{at % 7}_{at}", "train" if at < 48 else "dev", list(MOODS.values())[at % 5], 3 + at / 100, 3.1,
         f"A {list(MOODS)[at % 5]} day number {at} by the sea.")
        for at in range(60)
    ]  # fmt: skip
    save(folder / "emobank.csv", [("id", "split", "V", "A", "D", "text"), *rated])
    new = [("1", "The ferry to the island leaves at noon."), ("2", "They hide the truth from all of us!")]
    save(folder / "texts.csv", [("id", "text"), *new])


WORLD = World(
    prepare,
    table=(
        Swapped(
            "evaluate",
            "twenty-five folds of ten arms",
            "evaluate condid",
            "evaluate condid --repeats 1 --folds 3",
        ),
        Swapped(
            "probe",
            "the test split of 24 articles has no conspiracy text",
            "positive",
            "positive --split train",
        ),
        Left("--data DIR", "claims have tests of their own"),
        Left("accelerate launch", "full-size weights, several processes"),
    ),
    embedded=("minilm",),
    slow=True,
)
