"""The verbs end to end on files, with judges of known quality; kills, bad inputs, attacks, drift."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.relevance import (
    BM25Labeller,
    Ensemble,
    agree,
    attack,
    calibrate,
    cost,
    ensemble,
    label,
    monitor,
    prompts,
    rank,
)
from etude.methods.relevance.collection import Pair, cut_document
from etude.methods.relevance.labels import Label, join_grades, read_labels
from etude.methods.relevance.trec import SystemRun, read_pairs, read_qrels, read_run, write_run

from .conftest import write_collection


def ask(collection, model="oracle-judge", **options):
    given = {"docs": collection.docs, "topics": collection.topics, "pairs": collection.gold, **options}
    given.setdefault("out", collection.folder / f"{model}.qrels")
    return label(model=model, **given)


@pytest.mark.parametrize("mode", ["generate", "logprob"])
@pytest.mark.parametrize("variant", ["-----", "RD-A-"])
def test_an_oracle_gets_kappa_one_and_an_inverted_judge_an_alarm(collection, mode, variant):
    made = ask(collection, mode=mode, prompt=variant)
    assert made.statuses == {"ok": 24} and made.labelled_now == 24
    assert read_qrels(Path(made.out)) == read_qrels(collection.gold)
    found = agree(collection.gold, made.records)
    assert found.agreement.kappa.value == found.agreement.auc.value == 1
    ask(collection, "inverted-judge")
    inverted = agree(collection.gold, collection.folder / "inverted-judge.jsonl").agreement
    assert inverted.auc.value == 0 and "turned round" in inverted.alarms[0]


def test_what_cannot_be_read_is_dropped_and_counted_and_never_zero(collection):
    made = ask(collection, "babbling-judge")
    assert made.statuses == {"ok": 8, "unparsed": 16}
    assert len(read_qrels(Path(made.out))) == 8
    found = agree(collection.gold, made.records)
    assert found.unusable == {"unparsed": 16} and found.agreement.gold_only == 16


def test_a_turned_scale_on_the_probes_stops_before_anything_else_is_labelled(collection):
    probes = collection.folder / "probes.qrels"
    probes.write_text("".join(collection.gold.read_text().splitlines(keepends=True)[:12]))
    with pytest.raises(EtudeError, match="turned round"):
        ask(collection, "inverted-judge", probes=probes)
    import sqlite3

    database = sqlite3.connect(collection.folder / "inverted-judge.work" / "labels.sqlite")
    assert database.execute("SELECT count(*) FROM labels").fetchone() == (12,)
    assert ask(collection, probes=probes).probes.kappa.value == 1


SCRIPT = """
import sys, json, time
from pathlib import Path
from etude.methods.relevance import label
from etude.models import register_scripted
folder, calls = Path(sys.argv[1]), Path(sys.argv[2])
def answer(conversation):
    with calls.open("a") as log:
        log.write(conversation[-1]["content"].split("note ")[1][:40].replace("\\n", " ") + "\\n")
    time.sleep(0.02)
    return json.dumps({"O": len(conversation[-1]["content"]) % 3})
register_scripted("slow-judge", answer)
label(docs=folder / "docs.jsonl", topics=folder / "topics.jsonl", pairs=folder / "gold.qrels",
      model="slow-judge", max_connections=1, out=folder / "l.qrels", fresh=True)
"""


def test_a_killed_labelling_goes_on_and_asks_nothing_twice(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        write_collection(folder, each=30)
    command = [sys.executable, "-c", SCRIPT]
    subprocess.run([*command, str(whole), str(tmp_path / "a.log")], check=True)
    log = tmp_path / "b.log"
    process = subprocess.Popen([*command, str(killed), str(log)])
    while not log.exists() or len(log.read_text().splitlines()) < 20:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "l.qrels").exists()
    subprocess.run([*command, str(killed), str(log)], check=True)
    assert (killed / "l.qrels").read_bytes() == (whole / "l.qrels").read_bytes()
    assert (killed / "l.jsonl").read_bytes() == (whole / "l.jsonl").read_bytes()
    asked = len(log.read_text().splitlines())
    assert 120 <= asked <= 121  # only the call under way when it was killed can come again


def test_the_same_command_again_labels_nothing_and_another_configuration_is_refused(collection):
    ask(collection)
    assert ask(collection).labelled_now == 0
    with pytest.raises(EtudeError, match="another configuration"):
        ask(collection, prompt="R----")


def test_missing_and_empty_things_are_named_or_left_out_and_counted(collection):
    with collection.gold.open("a") as gold:
        gold.write("q9 0 d0-0 1\nq0 0 nowhere 1\nq0 0 empty 0\n")
    with collection.docs.open("a") as docs:
        docs.write('{"docid": "empty", "title": "", "text": " "}\n')
    with pytest.raises(
        EtudeError, match=r"(?s)no such topic: q9.*no such document: nowhere.*empty documents: empty"
    ):
        ask(collection)
    made = ask(collection, drop_missing=True)
    assert made.left_out == {"no such topic": 1, "no such document": 1, "empty documents": 1}
    assert sum(made.statuses.values()) == 24
    with pytest.raises(EtudeError, match="topics without narrative: q0, q1, q2, q3"):
        ask(collection, prompt="--N--", pairs=collection.gold, out=collection.folder / "n.qrels")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("q 0 d", "3 fields"),
        ("q 0 d x", "not a whole number"),
        ("q 0 d 1\nq 0 d 2", "judged 2, but 1 in line 1"),
        ("q 0 a 1\nq 0 b 4\nq 0 c -1", "not ascending grades"),
        ("q 0 a 1\nq 0 b 2", "not ascending grades"),
        ("", "no judgements"),
    ],
)
def test_bad_qrels_are_refused_with_their_line(tmp_path, content, problem):
    file = tmp_path / "g.qrels"
    file.write_text(content)
    with pytest.raises(EtudeError, match=problem):
        read_qrels(file)


def test_qrels_with_other_separators_and_inverted_codes_are_read(tmp_path):
    file = tmp_path / "g.qrels"
    file.write_text("q\t0\ta\t1\nq,0,b,4\nq;0;c;-1\n\nq 0 c -1\n")
    assert read_qrels(file, {1: 2, 4: 1, -1: 0}) == {("q", "a"): 2, ("q", "b"): 1, ("q", "c"): 0}
    with pytest.raises(EtudeError, match="code 4 is not in the grade map"):
        read_qrels(file, {1: 2, -1: 0})


@pytest.mark.parametrize(
    "content", ["q Q0 d 1 x t", "q Q0 d 1 nan t", "q Q0 d 1 2", "q Q0 d 1 2 t\nq Q0 d 2 1 t", ""]
)
def test_bad_runs_are_refused(tmp_path, content):
    (tmp_path / "r.trec").write_text(content)
    with pytest.raises(EtudeError):
        read_run(tmp_path / "r.trec")


def test_a_run_is_written_and_read_again_and_serves_as_pairs(tmp_path):
    write_run(tmp_path / "r.trec", SystemRun("r", {"q": {"a": 1.0, "b": 2.0, "c": 2.0}}))
    assert read_run(tmp_path / "r.trec").ranked("q") == ["c", "b", "a"]
    assert list(read_pairs(tmp_path / "r.trec")) == [("q", "c"), ("q", "b"), ("q", "a")]


def test_rank_prints_every_run_and_flags_those_that_share_the_labellers_model(collection):
    grades = read_qrels(collection.gold)
    (collection.folder / "runs").mkdir()
    for name, sign in (("perfect", 1.0), ("worst", -1.0), ("minilm-like", 0.0)):
        scores: dict = {}
        for (qid, docid), grade in grades.items():
            scores.setdefault(qid, {})[docid] = sign * grade
        write_run(collection.folder / "runs" / f"{name}.trec", SystemRun(name, scores))
    made = ask(collection)
    found = rank(runs=str(collection.folder / "runs"), gold=collection.gold, labels=made.records,
                 shared="minilm*", out=collection.folder / "page.html")  # fmt: skip
    assert next(m.tau.value for m in found.measures if m.tau) == 1 and found.kappa.value == 1
    assert {s.run: s.shares_model for s in found.measures[0].circularity.shifts}["minilm-like"]
    assert "minilm-like" in (collection.folder / "page.html").read_text()
    with pytest.raises(EtudeError, match="0 runs"):
        rank(runs=str(collection.folder / "none*.trec"), gold=collection.gold, labels=made.records)


def test_long_documents_are_cut_to_whole_passages_by_the_stated_rule():
    words = [f"w{i}" for i in range(350)]
    assert cut_document(" ".join(words), "q", 350) == (" ".join(words), 0)
    lead, left_out = cut_document(" ".join(words), "q", 250)
    assert lead.split() == words[:200] and left_out == 150
    best, _ = cut_document(" ".join(words), "w120 w340", 250, "best")
    assert best.split() == words[100:200] + words[300:]


def test_labellers_of_python_join_in_an_ensemble():
    texts = {"d1": "the boat on the lake", "d2": "bread and butter", "d3": "a lake", "d4": "the moon"}
    pairs = [Pair("q1", docid, "boat on a lake", text) for docid, text in texts.items()]
    words = BM25Labeller(texts, thresholds=(0.0, 1.0))

    class Sure:
        name = "sure"

        def label(self, asked):
            return [Label(qid=pair.qid, docid=pair.docid, model=self.name, O=2.0) for pair in asked]

    alone = [label.grade for label in words.label(pairs)]
    assert alone[0] == max(alone) > alone[1] == alone[3]
    both = Ensemble([words, Sure()], "mean")
    assert both.name == f"mean({words.name}, sure)"
    assert [label.O for label in both.label(pairs)] == [(grade + 2) / 2 for grade in alone]
    with pytest.raises(EtudeError, match="fewer than two"):
        Ensemble([words])


def test_the_ensemble_takes_the_median_and_needs_more_than_half(collection):
    for judge in ("oracle-judge", "inverted-judge", "babbling-judge"):
        ask(collection, judge)
    files = tuple(
        collection.folder / f"{j}.jsonl" for j in ("oracle-judge", "inverted-judge", "babbling-judge")
    )
    joined = ensemble(files, out=collection.folder / "e.qrels")
    assert joined.labels == 24
    assert ensemble(files[1:], out=collection.folder / "two.qrels").unusable == 16
    assert join_grades([0, 2, 2], "majority") == 2 and join_grades([0, 2], "majority") == 0
    assert join_grades([0, 1, 2, 2], "median") == 1.5 and join_grades([0, 2], "mean") == 1
    assert Label(qid="q", docid="d", model="m", O=1.5).grade == 2


def test_monitoring_raises_an_alarm_when_the_labeller_changes_and_not_before(collection):
    ask(collection)
    ask(collection, out=collection.folder / "again.qrels", fresh=True)
    ask(collection, "inverted-judge")
    first, same, other = (
        collection.folder / f"{n}.jsonl" for n in ("oracle-judge", "again", "inverted-judge")
    )
    calm = monitor(collection.gold, (first, same))
    assert not calm.drifted and calm.batches[1].self_agreement == 1
    alarmed = monitor(collection.gold, (first, other))
    assert alarmed.drifted and len(alarmed.batches[1].alarms) >= 3
    (collection.folder / "none.qrels").write_text("z 0 z 1\n")
    with pytest.raises(EtudeError, match="no gold probe"):
        monitor(collection.folder / "none.qrels", (first,))


def test_the_probe_set_tells_a_gullible_judge_from_a_steady_one(collection):
    options = {"docs": collection.docs, "topics": collection.topics, "gold": collection.gold, "probes": 8}
    gullible = attack(model="gullible-judge", out=collection.folder / "a", **options)
    assert "claim" in gullible.fooled and "instruction" not in gullible.fooled
    effects = {
        e.attack: e for e in attack(model="oracle-judge", out=collection.folder / "b", **options).effects
    }
    assert effects["claim"].mean_label == 0 and effects["keywords"].mean_label == 2
    assert len((collection.folder / "a" / "probes.jsonl").read_text().splitlines()) == 6 * 8


def test_prompts_are_compared_on_the_same_pairs_within_the_budget(collection):
    made = prompts(docs=collection.docs, topics=collection.topics, gold=collection.gold, model="oracle-judge",
                   variants="-----,R----,RD-A-", budget=36, out=collection.folder / "study")  # fmt: skip
    assert [row.agreement.pairs for row in made.study.rows] == [12, 12, 12]
    assert made.study.mean == 1 and made.study.choice.held_out.value == 1
    with pytest.raises(EtudeError, match="budget"):
        prompts(docs=collection.docs, topics=collection.topics, gold=collection.gold, budget=1,
                model="oracle-judge", variants="-----")  # fmt: skip


def test_calibrated_bm25_labels_held_out_queries_by_their_words(collection):
    pytest.importorskip("bm25s")
    with pytest.raises(EtudeError, match="where grades begin"):
        ask(collection, "bm25")
    made = calibrate(docs=collection.docs, topics=collection.topics, gold=collection.gold, model="bm25",
                     out=collection.folder / "t.json")  # fmt: skip
    assert made.held_out.auc.value > 0.95  # grade 2 documents hold both words of the query
    labelled = ask(collection, "bm25", thresholds=collection.folder / "t.json")
    assert all(one.score is not None for one in read_labels(Path(labelled.records)))
    with pytest.raises(EtudeError, match="fitted for bm25"):
        ask(collection, "minilm", thresholds=collection.folder / "t.json")


def test_the_cost_is_counted_without_asking(collection):
    found = cost(docs=collection.docs, topics=collection.topics, pairs=collection.gold,
                 prices="big=10/0,small=1/1", rate=2.0)  # fmt: skip
    assert found.pairs == 24 and found.hours == pytest.approx(24 / 2 / 3600)
    assert found.costs["big"] == pytest.approx(found.prompt_tokens * 10 / 1e6)
    assert 0.5 * found.prompt_tokens < found.shared_tokens < found.prompt_tokens
    with pytest.raises(EtudeError, match="no price"):
        cost(docs=collection.docs, topics=collection.topics, pairs=collection.gold, prices="big")


def test_labels_of_hostile_text_stay_text(collection):
    with collection.docs.open("a") as docs:
        docs.write(
            json.dumps({"docid": "evil", "text": "<script>alert(1)</script> \x1b[31m {document}"}) + "\n"
        )
    collection.gold.write_text("q0 0 evil 0\nq0 0 d0-2 2\n")
    assert ask(collection).statuses == {"ok": 2}


@pytest.mark.slow
def test_two_ray_workers_give_the_labels_that_local_gives_and_go_on_where_it_stopped(collection):
    pytest.importorskip("ray")
    pytest.importorskip("bm25s")
    calibrate(docs=collection.docs, topics=collection.topics, gold=collection.gold, model="bm25",
              out=collection.folder / "t.json")  # fmt: skip
    thresholds = collection.folder / "t.json"
    local = ask(collection, "bm25", thresholds=thresholds, out=collection.folder / "local.qrels")
    out = collection.folder / "ray.qrels"
    through = ask(collection, "bm25", thresholds=thresholds, engine="ray", workers=2, out=out)
    assert Path(through.records).read_bytes() == Path(local.records).read_bytes()
    import sqlite3

    with sqlite3.connect(collection.folder / "ray.work" / "labels.sqlite") as database:
        database.execute("DELETE FROM labels WHERE qid = 'q1'")  # as if a kill had come before these
    again = ask(collection, "bm25", thresholds=thresholds, engine="ray", workers=2, out=out)
    assert again.labelled_now == 6
    assert Path(again.records).read_bytes() == Path(local.records).read_bytes()
