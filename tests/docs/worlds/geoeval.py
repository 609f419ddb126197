"""geoeval: the page's own quiz, the package's samples under the page's numbers, and a polite model."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

from tests.docs.pages import ROOT, blocks
from tests.docs.tiny import tiny_lm
from tests.docs.world import Served, Swapped, World, jsonl, last, write

FACTS = """PerpendicularBetweenLine(AC,BC)
Equal(LengthOfLine(AB),13)
Equal(LengthOfLine(AC),5)
Value(LengthOfLine(BC))"""


def prepare(folder: Path) -> None:
    shown = next(text for _, text in blocks(ROOT / "docs/methods/geoeval.md") if "$ cat quiz.csv" in text)
    quiz = shown.split("$ cat quiz.csv\n")[1].split("$ ")[0]
    lines = resources.files("etude.methods.geoeval").joinpath("samples/problems.jsonl").read_text("utf-8")
    problems = [json.loads(line) for line in lines.splitlines()]
    mine = [{**problems[0], "problem_id": "892"}, {**problems[1], "problem_id": "2155"}]
    write(folder, quiz_csv=quiz, mine_jsonl=jsonl(mine), problems_jsonl=lines)
    tiny_lm(folder / "tiny")


def model(messages: list[dict[str, Any]]) -> str:
    """Rewords by one polite word more; reads the ladder's facts out of every problem."""
    asked = last(messages)
    return FACTS if "in this notation" in asked else "Please note: " + asked.split("\n\n")[-1]


WORLD = World(
    prepare,
    table=(
        Served("openai/my-model", "no served model offline", model),
        Swapped("run quiz.csv", "135M weights write a thousand tokens in a minute", "smollm2", "tiny"),
    ),
    writes=("logs/results.parquet", "report/index.html", "report/results.csv"),
    same=("geoeval check",),
    embedded=("smollm2",),
    slow=True,
)
