"""pipenet: the package's own sample, which the page names."""

import shutil
from pathlib import Path

from tests.docs.world import World


def prepare(folder: Path) -> None:
    from etude.methods.pipenet.demo import SAMPLE

    for name in ("triples.tsv", "questions.jsonl", "parses.jsonl"):
        shutil.copy(SAMPLE / name, folder)


WORLD = World(
    prepare,
    writes=("graphs/graphs.arrow", "graphs/concepts.arrow", "graphs/meta.json", "model/model.safetensors"),
    same=("build-kg", "ground", "prune"),
    embedded=("minilm",),
    slow=True,
)
