"""counting-stars: the sample haystack and the instruments; in Python a text of ours."""

from pathlib import Path
from typing import Any

from tests.docs.tiny import story
from tests.docs.world import World


def names(folder: Path) -> dict[str, Any]:
    """A text of ours and SmolLM2's tokenizer."""
    from etude.models import load_tokenizer

    return {"haystack": story(9000, seed=0), "tokenizer": load_tokenizer("smollm2")}


WORLD = World(
    lambda folder: None,
    names=names,
    writes=("cells.jsonl", "logs", "report/index.html", "report/heat_map.png", "report/depth_curve.png"),
    same=("counting-stars",),
    embedded=("smollm2",),
    slow=True,
)
