"""The verbs on files: kills, leaks, denominators, exports, the page."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.bioelqa import evaluate, index, link, run, train
from etude.methods.bioelqa.demo import demo, sample
from etude.methods.bioelqa.linking import read_links

TRAIN, TEST, VOCAB = sample("train.pubtator"), sample("test.pubtator"), str(sample("vocabulary.tsv"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bioelqa") / "run"
    train((TRAIN,), vocab=VOCAB, options=5, epochs=2, out=out)
    return out


def test_training_reports_what_it_used_and_the_same_command_finds_it_done(trained):
    again = train((TRAIN,), vocab=VOCAB, options=5, epochs=2, out=trained)
    assert again.documents == 16 and again.entities == 40 and again.cases == 51
    assert again.training["questions"] + again.training["dropped"] == 4 * 51
    with pytest.raises(EtudeError, match="another configuration"):
        train((TRAIN,), vocab=VOCAB, options=6, epochs=2, out=trained)


def test_links_are_rows_in_order_and_a_second_call_links_nothing(trained, tmp_path):
    made = link(trained, TEST, top=2, out=tmp_path / "l.jsonl")
    rows = read_links(tmp_path / "l.jsonl")
    assert made.mentions == made.linked_now == len(rows) == 16
    assert set(rows[0]) == {
        "doc", "start", "end", "mention", "id", "name", "score", "abstained", "options", "clues",
    }  # fmt: skip
    assert len(rows[0]["options"]) == 2 and rows[0]["doc"] == "201"
    assert link(trained, TEST, top=2, out=tmp_path / "l.jsonl").linked_now == 0
    with pytest.raises(EtudeError, match="another linker or other settings"):
        link(trained, TEST, top=3, out=tmp_path / "l.jsonl")
    (tmp_path / "m.jsonl").write_text('{"mention": "x"}\n')
    with pytest.raises(EtudeError, match="not this file's mention"):
        link(trained, tmp_path / "m.jsonl", top=2, out=tmp_path / "l.jsonl")
    with pytest.raises(EtudeError, match="no trained linker"):
        link(tmp_path, TEST, out=tmp_path / "n.jsonl")


LINK = """
import sys, time
from pathlib import Path
from etude.models import register_scripted
from etude.methods.bioelqa import linking, link
from etude.methods.bioelqa.linker import BioELQA
log = Path(sys.argv[3])
def answer(conversation):
    with log.open("a") as handle:
        handle.write(conversation[-1]["content"].split('entry does "')[1].split('"')[0] + "\\n")
    time.sleep(0.03)
    return "B"
register_scripted("slow-linker", answer)
linking._BATCH = 2
link(Path(sys.argv[1]), Path(sys.argv[4]), out=Path(sys.argv[2]))
"""


def test_a_killed_linking_goes_on_and_asks_nothing_twice(tmp_path):
    from etude.models import register_scripted

    register_scripted("slow-linker", lambda c: "B")
    train((TRAIN,), vocab=VOCAB, selector="prompted", model="slow-linker", options=3, out=tmp_path / "p")
    mentions = tmp_path / "m.jsonl"
    mentions.write_text("".join(f'{{"mention": "pain number{i}"}}\n' for i in range(40)))
    command = [sys.executable, "-c", LINK, str(tmp_path / "p")]
    subprocess.run([*command, tmp_path / "whole.jsonl", tmp_path / "a.log", mentions], check=True)
    log = tmp_path / "b.log"
    process = subprocess.Popen([*command, tmp_path / "cut.jsonl", log, mentions])
    while not log.exists() or len(log.read_text().splitlines()) < 15:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with open(tmp_path / "cut.jsonl", "a") as handle:
        handle.write('{"doc": "", "start": nul')  # a torn row
    subprocess.run([*command, tmp_path / "cut.jsonl", log, mentions], check=True)
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    asked, whole = (len((tmp_path / name).read_text().splitlines()) for name in ("b.log", "a.log"))
    assert whole <= asked <= whole + 2  # only the batch under way when it was killed can come again


TRAINING = """
import sys, time
from pathlib import Path
from transformers import TrainerCallback
import etude.training.fitting as fitting
kill = float(sys.argv[3])
class Slow(TrainerCallback):
    def on_step_end(self, *a, **k):
        time.sleep(kill)
fitting.MarkComplete.on_step_end = Slow.on_step_end
from etude.methods.bioelqa import train
train((Path(sys.argv[1]),), vocab=sys.argv[4], options=5, epochs=6, variants=2, out=Path(sys.argv[2]))
"""


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_linker(tmp_path):
    command = [sys.executable, "-c", TRAINING, str(TRAIN)]
    subprocess.run([*command, tmp_path / "whole", "0", VOCAB], check=True)
    process = subprocess.Popen([*command, tmp_path / "cut", "0.3", VOCAB])
    while not list((tmp_path / "cut" / "checkpoints").glob("checkpoint-*/complete")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut" / "model").exists()
    subprocess.run([*command, tmp_path / "cut", "0", VOCAB], check=True)
    resumed = json.loads((tmp_path / "cut" / "result.json").read_text())
    assert resumed["training"]["resumed_from"]
    for name in ("selector/set_transformer.safetensors", "vocabulary.jsonl", "cases.jsonl"):
        whole, cut = (tmp_path / run / "model" / name for run in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()


def test_evaluation_names_every_denominator_and_the_slices_add_up(trained, tmp_path):
    found = evaluate(trained, TEST, out=tmp_path / "e")
    counts = {d.name: d.count for d in found.denominators}
    assert counts == {"all": 16, "with an id": 15, "linkable": 15, "unique linkable pairs": 14}
    whole = found.slices[0]
    assert whole.name == "all" and whole.pairs == 14
    difference = whole.linker.value - whole.retriever.value
    assert difference == pytest.approx((whole.wins - whole.losses) / 14)
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text())["unknown"] == 0
    assert evaluate(trained, TEST, slices="rare", ci="none").slices[1].difference is None
    with pytest.raises(EtudeError, match="slice 'new'"):
        evaluate(trained, TEST, slices="new")


def test_nil_unknown_and_composite_golds_are_counted_by_the_stated_rule(trained, tmp_path):
    rows = [
        {"mention": "heart attack", "id": "C01"},
        {"mention": "heart attack", "id": "C01|C02"},  # any of them; not strictly
        {"mention": "heart attack", "id": "OMIM:1"},
        {"mention": "?!", "id": "-1"},
        {"mention": "?!", "id": "C02"},
    ]
    path = tmp_path / "gold.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluate(trained, path)
    whole = found.denominators[0]
    assert (whole.count, whole.linker, whole.strict) == (5, 3 / 5, 2 / 5)
    assert found.unknown_ids == {"OMIM:1": 1} and found.unknown == 1 and found.abstained == (2, 1)
    path.write_text('{"mention": "x"}\n')
    with pytest.raises(EtudeError, match="no mention has a gold"):
        evaluate(trained, path)


def test_test_documents_among_the_training_documents_are_a_hard_error(trained):
    with pytest.raises(EtudeError, match="16 test documents are among the training documents: 101"):
        evaluate(trained, TRAIN)


def test_an_index_is_addressed_by_its_content_and_can_be_linked_and_trained_with(tiny, tmp_path):
    made = index(VOCAB, out=tmp_path / "i")
    assert made.made and not index(VOCAB, out=tmp_path / "i").made
    other = index(VOCAB, type="substance", out=tmp_path / "i")
    assert other.made and other.entities == 8 and other.address != made.address
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").write_text("mine")
    with pytest.raises(EtudeError, match="is not an index"):
        index(VOCAB, out=tmp_path / "x")
    dense = index(VOCAB, encoder=f"hf:{tiny('bert')}", out=tmp_path / "d")
    assert dense.made and not (tmp_path / ".d.work").exists()
    link(tmp_path / "d", TEST, out=tmp_path / "l.jsonl")
    found = train((TRAIN,), vocab=str(tmp_path / "d"), selector="none", out=tmp_path / "t")
    assert found.cases == 51
    with pytest.raises(EtudeError, match="--type with an index"):
        train((TRAIN,), vocab=str(tmp_path / "d"), type="x", out=tmp_path / "u")


@pytest.mark.slow
def test_an_index_embedded_through_ray_is_the_same(tiny, tmp_path):
    pytest.importorskip("ray")
    import numpy as np

    encoder = f"hf:{tiny('bert')}"
    for engine in ("local", "ray"):
        index(VOCAB, encoder=encoder, engine=engine, workers=1, out=tmp_path / engine)
    local, ray = (np.load(tmp_path / engine / "vectors.npy") for engine in ("local", "ray"))
    assert np.allclose(local, ray, atol=1e-6)


def test_a_vocabulary_with_other_ids_is_refused_and_the_missing_ids_are_listed(tmp_path):
    other = tmp_path / "v.tsv"
    other.write_text("X1\tsomething\n")
    with pytest.raises(EtudeError, match="no training mention has an id of the vocabulary"):
        train((TRAIN,), vocab=str(other), out=tmp_path / "t")
    other.write_text("C01\theart attack\nC02\tstroke\nC04\thigh blood pressure\n")
    found = train((TRAIN,), vocab=str(other), selector="none", out=tmp_path / "u")
    assert found.left_out["id unknown"] > 20 and found.unknown_ids["C11"] == 2
    with pytest.raises(EtudeError, match="Only an encoder can be trained"):
        train((TRAIN,), vocab=VOCAB, retriever_epochs=1, out=tmp_path / "w")


def test_the_whole_run_writes_a_page_that_escapes_what_it_shows(tmp_path):
    hostile = tmp_path / "v.tsv"
    hostile.write_text(Path(VOCAB).read_text().replace("heart attack", "<b>heart</b> attack"))
    found = run((TRAIN,), vocab=str(hostile), test=TEST, options=5, out=tmp_path / "r")
    page = Path(found.page).read_text()
    assert "&lt;b&gt;heart" in page and "<b>heart" not in page and "unseen-mention" in page


def test_an_evaluation_can_be_exported_to_inspect(trained, tmp_path):
    pytest.importorskip("inspect_ai")
    from inspect_ai.log import read_eval_log

    with pytest.raises(EtudeError, match="without --out"):
        evaluate(trained, TEST, export="inspect")
    found = evaluate(trained, TEST, export="inspect", out=tmp_path / "e")
    log = read_eval_log(found.exports[0])
    assert len(log.samples) == 16
    mean = log.results.scores[0].metrics["mean"].value
    assert mean == pytest.approx(found.denominators[0].linker)


def test_the_demo_shows_both_answers(tmp_path):
    shown = demo(tmp_path)
    assert "16 mentions" in shown.headline and len(shown.came_out[0].rows) == 16
