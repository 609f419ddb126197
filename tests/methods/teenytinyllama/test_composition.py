"""Three methods, files only: a pretrained model is quantized by one and tested by two others."""

import json

import pytest

from etude.cli import main
from etude.data import prose


@pytest.mark.slow
def test_a_pretrained_model_is_quantized_and_tested_by_commands_and_files_only(tmp_path, monkeypatch, capsys):
    def etude(*command):
        main([*command, "--json"])
        return json.loads(capsys.readouterr().out)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.txt").write_text(prose()[:120_000], encoding="utf-8")
    (tmp_path / "held_out.txt").write_text(prose()[-8_000:], encoding="utf-8")
    etude("teenytinyllama", "tokenizer", "train.txt", "--vocab-size", "600", "--out", "tok")
    prepare = ["prepare", "train.txt", "--validation", "held_out.txt", "--tokenizer", "tok", "--block", "512"]
    etude("teenytinyllama", *prepare, "--out", "corpus")
    shape = ["--hidden", "64", "--layers", "2", "--heads", "2", "--mlp", "128", "--context", "512"]
    training = ["--tokens-per-step", "1024", "--steps", "20", "--device", "cpu"]
    etude("teenytinyllama", "pretrain", "corpus", *shape, *training, "--out", "run")

    quantize = ["quantize", "run/model", "--scheme", "w4g32s", "--format", "compressed-tensors,dequantized"]
    tuning = ["--steps", "5", "--nsamples", "8", "--seqlen", "64", "--batch-size", "4"]
    etude("signround", *quantize, *tuning, "--eval-documents", "2", "--eval-tokens", "64", "--out", "q4")

    evaluate = ["--texts", "held_out.txt", "--limit", "8"]
    full = etude("teenytinyllama", "evaluate", "run", *evaluate)["texts"]["held_out.txt"]
    for kind in ("compressed-tensors", "dequantized"):
        quantized = etude("teenytinyllama", "evaluate", f"q4/{kind}", *evaluate)["texts"]["held_out.txt"]
        assert quantized["bits_per_byte"] == pytest.approx(full["bits_per_byte"], rel=0.05)
        assert quantized["bits_per_byte"] != full["bits_per_byte"]

    build = [
        "build",
        "--lengths",
        "160",
        "--stars",
        "2",
        "--tokenizer",
        "q4/dequantized",
        "--out",
        "cells.jsonl",
    ]
    etude("counting-stars", *build)
    ran = etude("counting-stars", "run", "cells.jsonl", "--model", "q4/dequantized", "--out", "stars")
    assert ran
    assert list((tmp_path / "stars").rglob("*.jsonl"))
