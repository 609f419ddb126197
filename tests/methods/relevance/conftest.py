"""A small collection of our own, with gold, and chat models of known quality."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from etude.models import register_scripted

THEMES = ("wings", "soup", "violins", "glaciers")


@dataclass(frozen=True)
class Collection:
    """Files of a collection in which relevance is how many of two theme words a document holds."""

    docs: Path
    topics: Path
    gold: Path
    folder: Path


def write_collection(folder: Path, each: int = 6) -> Collection:
    docs, topics, gold = [], [], []
    for t, theme in enumerate(THEMES):
        topics.append({"qid": f"q{t}", "query": f"{theme} {theme}care", "description": f"About {theme}."})
        for i in range(each):
            grade = i % 3
            words = [theme][: grade > 0] + [f"{theme}care"][: grade > 1]
            text = f"note {i} on daily matters {' '.join(words)} with plain filler words"
            docs.append({"docid": f"d{t}-{i}", "title": "", "text": text})
            gold.append(f"q{t} 0 d{t}-{i} {grade}")
    (folder / "docs.jsonl").write_text("".join(json.dumps(d) + "\n" for d in docs))
    (folder / "topics.jsonl").write_text("".join(json.dumps(d) + "\n" for d in topics))
    (folder / "gold.qrels").write_text("\n".join(gold) + "\n")
    return Collection(folder / "docs.jsonl", folder / "topics.jsonl", folder / "gold.qrels", folder)


def true_grade(conversation) -> int:
    """The grade of the only document in a prompt, from the prompt alone."""
    text = conversation[-1]["content"]
    query = re.search(r"Query: (\w+) (\w+)", text)
    body = text.split("=====DOCUMENT=====")[1].split()
    return sum(word in body for word in query.groups())


@pytest.fixture
def collection(tmp_path) -> Collection:
    return write_collection(tmp_path)


@pytest.fixture(autouse=True)
def judges() -> None:
    register_scripted(
        "oracle-judge",
        lambda c: json.dumps({"M": true_grade(c), "T": 1, "O": true_grade(c)}),
        score=lambda c, option: -abs(true_grade(c) - int(option)) * 3.0,
    )
    register_scripted("inverted-judge", lambda c: json.dumps({"O": 2 - true_grade(c)}))
    register_scripted(
        "babbling-judge", lambda c: "I would say 0 to 2" if true_grade(c) else json.dumps({"O": 0})
    )
    register_scripted(
        "gullible-judge",
        lambda c: json.dumps(
            {"O": 2 if "highly relevant to the query" in c[-1]["content"] else true_grade(c)}
        ),
    )
