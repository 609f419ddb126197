"""One visible use: a small graph of our own becomes analogies, questions and a test."""

from __future__ import annotations

from pathlib import Path

from etude.data import write_records
from etude.methods.analogykb.browsing import query
from etude.methods.analogykb.building import mine
from etude.methods.analogykb.grouped_accuracy import accuracy_of, answers, groups_of
from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.methods.analogykb.pairing import relate
from etude.methods.analogykb.question_sets import make_questions
from etude.methods.analogykb.scorers import CosineScorer
from etude.render import Demo, TableBlock, Text

GRAPH = {
    "young_of": "puppy dog,kitten cat,calf cow,lamb sheep,foal horse,piglet pig,chick hen,cub "
    "bear,duckling duck,"
    "tadpole frog,kid goat,fawn deer,gosling goose,cygnet swan,joey kangaroo,owlet owl",
    "opposite_of": "hot cold,big small,fast slow,high low,hard soft,old young,rich poor,light "
    "dark,wet dry,early late,"
    "full empty,strong weak,thick thin,loud quiet,near far,open closed",
    "works_at": "teacher school,doctor hospital,chef restaurant,pilot airplane,farmer farm,judge "
    "court,baker bakery,"
    "librarian library,actor theater,soldier army,sailor ship,miner mine,waiter cafe,barber "
    "salon,monk monastery,"
    "clerk office",
    "part_of": "wing bird,wheel car,leaf tree,page book,roof house,finger hand,key piano,petal "
    "flower,sleeve shirt,"
    "blade knife,handle door,toe foot,keel boat,string guitar,hour day,scene play",
    "made_from": "bread flour,wine grapes,cheese milk,paper wood,glass sand,shoe leather,candle "
    "wax,tire rubber,"
    "sweater wool,brick clay,window glazing,jam fruit,coin metal,rope hemp,chocolate cocoa,beer barley",
}
"""Pairs of our own, by relation."""


def demo(out: Path) -> Demo:
    """Mine a graph of eighty pairs, ask it, make questions from it, and let MiniLM's vectors answer them.

    Args:
        out: Folder for the files.
    """
    out.mkdir(parents=True, exist_ok=True)
    triples = [
        {"rel": rel, "head": pair.split()[0], "tail": pair.split()[1]}
        for rel, pairs in GRAPH.items()
        for pair in pairs.split(",")
    ]
    write_records(out / "triples.tsv", triples)
    mined = mine(out / "triples.tsv", out=out / "kb", min_pairs=5, min_degree=1)
    kb = AnalogyKB(out / "kb")
    asked = query(out / "kb", "wing", "bird", k=4)
    related = relate(out / "kb", model="mock", candidates=1)
    made = make_questions(kb, 200, choices=4, split="all").questions
    said = answers(CosineScorer(), made)
    all_of_them = accuracy_of("mined", made, said)
    groups = groups_of("mined", made, said)
    example, its = made[0], said[0]
    return Demo(
        headline=(
            f"{mined.pairs} pairs of five relations became {len(made)} questions; MiniLM's word "
            f"vectors, untrained, "
            f"answer {all_of_them.accuracy.value:.0%} of them (chance {all_of_them.chance:.0%})."
        ),
        went_in=[
            Text("A graph of our own, as a tab-separated file: " + ", ".join(GRAPH) + "."),
            TableBlock(
                ("rel", "head", "tail"), [tuple(row.values()) for row in triples[::16]], "Its first pairs"
            ),
        ],
        came_out=[
            TableBlock(
                ("wing is to bird as", "relation"),
                [(f"{r['pair'][0]} is to {r['pair'][1]}", r["relation"]) for r in asked.rows],
                "Asked of the knowledge base",
            ),
            TableBlock(
                ("stem", *(f"choice {i}" for i in range(4)), "right", "answered"),
                [(" : ".join(example.stem), *(" : ".join(c) for c in example.choice), example.answer, its)],
                "A question made from it",
            ),
            TableBlock(
                ("relation", "questions", "answered rightly", "95 % interval"),
                [
                    (g.group, g.questions, g.accuracy.value, f"{g.accuracy.low:.2f} to {g.accuracy.high:.2f}")
                    for g in groups
                ],
                "The untrained scorer (cosine of difference vectors), by relation",
            ),
            TableBlock(
                ("relation", "near relation"),
                [(r["rel_a"], r["rel_b"]) for r in related.rows],
                "Candidates for analogous relations by nearness alone; a model, two filters and "
                "people decide",
            ),
        ],
        meaning=(
            "A graph already holds analogies: any two pairs of one relation. As questions they test "
            "a model, or "
            "train one without annotation (etude analogykb train); whether that helps because of the "
            "relations is "
            f"what etude claim analogykb measures. The knowledge base has its page: "
            f"{out / 'kb' / 'report.html'}"
        ),
    )
