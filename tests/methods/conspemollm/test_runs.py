"""The verbs as a user runs them, and what a kill leaves: the same result, nothing asked or trained twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etude.cli import main
from etude.data import read_rows, write_records
from etude.errors import EtudeError
from etude.methods.conspemollm import affect, build, evaluate, predict, probe, train
from etude.models import register_scripted
from etude.runs import file_hash

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def condid(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built") / "condid"
    build(synthetic=True, test=0.3, out=out)
    return out


@pytest.fixture(scope="module")
def detector(tmp_path_factory, condid, tiny_encoder) -> Path:
    out = tmp_path_factory.mktemp("trained") / "detector"
    train(condid, tasks=("judgment", "intention"), model=str(tiny_encoder), out=out)
    return out


def write_texts(path: Path, count: int = 5) -> Path:
    rows = [
        {
            "id": f"t{n}",
            "text": f"They hide cure number {n}." if n % 2 else f"Choir night {n}.",
            "label": "1. conspiracy" if n % 2 else "0. non-conspiracy",
        }
        for n in range(count)
    ]
    write_records(path, rows)
    return path


def test_training_writes_a_detector_with_a_card_and_metrics(detector):
    card = (detector / "README.md").read_text()
    assert "Misuse and label noise" in card and "not people" in card
    told = json.loads((detector / "metrics.json").read_text())
    assert {"affect_route", "template_hash", "model_hash", "seeds"} <= set(told)
    assert {"value", "low", "high"} == set(told["scores"]["judgment"]["macro_f1"])


def test_predictions_have_probabilities_and_scores_with_intervals(detector, tmp_path):
    found = predict(str(detector), write_texts(tmp_path / "t.csv"), out=tmp_path / "p")
    rows = [row for _, row in read_rows(tmp_path / "p" / "predictions.csv")]
    assert [row["id"] for row in rows] == [f"t{n}" for n in range(5)]
    for row in rows:
        assert float(row["p_conspiracy"]) + float(row["p_non_conspiracy"]) == pytest.approx(1)
    assert found.scores["judgment"].count == 5
    told = json.loads((tmp_path / "p" / "metrics.json").read_text())
    assert told["scores"]["judgment"]["accuracy"]["low"] <= found.scores["judgment"].accuracy.value


def test_a_label_that_is_no_class_is_named(detector, tmp_path):
    write_records(tmp_path / "t.csv", [{"id": "a", "text": "x y", "label": "maybe"}])
    with pytest.raises(EtudeError, match="'maybe' is no class of judgment"):
        predict(str(detector), tmp_path / "t.csv", out=tmp_path / "p")


def test_bad_texts_are_refused_and_odd_ones_are_noted(detector, tmp_path):
    with pytest.raises(EtudeError, match="there twice"):
        write_records(tmp_path / "a.jsonl", [{"id": "a", "text": "x"}] * 2)
        predict(str(detector), tmp_path / "a.jsonl", out=tmp_path / "p1")
    with pytest.raises(EtudeError, match="holds no text"):
        write_records(tmp_path / "b.jsonl", [{"id": "a", "body": "x"}])
        predict(str(detector), tmp_path / "b.jsonl", out=tmp_path / "p2")
    write_records(tmp_path / "c.jsonl", [{"id": "a", "text": "<b>They</b> hide it"}, {"id": "b", "text": ""}])
    found = predict(str(detector), tmp_path / "c.jsonl", format="jsonl", out=tmp_path / "p3")
    assert len(found.notices) == 3 and found.labels["invalid"] == 1


def test_a_detector_knows_only_its_tasks(detector, tmp_path):
    write_records(tmp_path / "t.csv", [{"id": "a", "text": "They hide it."}])
    with pytest.raises(EtudeError, match="not trained for theory-type"):
        predict(str(detector), tmp_path / "t.csv", task="theory-type", out=tmp_path / "p")


def test_a_chat_models_answers_are_classes_or_invalid(condid, tmp_path):
    asked: list[str] = []

    def answer(conversation):
        asked.append(conversation[-1]["content"])
        if "cure number 1" in asked[-1]:
            return "1. conspiracy"
        return "I cannot say." if "number 3" in asked[-1] else "0"

    register_scripted("plain-judge", answer)
    found = predict(
        "scripted/plain-judge", write_texts(tmp_path / "t.csv"), shots=4, examples=condid, out=tmp_path / "p"
    )
    rows = {row["id"]: row for _, row in read_rows(tmp_path / "p" / "predictions.csv")}
    assert rows["t1"]["label"] == "1. conspiracy" and rows["t0"]["label"] == "0. non-conspiracy"
    assert rows["t3"]["label"] == "invalid" and found.scores["judgment"].invalid == 1
    assert found.scores["judgment"].accuracy.value == pytest.approx(4 / 5)
    assert asked[0].count("Class:") == 5 and asked[0].count("Class: 1. conspiracy") == 2
    assert "Assistant:" not in asked[0]


def test_an_untuned_language_model_is_scored_by_label(tiny_lm, tmp_path):
    write_records(tmp_path / "u.csv", [{"id": "a", "text": "They hide it."}])
    found = predict(str(tiny_lm), tmp_path / "u.csv", task="intention", out=tmp_path / "q")
    assert sum(found.labels.values()) == 1 and "invalid" not in found.labels


def test_an_untrained_encoder_cannot_predict(tiny_encoder, tmp_path):
    with pytest.raises(EtudeError, match="was not trained"):
        predict(str(tiny_encoder), write_texts(tmp_path / "t.csv"), out=tmp_path / "p")


def test_affect_columns_are_added_and_summed_up_by_label(tmp_path):
    found = affect(write_texts(tmp_path / "t.csv"), out=tmp_path / "a", format="parquet")
    assert "vader_compound" in found.means and set(found.by_label) == {"0. non-conspiracy", "1. conspiracy"}
    assert len(list(read_rows(tmp_path / "a" / "affect.parquet"))) == 5


def test_an_empty_text_has_no_affect_and_does_not_pull_the_means(tmp_path):
    full, half = tmp_path / "full.jsonl", tmp_path / "half.jsonl"
    rows = [{"id": "a", "text": "What a lovely day."}, {"id": "b", "text": "This is awful."}]
    write_records(full, rows)
    write_records(half, [*rows, {"id": "c", "text": " "}])
    whole, with_empty = affect(full, out=tmp_path / "f"), affect(half, out=tmp_path / "h", format="jsonl")
    assert with_empty.means == whole.means and any("1 of 3 texts are empty" in n for n in with_empty.notices)
    last = [row for _, row in read_rows(tmp_path / "h" / "affect.jsonl")][-1]
    assert last["vader_compound"] is None
    assert not any("not readable" in notice for notice in with_empty.notices)


def test_evaluation_compares_arms_and_settles_nothing_on_synthetic_texts(condid, tiny_encoder, tmp_path):
    found = evaluate(
        condid,
        arms=("tfidf+lexicon", "minilm+shuffled"),
        encoder=str(tiny_encoder),
        folds=3,
        repeats=1,
        out=tmp_path / "e.json",
    )
    assert set(found.arms) == {"tfidf+lexicon", "minilm+shuffled", "tfidf", "minilm"}
    assert found.synthetic and set(found.verdicts.values()) == {"synthetic texts: no verdict"}
    assert set(found.cross_topic["tfidf"]) == {"coronavirus to sandy hook", "sandy hook to coronavirus"}
    assert json.loads((tmp_path / "e.json").read_text())["differences"]["tfidf+lexicon"]["splits"] == 3


def test_evaluation_finds_affect_that_helps_and_sees_through_its_control(tmp_path, tiny_encoder):
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    rated = sorted((w, v) for w, v in SentimentIntensityAnalyzer().lexicon.items() if w.isalpha())
    charged = [[w for w, v in rated if v * side >= 2.5][:30] for side in (1, -1)]
    rows = []
    for n in range(60):  # every charged word once: a text by itself tells nothing about the others
        word = charged[n % 2][n // 2]
        rows.append(
            {
                "id": str(n),
                "task": "judgment",
                "instruction": "D.",
                "source": "mine",
                "group": n,
                "input": f"item {n} q{n * 7919 % 97} {word}",
                "output": ("0. non-conspiracy", "1. conspiracy")[n % 2],
            }
        )
    write_records(tmp_path / "m.jsonl", rows)
    found = evaluate(
        tmp_path / "m.jsonl", arms=("minilm+lexicon", "minilm+shuffled"), encoder=str(tiny_encoder), repeats=2
    )
    assert found.arms["minilm+lexicon"]["macro_f1"] > 0.95
    assert (
        found.verdicts["minilm+lexicon"] == "supported" and found.verdicts["minilm+shuffled"] != "supported"
    )


def test_a_trained_detector_is_evaluated_on_its_split(condid, detector):
    found = evaluate(condid, detector=detector)
    assert set(found.scores) == {"judgment", "intention"}
    with pytest.raises(EtudeError, match="one class for each text"):
        evaluate(condid, task="theory-type")


def test_the_probe_shifts_the_tone_and_counts_what_is_lost(condid, detector, tmp_path):
    found = probe(detector, condid, split="train", tone="positive", out=tmp_path / "p")
    assert found.tone_after["VADER compound"] > found.tone_before["VADER compound"] + 0.2
    rows = [row for _, row in read_rows(tmp_path / "p" / "probe.jsonl")]
    hit = [(row["p_conspiracy_before"] > 0.5, row["p_conspiracy_after"] > 0.5) for row in rows]
    assert found.lost == sum(a and not b for a, b in hit) and found.won == sum(b and not a for a, b in hit)
    assert found.before.value == pytest.approx(sum(a for a, _ in hit) / len(hit))


def test_a_probe_by_rewriting_leaves_out_what_the_judge_rejects(condid, detector, tmp_path):
    register_scripted(
        "soft-writer", lambda c: "It is said, kindly: " + c[-1]["content"].partition("Text: ")[2]
    )
    seen: list[int] = []
    register_scripted("first-no", lambda c: (seen.append(1), "no" if len(seen) == 1 else "yes")[1])
    found = probe(
        detector,
        condid,
        split="train",
        kind="rewrite",
        rewriter="scripted/soft-writer",
        judge="scripted/first-no",
        out=tmp_path / "p",
    )
    assert found.left_out == 1 and found.texts == len(seen) - 1
    with pytest.raises(EtudeError, match="needs a chat model"):
        probe(detector, condid, kind="rewrite", out=tmp_path / "q")


TRAIN = """
import sys
from etude.methods.conspemollm import train
train(sys.argv[1], model=sys.argv[2], route="affect-base", emobank=sys.argv[3], affect_steps=12, steps=12,
      affect_rows=24, pack_tokens=200, out=sys.argv[4])
"""


def test_a_killed_training_ends_with_the_same_bits(condid, tiny_lm, emobank, tmp_path, run_here):
    arguments = [str(condid), str(tiny_lm), str(emobank)]
    run_here(TRAIN, *arguments, tmp_path / "whole")
    for stage in ("stage-A", "stage-B"):
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, *arguments, str(tmp_path / "killed")], env=ONE_THREAD
        )
        while not list((tmp_path / "killed" / stage / "fit").glob("checkpoint-*/complete")):
            assert process.poll() is None, "it finished before it could be killed"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    run_here(TRAIN, *arguments, tmp_path / "killed")
    for name in (
        "adapter/adapter_model.safetensors",
        "stage-A/trained.safetensors",
        "stage-B/trained.safetensors",
    ):
        assert file_hash(tmp_path / "whole" / name) == file_hash(tmp_path / "killed" / name)
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "killed")]
    assert results[0]["scores"] == results[1]["scores"]


CHAT = """
import sys, time
from pathlib import Path
from etude.methods.conspemollm import affect, predict
from etude.models import register_scripted
def answer(conversation):
    with Path(sys.argv[3]).open("a") as log:
        log.write(conversation[-1]["content"].replace("\\n", " ") + "\\n")
    time.sleep(0.004)
    return "1. conspiracy" if "cure" in conversation[-1]["content"] else "0.500"
register_scripted("slow", answer)
if sys.argv[1] == "predict":
    predict("scripted/slow", sys.argv[2], out=sys.argv[4])
else:
    affect(sys.argv[2], providers=("llm",), model="scripted/slow", out=sys.argv[4])
"""


@pytest.mark.parametrize(("verb", "file"), [("predict", "predictions.csv"), ("affect", "affect.csv")])
def test_a_killed_labelling_asks_nothing_twice(tmp_path, verb, file, run_here):
    texts = write_texts(tmp_path / "t.csv", 150 if verb == "predict" else 24)
    run_here(CHAT, verb, texts, tmp_path / "a.log", tmp_path / "whole")
    log = tmp_path / "b.log"
    process = subprocess.Popen(
        [sys.executable, "-c", CHAT, verb, str(texts), str(log), str(tmp_path / "killed")], env=ONE_THREAD
    )
    while not log.exists() or len(log.read_text().splitlines()) < 60:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run_here(CHAT, verb, texts, log, tmp_path / "killed")
    assert (tmp_path / "whole" / file).read_text() == (tmp_path / "killed" / file).read_text()
    once, twice = (path.read_text().splitlines() for path in (tmp_path / "a.log", log))
    assert sorted(set(twice)) == sorted(set(once))
    assert len(twice) <= len(once) + 1  # at most the one under way when it was killed


def test_the_verbs_answer_on_the_command_line(tmp_path, capsys):
    main(["conspemollm", "build", "--synthetic", "--out", str(tmp_path / "c"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["synthetic"] and sum(told["examples"]["judgment"].values()) == 24
    with pytest.raises(SystemExit) as caught:
        main(
            [
                "conspemollm",
                "predict",
                str(tmp_path / "nothing"),
                str(tmp_path / "t.csv"),
                "--out",
                str(tmp_path / "p"),
            ]
        )
    assert caught.value.code == 2
