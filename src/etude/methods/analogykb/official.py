"""The shape of the paper's own release: JSON objects with `relation` and `tuple`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.runs import write_json

SAME, ANALOGOUS = "same_relation.json", "analogous_relation.json"


def write_official(folder: Path) -> tuple[Path, Path]:
    """Write the pair lists of each relation, and of each accepted pair of analogous relations.

    Args:
        folder: A knowledge base.

    Returns:
        The two files: `relation` is a list of one name or two, `tuple` holds one list of pairs for each.
    """
    kb = AnalogyKB(folder)
    lists: dict[str, list[list[str]]] = {name: [] for name in kb.table.relations}
    for row, rel in enumerate(kb.table.rel.tolist()):
        lists[kb.table.relations[rel]].append(list(kb.table.text(row)))
    same: list[Any] = [{"relation": [name], "tuple": [pairs]} for name, pairs in lists.items()]
    names = kb.table.relations
    analogous = [
        {"relation": [names[a], names[b]], "tuple": [lists[names[a]], lists[names[b]]]}
        for a, b in kb.analogous(accepted_only=True)
    ]
    write_json(folder / SAME, same)
    write_json(folder / ANALOGOUS, analogous)
    return folder / SAME, folder / ANALOGOUS
