"""A small graph, real parses, and an encoder of a few thousand weights."""

from pathlib import Path

import pytest
from tests.tiny_models import bert_word_tokenizer, tiny_bert

from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.demo import SAMPLE
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.preparing import build_kg, ground

PARSES = SAMPLE / "parses.jsonl"
QUESTIONS = SAMPLE / "questions.jsonl"


@pytest.fixture(scope="session")
def kg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kg") / "kg"
    build_kg(SAMPLE / "triples.tsv", out=folder)
    return folder


@pytest.fixture(scope="session")
def kg(kg_folder: Path) -> ConceptGraph:
    return ConceptGraph.open(kg_folder)


@pytest.fixture(scope="session")
def graphs_folder(kg_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs") / "graphs"
    ground(str(QUESTIONS), kg=kg_folder, parser=str(PARSES), out=folder)
    return folder


@pytest.fixture(scope="session")
def store(graphs_folder: Path) -> GraphStore:
    return GraphStore(graphs_folder)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT with two layers of width 16 that knows the words of the sample."""
    folder = tmp_path_factory.mktemp("encoder") / "bert"
    text = QUESTIONS.read_text() + (SAMPLE / "triples.tsv").read_text().replace("_", " ")
    words = sorted({w.strip('"?,.:[]{}') for w in text.lower().split()})
    tokenizer = bert_word_tokenizer(words)
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    tiny_bert(len(tokenizer), **shape).save_pretrained(folder)
    return str(folder)
