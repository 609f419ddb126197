"""bioelqa: the package's own sample, also as an ontology, and the page's three mentions."""

import shutil
from pathlib import Path
from typing import Any

from tests.docs.tiny import tiny_lm
from tests.docs.world import Swapped, World, jsonl, write


def prepare(folder: Path) -> None:
    from etude.methods.bioelqa.demo import sample

    for name in ("train.pubtator", "test.pubtator", "vocabulary.tsv"):
        shutil.copy(sample(name), folder)
    mentions = [
        {"mention": "cardiac infarction"},
        {"mention": "??"},
        {"mention": "AD", "context": "atopic dermatitis (AD) came"},
    ]
    write(folder, mentions_jsonl=jsonl(mentions), hp_obo="\n".join(["format-version: 1.2", *terms(folder)]))
    tiny_lm(folder / "tiny")


def terms(folder: Path) -> list[str]:
    """The vocabulary's rows as terms of an OBO file; the last one is obsolete."""
    rows = [line.split("\t") for line in (folder / "vocabulary.tsv").read_text().splitlines()]
    stanzas = [f"\n[Term]\nid: {row[0]}\nname: {row[1]}" for row in rows if row[0] != "id"]
    return [*stanzas, "is_obsolete: true\n"]


def names(folder: Path) -> dict[str, Any]:
    """Solved mentions: names that the ontology has."""
    from etude.methods.bioelqa import Vocabulary

    known = list(Vocabulary.from_obo(folder / "hp.obo"))[:20]
    return {"mentions": [entity.name for entity in known], "ids": [entity.id for entity in known]}


WORLD = World(
    prepare,
    table=(Swapped("CausalSelector", "training 135M weights takes minutes", "smollm2", "tiny"),),
    names=names,
    writes=("r/report.html", "r/train/model"),
    embedded=("smollm2",),
    slow=True,
)
