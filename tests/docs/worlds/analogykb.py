"""analogykb: five relations of twelve words each, every word in three pairs; two small tests."""

import csv
import json
from pathlib import Path
from typing import Any

from tests.docs.world import Served, Swapped, World, jsonl, last, write

RELATIONS = {
    "part_of": (
        "wing leg eye beak feather tail claw fin gill scale skin bone",
        "bird hen owl duck goose swan hawk fish crow dove wren gull",
    ),
    "made_from": (
        "bread cake shirt rope chair desk door paper jar cup coin ring",
        "flour grain wool hemp oak pine wood straw glass clay gold tin",
    ),
    "works_at": (
        "nurse cook clerk judge baker pilot guard tailor monk sailor miner actor",
        "ward kitchen office court bakery airport gate shop abbey harbor pit stage",
    ),
    "eats": (
        "cow horse rabbit mouse bear wolf fox deer goat sheep pig cat",
        "grass hay carrot cheese honey meat berry leaf bark clover root milk",
    ),
    "located_in": (
        "tower bridge market school square park museum theater station hospital temple prison",
        "city town village suburb county valley island coast delta region port capital",
    ),
}


def pairs(relation: str) -> list[tuple[str, str]]:
    heads, tails = (side.split() for side in RELATIONS[relation])
    return [(heads[at], tails[(at + step) % 12]) for at in range(12) for step in range(3)]


def question(relation: str, at: int) -> dict[str, Any]:
    others = [name for name in RELATIONS if name != relation]
    choice = [pairs(relation)[at + 12], *(pairs(name)[at + 5] for name in others[:3])]
    return {"stem": pairs(relation)[at], "choice": choice, "answer": 0, "group": relation}


def prepare(folder: Path) -> None:
    import polars as pl

    rows = [{"rel": name, "head": head, "tail": tail} for name in RELATIONS for head, tail in pairs(name)]
    pl.DataFrame(rows).write_parquet(folder / "triples.parquet")
    sat = jsonl([question(name, at) for name in RELATIONS for at in (0, 1)])
    u2 = jsonl([question(name, at) for name in RELATIONS for at in (2, 3)])
    write(folder, sat_jsonl=sat, u2_jsonl=u2, test_jsonl=u2)


ANALOGOUS = ({"part_of", "made_from"}, {"works_at", "located_in"})


def model(messages: list[dict[str, Any]]) -> str:
    """Finds two pairs of relations analogous, and the same behind both."""
    asked = last(messages)
    if "Candidates:" not in asked:
        return '{"meta": "belongs to"}'
    relation, listed = asked.split("Relation: ")[1].split(" (")[0], asked.split("Candidates:")[1]
    others = [name for name in RELATIONS if {relation, name} in ANALOGOUS and f"- {name} (" in listed]
    return json.dumps({"analogous": others})


def fill_sheets(folder: Path) -> None:
    """Two people fill copies of the sheet; they disagree about its first row."""
    with (folder / "kb" / "review.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for name, first in (("alice", "yes"), ("bob", "no")):
        for at, row in enumerate(rows):
            row["accept"] = first if at == 0 else "yes"
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, rows[0])
            writer.writeheader()
            writer.writerows(rows)


WORLD = World(
    prepare,
    table=(
        Served("openai/MODEL", "no served model offline", model),
        Swapped("6000", "a graph of 180 facts has fewer questions", "6000", "60"),
    ),
    before={"--sheets": fill_sheets},
    writes=("kb/pairs.parquet", "kb/relations.parquet", "kb/relation_pairs.parquet", "kb/report.html"),
    embedded=("minilm",),
)
