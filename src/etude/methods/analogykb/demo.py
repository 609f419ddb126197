"""One visible use: a small graph of our own becomes analogies, questions and a trained scorer."""

from __future__ import annotations

from pathlib import Path

from etude.data import write_records
from etude.methods.analogykb.browsing import query
from etude.methods.analogykb.building import mine
from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.methods.analogykb.pair_scorer import PairScorer, default_recipe
from etude.methods.analogykb.pairing import relate
from etude.methods.analogykb.question_sets import make_questions
from etude.render import Demo, TableBlock, Text

GRAPH = {
    "young_of": "puppy dog,kitten cat,calf cow,lamb sheep,foal horse,piglet pig,chick hen,cub bear,duckling duck,"
    "tadpole frog,kid goat,fawn deer,gosling goose,cygnet swan,joey kangaroo,owlet owl",
    "opposite_of": "hot cold,big small,fast slow,high low,hard soft,old young,rich poor,light dark,wet dry,early late,"
    "full empty,strong weak,thick thin,loud quiet,near far,open closed",
    "works_at": "teacher school,doctor hospital,chef restaurant,pilot airplane,farmer farm,judge court,baker bakery,"
    "librarian library,actor theater,soldier army,sailor ship,miner mine,waiter cafe,barber salon,monk monastery,"
    "clerk office",
    "part_of": "wing bird,wheel car,leaf tree,page book,roof house,finger hand,key piano,petal flower,sleeve shirt,"
    "blade knife,handle door,toe foot,keel boat,string guitar,hour day,scene play",
    "made_from": "bread flour,wine grapes,cheese milk,paper wood,glass sand,shoe leather,candle wax,tire rubber,"
    "sweater wool,brick clay,window glazing,jam fruit,coin metal,rope hemp,chocolate cocoa,beer barley",
}
"""Pairs of our own, by relation."""

TEST = (
    ("wing", "bird", (("fin", "fish"), ("fish", "water"), ("cold", "winter"), ("milk", "cow"))),
    ("puppy", "dog", (("dog", "bone"), ("eaglet", "eagle"), ("nest", "bird"), ("barn", "farm"))),
    ("hot", "cold", (("sun", "moon"), ("ice", "water"), ("begin", "end"), ("coat", "winter"))),
    ("teacher", "school", (("school", "book"), ("nurse", "clinic"), ("chalk", "board"), ("pupil", "desk"))),
)
"""Questions of our own; the right choices stand at 0, 1, 2, 1."""

RIGHT = (0, 1, 2, 1)


def demo(out: Path) -> Demo:
    """Mine a graph of eighty pairs, ask it, train a scorer on questions from it, and compare on four others.

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
    related = relate(out / "kb", model="mock", candidates=2)
    made = make_questions(kb, 600, choices=4, split="all")
    scorer = PairScorer().fit(made.questions, recipe=default_recipe("features"))
    untrained = PairScorer()
    rows, right = [], [0, 0]
    for (a, b, choices), answer in zip(TEST, RIGHT, strict=True):
        said = []
        for i, one in enumerate((untrained, scorer)):
            scores = one.score((a, b), choices)
            best = max(range(len(scores)), key=scores.__getitem__)
            right[i] += best == answer
            said.append(" : ".join(choices[best]) + (" ✓" if best == answer else ""))
        rows.append((f"{a} : {b}", " : ".join(choices[answer]), *said))
    example = made.questions[0]
    return Demo(
        headline=(
            f"{mined.pairs} pairs of five relations became {len(made.questions)} questions; on four others the "
            f"untrained scorer is right {right[0]} times, the trained one {right[1]} times."
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
                ("stem", *(f"choice {i}" for i in range(4)), "right"),
                [(" : ".join(example.stem), *(" : ".join(c) for c in example.choice), example.answer)],
                "A question made from it",
            ),
            TableBlock(
                ("relation", "near relation", "what both are"),
                [(r["rel_a"], r["rel_b"], r["meta"]) for r in related.rows],
                "Candidates for analogous relations by a mock; a language model and people decide in earnest",
            ),
            TableBlock(
                ("stem", "right", "untrained", "trained"), rows, "Four questions that were not trained on"
            ),
        ],
        meaning=(
            "A graph already holds analogies: any two pairs of one relation. Mined as questions they teach a scorer "
            "what a relation looks like, and cost no annotation. Four questions show how it works, not how well: "
            f"etude claim analogykb measures that. The knowledge base has its page: {out / 'kb' / 'report.html'}"
        ),
    )
