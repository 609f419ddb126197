"""A model pretrained by one method is quantized, tested, fine-tuned and made a recommender by others."""

import json

import pytest
from safetensors.torch import load_file
from tests.docs.worlds import analogykb, idgen


@pytest.mark.slow
def test_a_pretrained_model_is_quantized_and_tested(pretrained, etude, folder):
    pretrained(20)
    quantize = "quantize run/model --scheme w4g32s --format compressed-tensors,dequantized"
    tuning = "--steps 5 --nsamples 8 --seqlen 64 --batch-size 4 --eval-documents 2 --eval-tokens 64"
    etude(f"signround {quantize} {tuning} --out q4")

    full = etude("teenytinyllama evaluate run --texts held_out.txt --limit 8")["texts"]["held_out.txt"]
    for kind in ("compressed-tensors", "dequantized"):
        found = etude(f"teenytinyllama evaluate q4/{kind} --texts held_out.txt --limit 8")
        quantized = found["texts"]["held_out.txt"]
        assert quantized["bits_per_byte"] == pytest.approx(full["bits_per_byte"], rel=0.05)
        assert quantized["bits_per_byte"] != full["bits_per_byte"]

    etude("counting-stars build --lengths 160 --stars 2 --tokenizer q4/dequantized --out cells.jsonl")
    assert etude("counting-stars run cells.jsonl --model q4/dequantized --out stars")
    assert list((folder / "stars").rglob("*.jsonl"))


@pytest.mark.slow
def test_a_pretrained_model_becomes_a_recommender(pretrained, etude, folder):
    pretrained(20)
    idgen.prepare(folder)
    etude("idgen ids items.csv --tokenizer run/model --out ids.tsv")
    start = "idgen train events.csv --items items.csv --ids ids.tsv --backbone run/model"
    before = etude(f"{start} --epochs 1 --learning-rate 1e-12 --out untrained")
    one, two = (load_file(f"{place}/model/model.safetensors") for place in ("run", "untrained"))
    assert one.keys() == two.keys()  # the recommender begins as the pretrained model itself ...
    assert all((one[name] - two[name]).abs().max() < 1e-6 for name in one)
    trained = etude(f"{start} --epochs 60 --batch-size 6 --learning-rate 3e-3 --out recommender")
    assert trained["loss"] < before["loss"] / 2
    ranked = etude("idgen evaluate recommender --k 1,3")["arms"]["idgen"]
    assert ranked["HR@1"] > 0.9  # ... and learns whose turn is next: one of six things


@pytest.mark.slow
def test_mined_questions_fine_tune_a_pretrained_model(pretrained, etude, folder):
    pretrained(40)
    analogykb.prepare(folder)
    etude("analogykb mine triples.parquet --out kb --min-degree 1")
    asked = "analogykb questions kb --n 300 --choices 4 --exclude test.jsonl"
    made = etude(f"{asked} --split all --chat --out questions.jsonl")
    assert made["removed"] > 0  # no pair of the test is trained on
    before = etude("analogykb evaluate run/model test.jsonl")["rows"][0]
    tuning = "--epochs 2 --learning-rate 2e-3 --context 256"
    tuned = etude(f"teenytinyllama finetune run --data questions.jsonl {tuning} --out tuned")
    assert tuned["validation_loss"] < 1.6 < tuned["validation_loss_before"]  # ln 4 letters are 1.39 nats
    after = etude("analogykb evaluate tuned/model test.jsonl")["rows"][0]
    assert before["unanswered"] == before["questions"] == 10  # what a base model writes names no choice
    assert after["unanswered"] == 0

    trained = etude(
        "analogykb train questions.jsonl --scorer seq2seq --encoder run/model --epochs 1 --out scorer"
    )
    assert trained["questions"] == 300 and trained["task"] == "recognition"
    assert etude("analogykb evaluate scorer test.jsonl")["rows"][0]["unanswered"] == 0
    chats = [json.loads(line)["messages"] for line in (folder / "questions.jsonl").read_text().splitlines()]
    assert {turns[-1]["content"] for turns in chats} == set("ABCD")
