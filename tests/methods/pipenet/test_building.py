"""What becomes of triples: shapes of sources, merged relations, and files that are wrong."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from etude.errors import EtudeError
from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.preparing import build_kg

CONCEPTNET = [
    ("/r/IsA", "/c/en/dog/n", "/c/en/animal"),
    ("/r/HasA", "/c/en/dog", "/c/en/tail"),
    ("/r/MotivatedByGoal", "/c/en/eat", "/c/en/hunger"),
    ("/r/HasContext", "/c/en/dog", "/c/en/zoology"),
    ("/r/IsA", "/c/fr/chien", "/c/en/dog"),
    ("/r/IsA", "/c/en/7_up", "/c/en/drink"),
    ("/r/RelatedTo", "/c/en/dog", "/c/en/dog/v"),
    ("/r/UsedFor", "/c/en/object", "/c/en/work"),
    ("/r/DerivedFrom", "/c/en/doggy", "/c/en/dog"),
]


def triples(kg: ConceptGraph) -> set[tuple[str, str, str]]:
    ends, relation = kg.edges_within(np.arange(len(kg)))
    return {
        (kg.name(int(h)), kg.relations[int(r)], kg.name(int(t)))
        for (h, t), r in zip(ends.T, relation, strict=True)
    }


@pytest.fixture
def assertions(tmp_path: Path) -> Path:
    path = tmp_path / "conceptnet.csv.gz"
    with gzip.open(path, "wt") as handle:
        for r, h, t in CONCEPTNET:
            handle.write(f'/a/[x]\t{r}\t{h}\t{t}\t{{"weight": 1.0, "note": "a \\"quote"}}\n')
    return path


def test_conceptnets_five_columns_are_cleaned_and_merged(assertions: Path, tmp_path: Path) -> None:
    result = build_kg(assertions, out=tmp_path / "kg")
    assert triples(ConceptGraph.open(tmp_path / "kg")) == {
        ("dog", "isa", "animal"),
        ("tail", "partof", "dog"),  # hasa turned around
        ("hunger", "causes", "eat"),  # motivatedbygoal turned around
    }
    assert result.graph.dropped == {
        "not an English concept of letters, _ and -": 2,
        "concept that says nothing": 1,
        "relation dropped by the merge": 1,
        "relation unknown to the merge": 1,
        "self loop": 1,
    }
    assert result.graph.unknown == {"derivedfrom": 1} and result.graph.rows == len(CONCEPTNET)


def test_lenient_keeps_an_unknown_relation_as_relatedto(assertions: Path, tmp_path: Path) -> None:
    build_kg(assertions, out=tmp_path / "kg", lenient=True)
    assert ("doggy", "relatedto", "dog") in triples(ConceptGraph.open(tmp_path / "kg"))


def test_tables_give_the_same_graph(tmp_path: Path) -> None:
    rows = {"head": ["Big dog", "cat"], "rel": ["isa_nn", "Antonym"], "tail": ["animal", "big dog"]}
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame(rows).write_csv(tmp_path / "t.tsv", separator="\t")
    for name in ("t.parquet", "t.tsv"):
        build_kg(tmp_path / name, out=tmp_path / f"kg-{name}")
        found = ConceptGraph.open(tmp_path / f"kg-{name}")
        assert triples(found) == {("big_dog", "isa", "animal"), ("cat", "antonym", "big_dog")}


def test_every_edge_can_be_walked_both_ways(kg: ConceptGraph) -> None:
    r = len(kg.relations)
    for u in range(len(kg)):
        for place in range(kg.indptr[u], kg.indptr[u + 1]):
            v, mask = int(kg.indices[place]), int(kg.masks[place])
            row = kg.neighbors(v).tolist()
            back = int(kg.masks[kg.indptr[v] + row.index(u)])
            assert back == (mask >> r) | ((mask & ((1 << r) - 1)) << r)


def test_names_and_ids_are_inverse(kg: ConceptGraph) -> None:
    assert [kg.find(kg.name(i)) for i in range(len(kg))] == list(range(len(kg)))
    assert kg.find("no_such_concept") is None


def test_a_vocabulary_fixes_the_ids(assertions: Path, tmp_path: Path) -> None:
    (tmp_path / "concepts.txt").write_text("tail\nanimal\ndog\n")
    result = build_kg(assertions, out=tmp_path / "kg", vocabulary=tmp_path / "concepts.txt")
    kg = ConceptGraph.open(tmp_path / "kg")
    assert [kg.name(i) for i in range(3)] == ["tail", "animal", "dog"] and kg.find("dog") == 2
    assert result.graph.dropped["concept outside the vocabulary"] == 1


def test_a_merge_of_ones_own(assertions: Path, tmp_path: Path) -> None:
    merge = tmp_path / "merge.tsv"
    merge.write_text("relation\tmerged\treversed\nisa\tkind\tno\nhasa\tkind\tyes\n")
    build_kg(assertions, out=tmp_path / "kg", merge=str(merge))
    kg = ConceptGraph.open(tmp_path / "kg")
    assert kg.relations == ("kind",)
    assert triples(kg) == {("dog", "kind", "animal"), ("tail", "kind", "dog")}


def test_a_file_that_is_cut_off_or_changed_is_named(assertions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kg"
    build_kg(assertions, out=folder)
    file = folder / "indices.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-2])
    with pytest.raises(EtudeError, match=r"indices.npy: .* bytes instead of"):
        ConceptGraph.open(folder, verify=False)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(EtudeError, match=r"indices.npy: its checksum is wrong"):
        ConceptGraph.open(folder)


def test_a_truncated_download_is_refused(assertions: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(assertions.read_bytes()[:60])
    with pytest.raises(EtudeError, match=r"cut.csv.gz: cannot be read as triples"):
        build_kg(cut, out=tmp_path / "kg")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.tsv", "head\tlabel\ttail\na\tisa\tb\n", "no column relation"),
        ("t.tsv", "head\trel\ttail\n1\tisa\t2\n", "no edge is left"),
        ("t.csv", "one,two\n", "cannot be read as triples"),
        ("t.txt", "a isa b\n", "unknown kind of file"),
    ],
)
def test_sources_of_another_shape_are_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(EtudeError, match=message):
        build_kg(tmp_path / name, out=tmp_path / "kg")


def test_a_merge_without_its_columns_is_refused(assertions: Path, tmp_path: Path) -> None:
    (tmp_path / "merge.tsv").write_text("relation\tother\nisa\tkind\n")
    with pytest.raises(EtudeError, match=r"merge.tsv:2: no merged"):
        build_kg(assertions, out=tmp_path / "kg", merge=str(tmp_path / "merge.tsv"))
    with pytest.raises(EtudeError, match="there is no merge"):
        build_kg(assertions, out=tmp_path / "kg", merge="qagnn71")
