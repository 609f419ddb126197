"""relevance: topics of two words, documents that hold none, one or both, and a judge that counts."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.docs.world import Left, Served, World, jsonl, last, write

TOPICS = {"q0": "wing feather", "q1": "soup kettle", "q2": "violin bow", "q3": "glacier ice"}


def prepare(folder: Path) -> None:
    docs, topics, gold, runs = [], [], [], {"minilm": [], "bm25": [], "minilm-large": []}
    for qid, query in TOPICS.items():
        words = query.split()
        topics.append(
            {
                "qid": qid,
                "query": query,
                "description": f"About {query}.",
                "narrative": f"Both words of {query} count.",
            }
        )
        for at in range(6):
            docid, grade = f"{qid}-{at}", at % 3
            docs.append(
                {
                    "docid": docid,
                    "title": f"Note {at}",
                    "text": f"plain words and {' '.join(words[:grade])} again",
                }
            )
            gold.append(f"{qid} 0 {docid} {grade}")
            for step, run in enumerate(runs.values()):
                run.append(f"{qid} Q0 {docid} {at + 1} {(at * (step + 2)) % 7 + at / 10:.2f} tag")
    qrels = "\n".join(gold) + "\n"
    write(folder, d_jsonl=jsonl(docs), t_jsonl=jsonl(topics), gold_qrels=qrels, pool_qrels=qrels)
    (folder / "runs").mkdir()
    for name, lines in runs.items():
        (folder / "runs" / f"{name}.trec").write_text("\n".join(lines) + "\n")


def judge(messages: list[dict[str, Any]]) -> str:
    """Counts the query's words in the document; gives every asked grade, five times if asked."""
    asked = " ".join(str(message["content"]) for message in messages)
    query = re.search(r"Query: (\w+) (\w+)", asked).groups()
    body = last(messages).split("=====DOCUMENT=====")[1]
    grade = sum(word in body for word in query)
    row = {"M": grade, "T": 1, "O": grade} if '"M"' in asked else {"O": grade}
    return json.dumps([row] * 5 if "five" in asked else row)


def weeks(folder: Path) -> None:
    """Two weeks of labels: the same, for the example."""
    for name in ("week1", "week2"):
        shutil.copy(folder / "labels.jsonl", folder / f"{name}.jsonl")


WORLD = World(
    prepare,
    table=(
        Left("beir/trec-covid", "downloads a collection"),
        Served("openai/MODEL", "no served model offline", judge),
    ),
    before={"monitor": weeks},
    writes=("labels.jsonl",),
    needs=("bm25s", "ir_measures"),
    slow=True,
)
