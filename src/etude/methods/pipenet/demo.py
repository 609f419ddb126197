"""A visible use in seconds: twelve questions of our own over a small graph, pruned, learned and explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etude.methods.pipenet.answering import explain_question
from etude.methods.pipenet.explanation import explanation_sections
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.model_folder import load_network
from etude.methods.pipenet.preparing import build_kg, ground, prune
from etude.methods.pipenet.pruning import CRITERIA
from etude.methods.pipenet.pruning_sweep import structural_accuracy
from etude.methods.pipenet.questions import read_questions
from etude.methods.pipenet.training_run import train
from etude.methods.pipenet.vectors import StoreRanking
from etude.render import Code, Demo, TableBlock, Text

SAMPLE = Path(__file__).parent / "sample"


def demo(out: Path) -> Demo:
    """Build the graph, ground with stored trees, prune, train a small reasoner, explain one answer.

    Args:
        out: Folder for what the verbs write.
    """
    questions = SAMPLE / "questions.jsonl"
    build_kg(SAMPLE / "triples.tsv", out=out / "kg")
    ground(str(questions), kg=out / "kg", parser=str(SAMPLE / "parses.jsonl"), out=out / "graphs")
    prune(out / "graphs", by="dependency", rate=0.5, out=out / "pruned-0.5")
    train(
        str(questions),
        graphs=out / "pruned-0.5",
        out=out / "model",
        dim=32,
        layers=2,
        epochs=20,
        batch_size=4,
        learning_rate=3e-3,
    )
    asked, store = read_questions(questions), GraphStore(out / "graphs")
    trained = load_network(out / "model")
    vectors = trained.vectors(store, None)
    chosen = next(q for q in asked if q.id == "anchor")
    result = explain_question(trained, store, chosen, out / "explained.html", vectors)
    _, best = explanation_sections(chosen, result, store.of_question(chosen), "half of the bridges removed")[
        :2
    ]
    look = result.attention[result.choice]
    ranking = StoreRanking(store, trained.network.encoder)
    rows: list[list[Any]] = []
    for by in CRITERIA:
        scored, size = structural_accuracy(asked, store, rate=0.5, by=by, seeds=range(5), ranking=ranking)
        rows.append([by, size.nodes, size.edges, size.messages, sum(scored.values()) / len(scored)])
    whole, size = structural_accuracy(asked, store, rate=0.0, by="dependency")
    rows.insert(
        0, ["nothing pruned", size.nodes, size.edges, size.messages, sum(whole.values()) / len(whole)]
    )
    before = sum(len(g.nodes) for g in store.of_question(chosen))
    after = sum(len(one.graph.nodes) for one in result.attention)
    return Demo(
        headline=f"Half of the bridges cut by syntax ({before} nodes become {after}), the answer explained: "
        f"{chosen.choices[result.choice]}",
        went_in=[
            Text(
                f"{len(asked)} questions and {len(store.names)} concepts, written for this demo, so that the "
                "graph knows the answers; the trees were stored by `etude pipenet parse`."
            ),
            Code(f"{chosen.question}\n" + ", ".join(chosen.choices)),
        ],
        came_out=[
            *best.blocks[:3],
            Text("As context for a prompt:"),
            Code(look.graph.to_text(max_edges=8)),
            TableBlock(
                ["bridges kept by", "nodes", "edges", "messages", "structural scorer"],
                rows,
                "All twelve questions at rate 0.5, means per statement (random: 5 draws)",
            ),
        ],
        meaning="The reasoner saw these questions in training; what pruning does to accuracy on others is in "
        "`etude claim pipenet`.",
    )
