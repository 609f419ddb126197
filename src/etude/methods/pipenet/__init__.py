# ruff: noqa: F401
"""PipeNet: multiple-choice questions over a knowledge graph that syntax prunes.

Concepts of question and answer are found in a graph, with the bridges between them; bridges far from the
answer in the dependency tree are cut; a small graph attention network over what is left and an encoder
choose. Paper: PipeNet: Question Answering with Semantic Pruning over Knowledge Graphs, arXiv 2401.17536
(*SEM 2024).

    from etude.methods.pipenet import build_kg, evaluate, ground, prune, train
    build_kg("conceptnet.csv.gz", out="kg"); ground("train.jsonl", kg="kg", out="graphs")
    prune("graphs", by="dependency", rate=0.9, out="pruned-0.9")
    train("train.jsonl", graphs="pruned-0.9", encoder="minilm", out="model")
    ConceptGraph.open("kg"); GraphStore("pruned-0.9")[0].to_text()     # triples for a prompt
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.pipenet.answering import evaluate, explain, predict
    from etude.methods.pipenet.concept_graph import ConceptGraph
    from etude.methods.pipenet.graph_store import GraphStore
    from etude.methods.pipenet.grounding import Grounder, ground_choice
    from etude.methods.pipenet.network import ChoiceResult, PipeNet
    from etude.methods.pipenet.parsing import SpacyParser, StoredParser
    from etude.methods.pipenet.preparing import build_kg, ground, parse, prune
    from etude.methods.pipenet.pruning import prune_graph
    from etude.methods.pipenet.questions import Question
    from etude.methods.pipenet.subgraph import Subgraph
    from etude.methods.pipenet.sweeping import sweep
    from etude.methods.pipenet.training_run import train

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ChoiceResult": "network",
        "ConceptGraph": "concept_graph",
        "GraphStore": "graph_store",
        "Grounder": "grounding",
        "PipeNet": "network",
        "Question": "questions",
        "SpacyParser": "parsing",
        "StoredParser": "parsing",
        "Subgraph": "subgraph",
        "build_kg": "preparing",
        "evaluate": "answering",
        "explain": "answering",
        "ground": "preparing",
        "ground_choice": "grounding",
        "parse": "preparing",
        "predict": "answering",
        "prune": "preparing",
        "prune_graph": "pruning",
        "sweep": "sweeping",
        "train": "training_run",
    },
)
