"""Analogous relations: candidates, filters, answers of all kinds, review, kappa; kills; the page."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from etude.errors import EtudeError
from etude.methods.analogykb import AnalogyKB, browse, query, relate, review
from etude.methods.analogykb.relation_profiles import candidates, description
from etude.methods.analogykb.relation_prompts import is_too_general, read_meta, read_selection
from etude.methods.analogykb.review_sheets import kappa
from etude.models import register_scripted

NAMES = ["young_of", "opposite_of", "works_at", "part_of", "made_from"]


def oracle(named, metas=None, default="leads"):
    """A model that names given relations, and given meta-relations."""

    def answer(conversation):
        text = conversation[-1]["content"]
        if "Relation 2:" in text:
            one, two = (line.split(": ", 1)[1].split(" (")[0] for line in text.splitlines()[:2])
            return json.dumps({"meta": (metas or {}).get(frozenset((one, two)), default)})
        relation = text.split("Relation: ", 1)[1].split(" (")[0]
        return json.dumps({"analogous": named.get(relation, [])})

    return answer


def test_only_pairs_named_from_both_sides_with_a_telling_meta_relation_wait_for_review(own_kb):
    named = {
        "young_of": ["part_of", "made_from", "works_at"], "part_of": ["young_of", "made_from"],
        "made_from": ["part_of", "young_of"], "works_at": [], "opposite_of": [],
    }  # fmt: skip
    metas = {frozenset(("young_of", "made_from")): None, frozenset(("part_of", "made_from")): "is related to"}
    register_scripted("filters", oracle(named, metas))
    found = relate(own_kb, model="filters")
    assert found.named == 4 and found.kept == 1 and found.unreadable == 0
    assert found.dropped == {
        "named from one side only": 1, "no meta-relation": 1, "meta-relation too general": 1,
    }  # fmt: skip
    (row,) = found.rows
    assert (row["rel_a"], row["rel_b"], row["meta"], row["llm_votes"]) == ("part_of", "young_of", "leads", 2)
    assert row["accepted"] is None and row["symmetric"]


def test_unknown_names_and_words_are_asked_about_once_more_and_counted(own_kb):
    asked = []

    def answer(conversation):
        text = conversation[-1]["content"]
        asked.append(text)
        if "Relation: young_of" in text:
            return "I cannot say." if "Use only names" not in text else '{"analogous": ["Part Of"]}'
        if "Relation: part_of" in text:
            return '{"analogous": ["young_of", "sister_of"]}'
        if "Relation: works_at" in text:
            return "no idea"
        return oracle({})(conversation)

    register_scripted("babbler", answer)
    found = relate(own_kb, model="babbler")
    assert found.asked_again == 3 and found.unreadable == 1 and found.unknown == {"sister_of": 2}
    assert [(r["rel_a"], r["rel_b"]) for r in found.rows] == [("part_of", "young_of")]
    assert sum("Use only names from this list; not: sister_of" in text for text in asked) == 1


def test_a_second_run_asks_nothing_and_reviews_survive_it(own_kb):
    calls = []

    def answer(conversation):
        calls.append(1)
        return oracle({"part_of": ["made_from"], "made_from": ["part_of"]})(conversation)

    register_scripted("counted", answer)
    relate(own_kb, model="counted")
    first = len(calls)
    review(own_kb)
    sheet = own_kb / "review.csv"
    fill(sheet, own_kb / "ann.csv", ["yes"])
    review(own_kb, sheets=(own_kb / "ann.csv",))
    relate(own_kb, model="counted")
    assert len(calls) == first
    assert AnalogyKB(own_kb).relation_pairs[0]["accepted"] is True
    assert {row["relation"] for row in query(own_kb, "wing", "bird", k=2).rows} == {"part_of", "made_from"}


def fill(sheet, to, answers, note=""):
    import csv

    with open(sheet, encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for row, said in zip(rows, answers, strict=True):
        row["accept"], row["note"] = said, note
    with open(to, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return to


def test_two_reviewers_accept_refuse_and_disagree(own_kb):
    everything = {name: [other for other in NAMES if other != name] for name in NAMES}
    register_scripted("everything", oracle(everything))
    assert relate(own_kb, model="everything").kept == 10
    first = review(own_kb)
    assert first.written and first.rows == 10 and (own_kb / "review.html").exists()
    one, two = ["yes"] * 6 + ["no"] * 4, ["Y", "no"] + ["1"] * 4 + ["no"] * 3 + ["yes"]
    a = fill(own_kb / "review.csv", own_kb / "ann.csv", one, "ann's note")
    b = fill(own_kb / "review.csv", own_kb / "bob.csv", two)
    found = review(own_kb, sheets=(a, b))
    assert (found.accepted, found.refused, found.disagreed) == (5, 3, 2)
    booleans = [[x.lower() in ("yes", "y", "1") for x in sheet] for sheet in (one, two)]
    assert found.kappa == pytest.approx(cohen_kappa_score(*booleans))
    rows = AnalogyKB(own_kb).relation_pairs
    assert sum(row["accepted"] is None and "disagree" in row["note"] for row in rows) == 2
    assert {row["reviewer"] for row in rows} == {"ann, bob"} and "ann's note" in rows[0]["note"]


def test_a_filled_sheet_is_never_overwritten(own_kb):
    register_scripted("pair", oracle({"part_of": ["made_from"], "made_from": ["part_of"]}))
    relate(own_kb, model="pair")
    review(own_kb)
    assert review(own_kb).written
    fill(own_kb / "review.csv", own_kb / "review.csv", ["no"])
    before = (own_kb / "review.csv").read_bytes()
    assert not review(own_kb).written and (own_kb / "review.csv").read_bytes() == before


def test_bad_sheets_say_which_line(own_kb, tmp_path):
    register_scripted("pair2", oracle({"part_of": ["made_from"], "made_from": ["part_of"]}))
    with pytest.raises(EtudeError, match="nothing waits"):
        review(own_kb)
    relate(own_kb, model="pair2")
    review(own_kb)
    with pytest.raises(EtudeError, match="nobody has written"):
        review(own_kb, sheets=(own_kb / "review.csv",))
    bad = fill(own_kb / "review.csv", tmp_path / "bad.csv", ["perhaps"])
    with pytest.raises(EtudeError, match=r"bad.csv:2: accept: 'perhaps'"):
        review(own_kb, sheets=(bad,))
    (tmp_path / "other.csv").write_text("rel_a,rel_b,accept\nx,y,yes\n")
    with pytest.raises(EtudeError, match="x and y is no pair"):
        review(own_kb, sheets=(tmp_path / "other.csv",))


def test_an_audit_gives_the_share_of_right_analogies_by_source(own_kb):
    made = review(own_kb, audit=True, count=30)
    assert made.rows == 30
    sheet = fill(own_kb / "audit.csv", own_kb / "ann.csv", ["yes"] * 27 + ["no"] * 3)
    found = review(own_kb, audit=True, sheets=(sheet,))
    assert found.accuracy is not None and found.accuracy["triples"].value == pytest.approx(0.9)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_scikit_learns(seed):
    generator = np.random.default_rng(seed)
    one, two = generator.random((2, 40)) < 0.6
    assert kappa(one.tolist(), two.tolist()) == pytest.approx(cohen_kappa_score(one, two))


def test_kappa_of_two_who_only_say_yes_is_undefined():
    assert kappa([True, True], [True, True]) is None and kappa([], []) is None


def test_candidates_are_the_nearest_and_being_asked_about_is_mutual():
    generator = np.random.default_rng(0)
    profiles = generator.normal(size=(30, 8)).astype(np.float32)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    near = candidates(profiles, 3)
    cosines = profiles @ profiles.T
    for i, given in enumerate(near):
        assert i not in given and all(i in near[j] for j in given)
        assert set(np.argsort(-cosines[i])[1:4]) <= set(given)
        assert given == sorted(given, key=lambda j: -cosines[i, j])
    assert candidates(profiles[:2], 20) == [[1], [0]]


@pytest.mark.parametrize(
    ("text", "known", "unknown", "readable"),
    [
        ('{"analogous": ["part_of"]}', ("part_of",), (), True),
        ('Sure! {"analogous": ["Part of", "PARTOF", "x"]} Hope it helps.', ("part_of",), ("x",), True),
        ('["part_of"]', ("part_of",), (), True),
        ("{'analogous': ['part_of',]}", ("part_of",), (), True),
        ('{"analogous": []}', (), (), True),
        ("part_of", (), (), False),
        ('{"analogous": "part_of"}', (), (), False),
        ('{"analogous": [1]}', (), (), False),
        ("", (), (), False),
    ],
)
def test_selections_are_read_from_json_and_from_almost_json(text, known, unknown, readable):
    found = read_selection(text, ["part_of", "made_from"])
    assert (found.known, found.unknown, found.readable) == (known, unknown, readable)


def test_meta_relations():
    assert read_meta('{"meta": "leads"}') == ("leads", True)
    assert read_meta('{"meta": null}') == (None, True) and read_meta('{"meta": "none"}') == (None, True)
    assert read_meta("leads") == (None, False) and read_meta('{"meta": 3}') == (None, False)
    assert is_too_general("Is related to.") and is_too_general("has") and not is_too_general("leads")
    assert description("derivedFrom_nv") == "derived from nv"


def test_the_estimate_asks_nothing(own_kb):
    def refuse(conversation):
        raise AssertionError("asked")

    register_scripted("refuse", refuse)
    found = relate(own_kb, model="refuse", estimate=True, price="2.5/10")
    assert found.cost is not None and found.cost > 0 and found.prompts == 10
    with pytest.raises(EtudeError, match="IN/OUT"):
        relate(own_kb, model="refuse", estimate=True, price="cheap")


KILLED = """
import os, sys
from etude.models import register_scripted
from etude.methods.analogykb import relate
def answer(conversation):
    with open(sys.argv[2], "a") as log:
        log.write("x")
    if sys.argv[3] == "kill" and os.path.getsize(sys.argv[2]) == 4:
        os.kill(os.getpid(), 9)
    text = conversation[-1]["content"]
    if "Relation 2:" in text:
        return '{"meta": "leads"}'
    return '{"analogous": ["part_of", "made_from", "young_of"]}'
register_scripted("slow", answer)
relate(sys.argv[1], model="slow")
"""


def test_a_killed_relate_goes_on_without_asking_again(graph, tmp_path):
    from etude.methods.analogykb import mine

    for name in ("a", "b"):
        mine(graph, out=tmp_path / name, min_pairs=5, min_degree=1)

    def run(kb, log, kill):
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path / kb), str(tmp_path / log), kill], env={**os.environ},
            capture_output=True,
        ).returncode  # fmt: skip

    assert run("a", "whole", "no") == 0
    assert run("b", "cut", "kill") == -signal.SIGKILL
    assert not (tmp_path / "b" / "relation_pairs.parquet").exists()
    assert run("b", "cut", "no") == 0
    whole, cut = (os.path.getsize(tmp_path / log) for log in ("whole", "cut"))
    assert cut == whole + 1  # only the answer that was under way
    files = [(tmp_path / kb / "relation_pairs.parquet").read_bytes() for kb in ("a", "b")]
    assert files[0] == files[1]


def test_the_page_escapes_what_is_in_the_graph(tmp_path):
    from etude.methods.analogykb import mine

    from .conftest import write_tsv

    lines = [("<b>rel</b>", f"<script>x{chr(97 + i)}</script>", f"y{chr(97 + i)}") for i in range(6)]
    mine(write_tsv(tmp_path / "t.tsv", lines), out=tmp_path / "kb", min_pairs=2, min_degree=1)
    page = browse(tmp_path / "kb", out=tmp_path / "page.html").page
    text = Path(page).read_text(encoding="utf-8")
    assert "<script>xa" not in text and "&lt;script&gt;xa" in text and "<b>rel" not in text
