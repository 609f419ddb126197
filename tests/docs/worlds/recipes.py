"""recipes: prose for a model, a shop's events, a vocabulary, a small collection, a graph of words."""

import csv
from pathlib import Path

from tests.docs.world import World
from tests.docs.worlds import analogykb, bioelqa, idgen, relevance


def prepare(folder: Path) -> None:
    from etude.data import prose

    (folder / "text.txt").write_text(prose()[:120_000], encoding="utf-8")
    (folder / "held_out.txt").write_text(prose()[-8_000:], encoding="utf-8")
    for world in (analogykb, bioelqa, idgen, relevance):
        world.prepare(folder)
    with (folder / "vocabulary.tsv").open(encoding="utf-8") as handle:
        rows = list(csv.reader(handle, delimiter="\t"))[1:]
    names = [name for row in rows for name in (row[1], *row[2].split("|")) if name]
    (folder / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


WORLD = World(
    prepare,
    writes=("run/model", "q4/dequantized", "encoder/modules.json", "tuned/model", "recommender/model"),
    embedded=("smollm2", "minilm"),
    slow=True,
)
