"""Two dozen tweets and two dozen short articles written by us: marked synthetic, for trying things out.

They show the formats and that everything runs. They are no evidence about conspiracy theories or detectors:
whoever wrote them knew the labels.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from etude.methods.conspemollm.builder import ConDIDBuilder
from etude.methods.conspemollm.coco import Tweet
from etude.methods.conspemollm.label_policies import LabelPolicy
from etude.methods.conspemollm.loco import Annotation

SOURCE = "synthetic"


@cache
def _rows(kind: str) -> list[dict[str, Any]]:
    """The texts of `synthetic.jsonl`: `tweet` (categories it supports, it mentions) or `article`."""
    lines = resources.files(__package__).joinpath("synthetic.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def synthetic_tweets() -> list[Tweet]:
    """The tweets, as COCO has them: each category 1, 2 or 3."""
    made = []
    for number, row in enumerate(_rows("tweet"), start=1):
        levels = tuple(3 if at in row["supports"] else 2 if at in row["mentions"] else 1 for at in range(12))
        made.append(Tweet(f"synthetic-tweet-{number}", row["text"], levels))
    return made


def synthetic_articles() -> tuple[list[Annotation], dict[str, str]]:
    """The articles, as LOCO has them: annotations, and texts by document id."""
    annotations, texts = [], {}
    for number, row in enumerate(_rows("article"), start=1):
        name = f"synthetic-article-{number}"
        annotations.append(Annotation(name, row["topic"], "Majority", row["conspiracy"], row["relatedness"]))
        texts[name] = row["text"]
    return annotations, texts


def synthetic_builder(policy: LabelPolicy | None = None) -> ConDIDBuilder:
    """A builder that holds all of them."""
    annotations, texts = synthetic_articles()
    builder = ConDIDBuilder(policy).add_tweets(synthetic_tweets(), SOURCE)
    return builder.add_documents(annotations, texts, "the synthetic articles", SOURCE)
