"""self-explanations: three sentences on films, and a served model that copies."""

import re
from pathlib import Path
from typing import Any

from tests.docs.tiny import tiny_lm
from tests.docs.world import Served, Swapped, World, jsonl, last, write

REVIEWS = [
    ("m1", "An engaging and lovely little film with a clever script.", "positive"),
    ("m2", "A dull and lifeless film.", "negative"),
    ("m3", "The actors are wonderful and the music is great.", "positive"),
]


def prepare(folder: Path) -> None:
    rows = [{"id": name, "text": text, "label": label} for name, text, label in REVIEWS]
    write(folder, mine_jsonl=jsonl(rows), imdb_jsonl=jsonl(rows[:1]))
    tiny_lm(folder / "tiny")


def model(messages: list[dict[str, Any]]) -> str:
    """Counts good words; names them when asked for words; else repeats the paragraph."""
    asked = last(messages)
    paragraph = asked.split("Paragraph:")[-1].strip()
    good = re.findall(r"lovely|engaging|clever|wonderful|great", paragraph)
    if "Which words" in asked:
        return "\n".join(good or ["dull"])
    if "Answer with one" in asked:
        return "positive" if good else "negative"
    return paragraph


WORLD = World(
    prepare,
    table=(
        Swapped("smollm2", "135M weights write for a minute", "smollm2", "tiny"),
        Served("openai/", "no served model offline", model),
        Swapped("validate", "runs on the package's own words as well", "--data DIR", ""),
        Swapped("Observation(", "the page's ... stands for more rows", ", ...]", "]"),
    ),
    embedded=("smollm2",),
    slow=True,
)
