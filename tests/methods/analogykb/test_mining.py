"""Mining against a plain dictionary script on random graphs; partitions, engines, kills, bad inputs."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.analogykb import AnalogyKB, mine
from etude.methods.analogykb.graph_shapes import graph_shape
from etude.methods.analogykb.mining import Machine, mine_graph
from etude.methods.analogykb.pair_selection import Selection, code_edges_apart, connect

from .conftest import write_tsv


def plain(triples, selection):
    """What mining should give, in dictionaries and sorts."""
    edges = defaultdict(set)
    for rel, head, tail in triples:
        if head != tail:
            edges[rel].add((head, tail))
    degrees = Counter(word for pairs in edges.values() for pair in pairs for word in pair)
    out = []
    for rel in sorted(edges):
        known = [
            (min(degrees[h], degrees[t]), h, t)
            for h, t in edges[rel]
            if min(degrees[h], degrees[t]) >= selection.min_degree
        ]
        if len(known) >= selection.min_pairs:
            known.sort(key=lambda row: (-row[0], row[1].encode(), row[2].encode()))
            out += [(rel, h, t, score) for score, h, t in known[: selection.per_relation]]
    return out


def mined(path):
    table = pq.read_table(path, columns=["rel", "head", "tail", "score"])
    return [tuple(row.values()) for row in table.to_pylist()]


words = st.sampled_from(["a", "b", "é", "wing", "bird", "Zoo", "ab", "a b", "'quoted'", "漢字", "naïve"])
graphs = st.lists(st.tuples(st.sampled_from(["r", "S", "it's"]), words, words), min_size=1, max_size=60)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs, st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_any_graph_gives_what_a_dictionary_script_gives(tmp_path, triples, k, least, degree, partitions):
    selection = Selection(k, least, degree)
    expected = plain(triples, selection)
    tmp_path = Path(tempfile.mkdtemp(dir=tmp_path))
    shape = graph_shape(write_tsv(tmp_path / "any.tsv", triples))
    machine = Machine(threads=1, partitions=partitions)
    if not expected:
        with pytest.raises(EtudeError, match=r"no relation (has|is left)"):
            mine_graph(shape, tmp_path / "kb", selection, machine=machine)
        return
    mine_graph(shape, tmp_path / "kb", selection, machine=machine)
    assert mined(tmp_path / "kb" / "pairs.parquet") == expected


def random_triples(seed=0, count=6000):
    import random

    draw = random.Random(seed)
    return [
        (
            f"rel {int(9 * draw.random() ** 2)}",
            f"w{int(400 * draw.random() ** 2)}",
            f"w{int(400 * draw.random())}",
        )
        for _ in range(count)
    ]


def test_the_files_are_the_same_bytes_for_any_number_of_threads_and_partitions(tmp_path):
    path = write_tsv(tmp_path / "t.tsv", random_triples())
    selection = Selection(100, 20, 3)
    contents = set()
    for i, machine in enumerate(
        (Machine(threads=1), Machine(threads=2), Machine(partitions=5), Machine(partitions=2))
    ):
        folder = tmp_path / f"kb{i}"
        mine_graph(graph_shape(path), folder, selection, machine=machine)
        contents.add(tuple((folder / name).read_bytes() for name in ("pairs.parquet", "relations.parquet")))
    assert len(contents) == 1
    assert mined(folder / "pairs.parquet") == plain(random_triples(), selection)
    assert sorted(p.name for p in folder.iterdir()) == ["graph", "pairs.parquet", "relations.parquet"]


@pytest.mark.slow
def test_ray_gives_the_same_bytes(tmp_path):
    pytest.importorskip("ray")
    path = write_tsv(tmp_path / "t.tsv", random_triples())
    mine(path, out=tmp_path / "here", per_relation=100)
    mine(path, out=tmp_path / "ray", per_relation=100, engine="ray", workers=2)
    for name in ("pairs.parquet", "relations.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()


def test_all_formats_give_the_same_pairs(tmp_path):
    triples = random_triples(1, 1500)
    frame = pl.DataFrame(triples, schema=["relation", "subject", "object"], orient="row")
    write_tsv(tmp_path / "t.tsv", triples)
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    (tmp_path / "t").mkdir()
    for i, part in enumerate(frame.iter_slices(500)):
        part.write_parquet(tmp_path / "t" / f"{i}.parquet")
    import gzip

    (tmp_path / "t2.tsv.gz").write_bytes(gzip.compress((tmp_path / "t.tsv").read_bytes()))
    write_tsv(tmp_path / "bare.tsv", [(h, r, t) for r, h, t in triples], header="")
    expected = plain(triples, Selection(50, 5, 2))
    for name in ("t.tsv", "t.csv", "t.parquet", "t", "t2.tsv.gz"):
        mine_graph(graph_shape(tmp_path / name), tmp_path / "kb", Selection(50, 5, 2))
        assert mined(tmp_path / "kb" / "pairs.parquet") == expected, name
    shape = graph_shape(tmp_path / "bare.tsv", columns=["head", "rel", "tail"])
    mine_graph(shape, tmp_path / "kb", Selection(50, 5, 2))
    assert mined(tmp_path / "kb" / "pairs.parquet") == expected
    kb = AnalogyKB.mine(frame.lazy(), per_relation=50, min_pairs=5, min_degree=2)
    assert mined(kb.folder / "pairs.parquet") == expected


def test_terms_that_share_a_code_are_told_apart_by_another_salt(tmp_path):
    query = graph_shape(write_tsv(tmp_path / "t.tsv", random_triples(2, 300))).query
    with connect(None, 1, tmp_path) as connection:
        # a hash that tells nothing apart but texts with the second salt
        connection.execute(
            "CREATE MACRO hash(x) AS CASE WHEN ends_with(x, '#') THEN md5_number_lower(x) ELSE 7::UBIGINT END"
        )
        code_edges_apart(connection, query, ("t",))
        terms = connection.execute("SELECT count(*), count(DISTINCT id) FROM term_codes").fetchall()[0]
        edges = connection.execute("SELECT count(*) FROM edges").fetchall()[0][0]
    assert terms[0] == terms[1] == len({w for _, h, t in random_triples(2, 300) for w in (h, t)})
    assert edges == len(set(random_triples(2, 300)))


def test_unclear_ends_unstructured_relations_and_small_ones_are_left_out_and_listed(tmp_path):
    good = [("part_of", f"part{chr(97 + i)}", f"whole{chr(97 + i % 5)}") for i in range(20)]
    bad = [
        ("part_of", "http://x.org/a", "wholea"), ("part_of", "1234", "wholea"), ("part_of", "x" * 90,
        "wholea"),
        ("RelatedTo", "parta", "partb"), ("VIAF ID", "parta", "q1"), ("rare", "parta", "wholeb"),
        ("part_of", "parta", "parta"),
    ]  # fmt: skip
    found = mine(write_tsv(tmp_path / "t.tsv", good + bad), out=tmp_path / "kb", min_pairs=10, min_degree=1)
    assert found.kept == {"part_of": 20}
    assert found.dropped["RelatedTo"] == found.dropped["VIAF ID"] == "dropped: no analogical structure"
    assert found.dropped["rare"] == "fewer than 10 pairs"
    kept = mine(
        tmp_path / "t.tsv", out=tmp_path / "kb2", min_pairs=1, min_degree=1, keep=["RelatedTo"], drop=["rare"]
    )
    assert set(kept.kept) == {"part_of", "RelatedTo"} and kept.dropped["rare"] == "dropped: as asked"


def test_symmetric_relations_are_marked_by_name_and_by_measurement(tmp_path):
    triples = [("antonym_aa", f"a{chr(97 + i)}", f"b{chr(97 + i)}") for i in range(12)]
    triples += [("beside", a, b) for i in range(12) for a, b in [(f"c{chr(97 + i)}", f"d{chr(97 + i)}")] * 1]
    triples += [("beside", b, a) for r, a, b in triples if r == "beside"]
    triples += [("above", f"e{chr(97 + i)}", f"f{chr(97 + i)}") for i in range(12)]
    found = mine(write_tsv(tmp_path / "t.tsv", triples), out=tmp_path / "kb", min_pairs=5, min_degree=1)
    assert found.symmetric == ("antonym_aa", "beside")


def test_a_signed_map_merges_has_a_into_part_of(tmp_path):
    triples = [("partof", f"p{chr(97 + i)}", f"w{chr(97 + i)}") for i in range(8)]
    triples += [("hasa", f"w{chr(97 + i)}", f"p{chr(97 + i)}") for i in range(4, 12)]
    found = mine(
        write_tsv(tmp_path / "t.tsv", triples),
        out=tmp_path / "kb",
        min_pairs=1,
        min_degree=1,
        merge=["hasa=-partof"],
    )
    assert found.kept == {"partof": 12}
    with pytest.raises(EtudeError, match="mapped"):
        mine(tmp_path / "t.tsv", out=tmp_path / "kb2", merge=["hasa=partof", "partof=hasa"])
    with pytest.raises(EtudeError, match="FROM=TO"):
        mine(tmp_path / "t.tsv", out=tmp_path / "kb3", merge=["hasa"])


def test_conceptnet_uris_lose_language_sense_and_part_of_speech(tmp_path):
    def row(rel, start, end, weight=1.0):
        return (
            f"/a/[/r/{rel}/,{start}/,{end}/]\t/r/{rel}\t{start}\t{end}\t"
            + f'{{"dataset": "/d/x", "weight": {weight}}}\n'
        )

    lines = [
        row("PartOf", f"/c/en/wing_{chr(97 + i)}/n/wn/animal", f"/c/en/bird_{chr(97 + i)}") for i in range(6)
    ]
    lines += [row("PartOf", "/c/fr/aile", "/c/fr/oiseau"), row("PartOf", "/c/en/faint", "/c/en/weight", 0.5)]
    path = tmp_path / "assertions.csv"
    path.write_text("".join(lines))
    mine(path, out=tmp_path / "kb", min_pairs=2, min_degree=1, min_weight=1.0)
    pairs = AnalogyKB(tmp_path / "kb").pairs("PartOf")
    assert len(pairs) == 6 and pairs[0] == ("wing a", "bird a")
    mine(path, out=tmp_path / "fr", min_pairs=1, min_degree=1, language="fr")
    assert AnalogyKB(tmp_path / "fr").pairs("PartOf") == [("aile", "oiseau")]


WIKIDATA = """# truthy
@Q1 @label "Paris"@en .
@Q1 @label "Paris la belle"@fr .
@Q2 @label "Fran\\u00E7a \\"x\\""@en .
@Q3 @label "Rome"@en .
@Q4 @label "Italy"@en-gb .
@P36 @label "capital of"@en .
@Q1 @p/P36 @Q2 .
@Q3 @p/P36 @Q4 .
@Q9 @p/P36 @Q4 .
@Q1 @links "200"@int .
@Q2 @links "90"@int .
<http://ex.org/a/wing_feather> <http://ex.org/onto#partOf> <http://ex.org/a/b%20c> .
"""


def ntriples(short):
    """The lines with whole URIs."""
    import re

    long = short.replace("@label", "<http://www.w3.org/2000/01/rdf-schema#label>")
    long = long.replace("@links", "<http://wikiba.se/ontology#sitelinks>")
    long = long.replace("@int", "^^<http://www.w3.org/2001/XMLSchema#integer>")
    long = re.sub(r"@p/(P[0-9]+)", r"<http://www.wikidata.org/prop/direct/\1>", long)
    return re.sub(r"@([QP][0-9]+)", r"<http://www.wikidata.org/entity/\1>", long)


def test_wikidata_statements_take_labels_and_sitelinks_and_leave_out_what_has_none(tmp_path):
    path = tmp_path / "truthy.nt"
    path.write_text(ntriples(WIKIDATA))
    mine(path, out=tmp_path / "kb", min_pairs=1, min_degree=1)
    kb = AnalogyKB(tmp_path / "kb")
    assert kb.pairs("capital of") == [("Paris", 'França "x"'), ("Rome", "Italy")]
    assert kb.pairs("partOf") == [("wing feather", "b c")]
    mine(path, out=tmp_path / "known", min_pairs=1, min_degree=3, min_sitelinks=50)
    assert AnalogyKB(tmp_path / "known").pairs("capital of") == [("Paris", 'França "x"')]


def test_wikidata_ids_in_a_table_need_a_label_table(tmp_path):
    path = write_tsv(tmp_path / "t.tsv", [("P36", "Q1", "Q2"), ("P36", "Q3", "Q4"), ("P36", "Q7", "Q4")])
    with pytest.raises(EtudeError, match="without labels"):
        mine(path, out=tmp_path / "kb")
    labels = tmp_path / "labels.tsv"
    labels.write_text(
        "id\tlabel\tsitelinks\nQ1\tParis\t9\nQ2\tFrance\t9\nQ3\tRome\t1\nQ4\tItaly\t9\nP36\tcapital of\t0\n"
    )
    mine(path, out=tmp_path / "kb", labels=labels, min_pairs=1, min_degree=1)
    assert AnalogyKB(tmp_path / "kb").pairs("capital of") == [("Paris", "France"), ("Rome", "Italy")]
    mine(path, out=tmp_path / "kb2", labels=labels, min_pairs=1, min_degree=3)
    assert AnalogyKB(tmp_path / "kb2").pairs("capital of") == [("Paris", "France")]
    labels.write_text("qid\tname\nQ1\tParis\n")
    with pytest.raises(EtudeError, match="no columns id and label"):
        mine(path, out=tmp_path / "kb3", labels=labels)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"rel\thead\nr\ta\n", "no column tail"),
        (b"rel\thead\ttail\nr\ta\tb\nr\ta,b\n", ":3: 2 columns where 3 are expected"),
        (b"rel\thead\ttail\nr\ta\tb\nr\ta\t\xff\n", ":3: not UTF-8"),
        (b"", "is empty"),
        (b"rel\trel\ttail\nr\ta\tb\n", "share a name"),
        (b"rel,head,tail\nr,a,b\n", "no column"),
    ],
)
def test_a_bad_text_file_is_named_with_its_line(tmp_path, content, says):
    path = tmp_path / "t.tsv"
    path.write_bytes(content)
    with pytest.raises(EtudeError, match=says):
        mine(path, out=tmp_path / "kb")


def test_other_bad_inputs_say_what_is_wrong(tmp_path, graph):
    for name, content, says in [
        ("t.xlsx", b"x", "unknown kind"), ("t.parquet", b"x", "not readable Parquet"),
        ("t.nt", b"<a> <b> c\n", "not an N-Triples line"),
    ]:  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(EtudeError, match=says):
            mine(tmp_path / name, out=tmp_path / "kb")
    with pytest.raises(EtudeError, match="no such file"):
        mine(tmp_path / "absent.tsv", out=tmp_path / "kb1")
    with pytest.raises(EtudeError, match="no relation partof"):
        mine(graph, out=tmp_path / "kb2", drop=["partof"])
    with pytest.raises(EtudeError, match="largest has 16"):
        mine(graph, out=tmp_path / "kb3", min_pairs=17, min_degree=1)
    with pytest.raises(EtudeError, match="at least 1"):
        mine(graph, out=tmp_path / "kb4", per_relation=0)
    with pytest.raises(EtudeError, match="memory"):
        mine(graph, out=tmp_path / "kb5", memory="plenty")
    with pytest.raises(EtudeError, match="not a knowledge base"):
        AnalogyKB(tmp_path)


def test_the_official_shape_has_a_relation_and_its_tuples(graph, tmp_path):
    import json

    mine(graph, out=tmp_path / "kb", min_pairs=5, min_degree=1, format="official")
    same = json.loads((tmp_path / "kb" / "same_relation.json").read_text())
    assert {row["relation"][0] for row in same} == {
        "young_of",
        "opposite_of",
        "works_at",
        "part_of",
        "made_from",
    }
    assert ["wing", "bird"] in next(row for row in same if row["relation"] == ["part_of"])["tuple"][0]


def test_another_configuration_on_the_same_folder_is_refused(graph, tmp_path):
    mine(graph, out=tmp_path / "kb", min_pairs=5, min_degree=1)
    with pytest.raises(EtudeError, match="another configuration"):
        mine(graph, out=tmp_path / "kb", min_pairs=6, min_degree=1)


KILLED = """
import sys
from etude.methods.analogykb import mine, pair_selection
stage = pair_selection.run_stage
done = []
def counted(stage_name, folder, part, *rest):
    if len(done) == int(sys.argv[3]):
        print("stopping", flush=True)
        import time; time.sleep(60)
    done.append(part)
    return stage(stage_name, folder, part, *rest)
import etude.methods.analogykb.mining as mining
mining.run_stage = counted
mine(sys.argv[1], out=sys.argv[2], per_relation=100, partitions=4)
print("parts", len(done))
"""


def test_a_mining_killed_between_partitions_goes_on_and_gives_the_same_bytes(tmp_path):
    path = write_tsv(tmp_path / "t.tsv", random_triples())
    mine(path, out=tmp_path / "whole", per_relation=100, partitions=4)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), str(tmp_path / "kb"), "3"], stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline().strip() == "stopping"
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {
        p: p.stat().st_mtime_ns for p in (tmp_path / "kb" / "work").glob("partition-*/degrees.parquet")
    }
    assert len(finished) == 3 and not (tmp_path / "kb" / "pairs.parquet").exists()
    time.sleep(0.01)
    seen = []
    import etude.methods.analogykb.mining as mining

    original, mining.shutil.rmtree = (
        mining.shutil.rmtree,
        lambda path, **k: seen.append({p: p.stat().st_mtime_ns for p in finished}),
    )
    try:
        mine(path, out=tmp_path / "kb", per_relation=100, partitions=4)
    finally:
        mining.shutil.rmtree = original
    assert finished in seen  # what was finished was not written again
    for name in ("pairs.parquet", "relations.parquet"):
        assert (tmp_path / "kb" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_memory_limit_spills_to_disk_and_changes_nothing(tmp_path):
    path = write_tsv(tmp_path / "t.tsv", random_triples(3, 20_000))
    mine(path, out=tmp_path / "free", per_relation=50)
    mine(path, out=tmp_path / "tight", per_relation=50, memory="120MB", threads=1, partitions=2)
    names = [Path("pairs.parquet")]
    assert all((tmp_path / "free" / n).read_bytes() == (tmp_path / "tight" / n).read_bytes() for n in names)
