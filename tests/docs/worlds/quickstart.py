"""quickstart: a shop's items, and the embedded models."""

from pathlib import Path

from tests.docs.world import Left, Swapped, World
from tests.docs.worlds import idgen


def prepare(folder: Path) -> None:
    idgen.prepare(folder)


WORLD = World(
    prepare,
    table=(
        Swapped(
            "etude demo", "eighteen demos take minutes; each has a test of its own", "demo", "demo idgen"
        ),
        Left("etude claim", "claims have tests of their own"),
    ),
    writes=("runs/demo/index.html", "ids.tsv"),
    embedded=("smollm2", "minilm"),
    slow=True,
)
