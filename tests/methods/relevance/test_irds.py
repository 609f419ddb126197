"""Collections of ir-datasets become the files that the other verbs read."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from etude.errors import EtudeError
from etude.methods.relevance import build
from etude.methods.relevance.collection import read_documents, read_topics
from etude.methods.relevance.trec import read_qrels

ir_datasets = pytest.importorskip("ir_datasets")


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    (tmp_path / "docs.tsv").write_text("d1\tthe wind\nd2\ta tower\nd3\tnobody judged this\n")
    (tmp_path / "queries.tsv").write_text("q1\twind\nq2\ttowers\n")
    (tmp_path / "qrels.txt").write_text("q1 0 d1 2\nq1 0 d2 0\nq2 0 d2 1\nq2 0 gone 1\n")
    made = ir_datasets.create_dataset(
        docs_tsv=str(tmp_path / "docs.tsv"),
        queries_tsv=str(tmp_path / "queries.tsv"),
        qrels_trec=str(tmp_path / "qrels.txt"),
    )
    name = f"etude-test/{tmp_path.name}"
    ir_datasets.registry.register(name, made)
    return name


def test_a_collection_becomes_documents_topics_and_gold(collection: str, tmp_path: Path) -> None:
    made = build(collection, out=tmp_path / "out")
    assert read_documents(tmp_path / "out/docs.jsonl") == {"d1": "the wind", "d2": "a tower"}
    assert {t.qid: t.query for t in read_topics(tmp_path / "out/topics.jsonl").values()} == {
        "q1": "wind",
        "q2": "towers",
    }
    gold = read_qrels(tmp_path / "out/gold.qrels")
    assert gold == {("q1", "d1"): 2, ("q1", "d2"): 0, ("q2", "d2"): 1, ("q2", "gone"): 1}
    assert (made.documents, made.topics, made.judgements, made.absent) == (2, 2, 4, 1)
    assert made.grades == {"0": 1, "1": 2, "2": 1}
    drawn = Console(file=io.StringIO(), width=100)
    drawn.print(made)
    assert "1 judged documents are not in the collection" in drawn.file.getvalue()


def test_all_documents_are_written_on_demand(collection: str, tmp_path: Path) -> None:
    made = build(collection, all_documents=True, out=tmp_path / "out")
    assert list(read_documents(tmp_path / "out/docs.jsonl")) == ["d1", "d2", "d3"]
    assert (made.documents, made.absent) == (3, 1)


def test_what_is_no_collection_is_named(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="has no 'no-such/thing'"):
        build("no-such/thing", out=tmp_path)
