"""A small graph of our own with five relations, as a file and as a knowledge base."""

import pytest

from etude.methods.analogykb import AnalogyKB, mine
from etude.methods.analogykb.demo import GRAPH

TRIPLES = [(rel, *pair.split()) for rel, pairs in GRAPH.items() for pair in pairs.split(",")]


def write_tsv(path, triples=TRIPLES, header="rel\thead\ttail\n"):
    path.write_text(header + "".join("\t".join(row) + "\n" for row in triples), encoding="utf-8")
    return path


@pytest.fixture
def graph(tmp_path):
    return write_tsv(tmp_path / "triples.tsv")


@pytest.fixture(scope="session")
def kb_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("analogykb")
    mine(write_tsv(folder / "triples.tsv"), out=folder / "kb", min_pairs=5, min_degree=1)
    return folder / "kb"


@pytest.fixture
def kb(kb_folder):
    return AnalogyKB.open(kb_folder)


@pytest.fixture
def own_kb(graph, tmp_path):
    """A knowledge base that the test may change."""
    mine(graph, out=tmp_path / "kb", min_pairs=5, min_degree=1)
    return tmp_path / "kb"
