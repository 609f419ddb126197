"""Pretraining: what it writes, what it refuses, what it warns of."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from etude.errors import EtudeError
from etude.methods.teenytinyllama import training_loop
from etude.methods.teenytinyllama.batches import Batches
from etude.methods.teenytinyllama.configs import PRESETS
from etude.methods.teenytinyllama.network import Decoder
from etude.methods.teenytinyllama.optimizer import build_adamw, learning_rate_at
from etude.methods.teenytinyllama.pretraining import pretrain
from etude.methods.teenytinyllama.settings import TrainSettings, length_warnings, plan_schedule
from etude.methods.teenytinyllama.shards import TokenShards

SHAPE = {"hidden": 32, "mlp": 64, "layers": 1, "heads": 2, "context": 32, "tokens_per_step": 256}
HOW = {"steps": 12, "energy": "estimate", **SHAPE}


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_writes_the_logs_that_the_paper_published(trained_run) -> None:
    run = trained_run("bpe")
    metrics = rows(run / "metrics.jsonl")
    assert set(metrics[0]) == {
        *("step", "tokens_seen", "loss", "lr", "grad_norm", "tokens_per_s", "mfu", "seconds", "kwh", "kgco2")
    }
    assert metrics[-1]["step"] == 60 and metrics[-1]["tokens_seen"] == 60 * 256
    last = rows(run / "eval.jsonl")[-1]
    assert last["perplexity"] == pytest.approx(math.exp(last["loss"]))
    manifest = json.loads((run / "manifest.json").read_text())["splits"]["val"]
    ratio = manifest["tokens"] / manifest["bytes"]
    assert last["bits_per_byte"] == pytest.approx(last["loss"] / math.log(2) * ratio)
    with open(run / "emissions.csv", newline="") as file:
        emissions = list(csv.DictReader(file))
    assert float(emissions[-1]["energy_consumed"]) > 0 and emissions[-1]["tracking_mode"] == "estimate"
    assert {"prompt", "text", "step"} == set(rows(run / "samples.jsonl")[0])
    assert (run / "config.yaml").exists()


def test_it_learns(trained_run) -> None:
    metrics = rows(trained_run("bpe") / "metrics.jsonl")
    assert metrics[-1]["loss"] < 0.6 * metrics[0]["loss"]


def test_accumulated_batches_give_the_step_of_one_batch(corpus, tmp_path) -> None:
    from safetensors.torch import load_file

    whole = pretrain(corpus(), out=tmp_path / "whole", **HOW)
    parts = pretrain(corpus(), out=tmp_path / "parts", micro_batch=2, **HOW)
    one, other = (load_file(Path(r.model) / "model.safetensors") for r in (whole, parts))
    assert all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def test_a_finished_run_answers_at_once_with_its_result(corpus, tmp_path) -> None:
    first = pretrain(corpus(), out=tmp_path / "run", **HOW)
    assert pretrain(corpus(), out=tmp_path / "run", **HOW) == first


def test_training_goes_on_from_another_run(corpus, trained_run, tmp_path) -> None:
    run = trained_run("bpe")
    more = pretrain(
        corpus(), out=tmp_path / "more", init=str(run), steps=5, tokens_per_step=256, learning_rate=1e-3
    )
    assert rows(tmp_path / "more" / "metrics.jsonl")[0]["loss"] < rows(run / "metrics.jsonl")[10]["loss"]
    assert more.parameters == json.loads((run / "result.json").read_text())["parameters"]
    with pytest.raises(EtudeError, match="brings its own shape"):
        pretrain(corpus(), out=tmp_path / "x", init=str(run), steps=5, hidden=64)


def test_every_target_is_seen_once_an_epoch_whatever_the_number_of_processes(corpus) -> None:
    shards = TokenShards.open(corpus())
    whole = Batches(shards, 32, 8, seed=1, vocab_size=400)
    halves = [Batches(shards, 32, 8, seed=1, vocab_size=400, rank=r, world=2) for r in (0, 1)]
    ids, targets = whole(3)
    assert torch.equal(ids[0::2], halves[0](3)[0]) and torch.equal(targets[1::2], halves[1](3)[1])
    assert torch.equal(ids[:, 1:], targets[:, :-1])
    seen = [b for step in range(-(-whole.blocks // 8)) for b in whole.block_ids(step)][: whole.blocks]
    assert sorted(seen) == list(range(whole.blocks))


def test_vectors_do_not_decay_and_matrices_do() -> None:
    network = Decoder(PRESETS["nano"])
    decayed, free = build_adamw(network, weight_decay=0.01).param_groups
    assert decayed["weight_decay"] == 0.01 and all(p.dim() == 2 for p in decayed["params"])
    assert free["weight_decay"] == 0 and len(free["params"]) == 2 * 3 + 1


def test_the_rate_rises_linearly_and_falls_as_a_cosine_to_zero() -> None:
    rates = [learning_rate_at(s, peak=1.0, warmup=10, steps=110) for s in range(111)]
    assert rates[:10] == pytest.approx([(s + 1) / 10 for s in range(10)])
    assert rates[60] == pytest.approx(0.5) and rates[110] == pytest.approx(0.0, abs=1e-12)


def fail_once(monkeypatch, at: int) -> None:
    real, calls = training_loop.document_mask, []

    def spoiled(self, ids):
        calls.append(1)
        if len(calls) == at:
            with torch.no_grad():
                self._kept = self.network.norm.weight.clone()
                self.network.norm.weight.fill_(math.nan)
        elif len(calls) == at + 1 and hasattr(self, "_kept"):
            with torch.no_grad():
                self.network.norm.weight.copy_(self._kept)
        return real(ids, 2) if self.settings.document_mask else None

    monkeypatch.setattr(training_loop._Training, "_mask", spoiled)


def test_a_loss_that_is_not_a_number_stops_and_lists_its_blocks(corpus, tmp_path, monkeypatch) -> None:
    fail_once(monkeypatch, 5)
    with pytest.raises(EtudeError, match="not_finite_step_5"):
        pretrain(corpus(), out=tmp_path / "run", **HOW)
    record = json.loads((tmp_path / "run" / "not_finite_step_5.json").read_text())
    assert record["step"] == 5 and len(record["block_ids"]) == 8


def test_a_loss_that_is_not_a_number_can_be_skipped(corpus, tmp_path, monkeypatch) -> None:
    fail_once(monkeypatch, 5)
    result = pretrain(corpus(), out=tmp_path / "run", on_nan="skip", eval_every=0, **HOW)
    assert result.skipped == 1 and np.isfinite(result.train_loss)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vocab_size": 300}, "kinds of tokens"),
        ({"context": 1_000_000, "tokens_per_step": 1_000_000}, "fewer than one block"),
        ({"heads": 3}, "do not divide hidden"),
        ({"tokens_per_step": 100}, "no multiple of"),
        ({"micro_batch": 3}, "do not divide the 8 sequences"),
        ({"epochs": 1.0}, "by steps and epochs"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
    ],
)
def test_what_does_not_fit_is_refused(corpus, tmp_path, change, words) -> None:
    with pytest.raises(EtudeError, match=words):
        pretrain(corpus(), out=tmp_path / "run", **{**HOW, **change})


def test_a_token_beyond_the_vocabulary_is_named_with_its_block(corpus) -> None:
    batches = Batches(TokenShards.open(corpus()), 32, 8, seed=1, vocab_size=50)
    with pytest.raises(EtudeError, match=r"block \d+ of the train split holds token id \d+"):
        batches(0)


def test_repeated_text_and_odd_budgets_are_warned_of() -> None:
    config = PRESETS["nano"]

    def notes(steps: int, corpus_tokens: int) -> str:
        settings = TrainSettings(steps=steps, tokens_per_step=1024)
        schedule = plan_schedule(settings, config, corpus_tokens)
        return " ".join(length_warnings(schedule, settings, config, corpus_tokens))

    assert "epochs" in notes(20_000, 1_000_000) and "epochs" not in notes(3_000, 1_000_000)
    assert "a smaller model" in notes(100, 1_000_000)
    assert "a larger model" in notes(500_000, 10**9)
    assert notes(10_000, 10**9) == ""
