"""The loss against sentence-transformers' and a closed form; encoders, resume, early stops, folders."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice, pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import nn

from etude.errors import EtudeError
from etude.methods.semcsr import (
    CachedMaskedInfoNCE,
    MaskedInfoNCE,
    ReferenceTable,
    TrainConfig,
    Triple,
    evaluate,
    train,
    train_encoder,
    write_triples,
)
from etude.methods.semcsr.early_stopping import refuse_collapsed
from etude.methods.semcsr.encoders import open_encoder
from etude.methods.semcsr.frozen_lm import AttentionPooling
from etude.methods.semcsr.masked_info_nce import info_nce, official_loss
from etude.methods.semcsr.sts import STSPair
from etude.methods.semcsr.training import fit_encoder, training_columns


def sentences(count: int) -> list[str]:
    """Distinct sentences over the vocabulary of the tiny models."""
    parts = product(("red", "blue", "big", "small"), ("sleeping", "running", "eating"),
                    ("house", "garden", "car"), ("dog", "cat", "man", "woman", "boy", "girl"))  # fmt: skip
    return [
        f"the {color} {who} is {verb} in the {place} ." for color, verb, place, who in islice(parts, count)
    ]


class Table(nn.Module):
    """Vectors by row number, as a model that losses accept."""

    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors)

    def forward(self, features):  # type: ignore[no-untyped-def]
        return {"sentence_embedding": self.vectors[features["input_ids"][:, 0]]}


def features(rows: int, columns: int) -> list[dict[str, torch.Tensor]]:
    return [{"input_ids": torch.arange(rows)[:, None] + rows * c} for c in range(columns)]


def unit_rows(rows: int, width: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, width))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_without_a_mask_it_is_multiple_negatives_ranking() -> None:
    model = Table(torch.randn(24, 8, generator=torch.Generator().manual_seed(1)))
    table = ReferenceTable([unit_rows(8, 4, s) for s in range(3)])
    for columns in (2, 3):
        theirs = MultipleNegativesRankingLoss(model, scale=20.0)(features(8, columns), None)
        for ours in (MaskedInfoNCE(model, 0.05), MaskedInfoNCE(model, 0.05, phi=1.5, reference=table)):
            assert torch.allclose(ours(features(8, columns), torch.arange(8)), theirs, atol=1e-6)
    gradients = []
    for loss in (MaskedInfoNCE(model, 0.05), MultipleNegativesRankingLoss(model, scale=20.0)):
        model.zero_grad()
        loss(features(8, 3), None).backward()
        gradients.append(model.vectors.grad.clone())
    assert torch.allclose(*gradients, atol=1e-6)


def test_a_masked_cell_has_zero_gradient_and_the_positive_is_never_masked() -> None:
    scores = torch.randn(4, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    masked = torch.zeros(4, 8, dtype=torch.bool)
    masked[0, 1] = masked[2, 7] = True
    info_nce(scores, torch.arange(4), masked).backward()
    assert (scores.grad[masked] == 0).all() and (scores.grad[~masked] != 0).all()
    everywhere = ReferenceTable([np.ones((4, 1), dtype=np.float32)] * 3)  # all reference cosines are 1
    model = Table(torch.randn(12, 8))
    loss = MaskedInfoNCE(model, reference=everywhere, phi=0.95)
    assert loss(features(4, 3), torch.arange(4)).item() == pytest.approx(
        0.0, abs=1e-6
    )  # only the positive is left


def test_the_mask_is_the_formula_cell_by_cell() -> None:
    model = Table(torch.randn(15, 6, generator=torch.Generator().manual_seed(3)))
    reference = [unit_rows(9, 3, s) for s in range(3)]
    rows = torch.tensor([8, 2, 5, 0, 3])
    loss = MaskedInfoNCE(model, 0.1, phi=0.4, reference=ReferenceTable(reference))(features(5, 3), rows)
    vectors = nn.functional.normalize(model.vectors.detach(), dim=-1).numpy()
    total = 0.0
    for i in range(5):
        kept = []
        for j in range(10):
            r = reference[0][rows[i]] @ reference[1 + j // 5][rows[j % 5]]
            if j == i or r <= 0.4:
                kept.append(math.exp(vectors[i] @ vectors[5 + j] / 0.1))
        total -= math.log(math.exp(vectors[i] @ vectors[5 + i] / 0.1) / sum(kept)) / 5
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_the_official_loss_is_the_mean_of_binary_log_losses_with_masked_logits_at_zero() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.5, -1.0], [0.3, 1.5, 2.5, 0.0]])
    masked = torch.tensor([[False, True, False, False], [False, False, True, False]])
    total = 0.0
    for i, row in enumerate(scores.tolist()):
        logits = [0.0 if masked[i, j] else value for j, value in enumerate(row)]
        shares = [math.exp(v) / sum(map(math.exp, logits)) for v in logits]
        total += -sum(math.log(p) if j == i else math.log(1 - p) for j, p in enumerate(shares)) / 8
    assert official_loss(scores, torch.arange(2), masked).item() == pytest.approx(total, rel=1e-6)
    assert official_loss(scores, torch.arange(2), masked) != info_nce(scores, torch.arange(2), masked)


def test_a_reference_without_row_numbers_is_refused() -> None:
    loss = MaskedInfoNCE(Table(torch.randn(6, 4)), reference=ReferenceTable([unit_rows(3, 2, 0)] * 2))
    with pytest.raises(EtudeError, match="row's number"):
        loss(features(3, 2), None)
    with pytest.raises(EtudeError, match="tau"):
        MaskedInfoNCE(nn.Identity(), tau=0)


def test_gradient_caching_changes_neither_loss_nor_gradient(tiny) -> None:  # type: ignore[no-untyped-def]
    model = open_encoder(str(tiny("bert")), [], Path("unused"), pooling="mean").plain().eval()
    table = ReferenceTable([unit_rows(6, 3, s) for s in range(3)])
    texts = sentences(18)
    found = []
    for loss in (
        MaskedInfoNCE(model, reference=table, phi=0.3),
        CachedMaskedInfoNCE(model, reference=table, phi=0.3, mini_batch_size=2),
    ):
        model.zero_grad()
        given = [model.preprocess(texts[6 * i : 6 * i + 6]) for i in range(3)]
        value = loss(given, torch.arange(6))
        value.backward()
        found.append((value.item(), model[0].auto_model.embeddings.word_embeddings.weight.grad.clone()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)


def triples(count: int, *, negatives: bool = True) -> list[Triple]:
    texts = sentences(count)
    return [
        Triple(id=str(i), sent0=text, sent1=text.replace("is ", "is with a "),
               hard_neg=text.replace("is ", "is not ") if negatives else "")
        for i, text in enumerate(texts)
    ]  # fmt: skip


def pairs() -> list[STSPair]:
    texts = sentences(72)[40:]
    return [
        STSPair(score=5 - i % 5, sentence1=text, sentence2=other)
        for i, (text, other) in enumerate(pairwise(texts))
    ]


SMALL = {"batch_size": 8, "eval_every": 4, "seed": 3, "dimension": 16, "layer": 2}


@pytest.mark.parametrize("kind", ["static", "frozen-lm"])
def test_the_finished_encoder_is_the_trained_one_in_stock_modules(tiny, kind, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = triples(24)
    opened = open_encoder(
        str(tiny("llama")), [r.sent0 for r in rows], tmp_path, kind=kind, layer=2, dimension=16
    )
    texts = [text for r in rows for text in (r.sent0, r.sent1, r.hard_neg)]
    training = opened.training_model(texts, tmp_path).eval()
    with torch.no_grad():  # as if trained: far from its beginning
        for parameter in training.parameters():
            if parameter.requires_grad:
                parameter += 0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5))
    opened.finished(training).save(str(tmp_path / "model"))
    loaded = SentenceTransformer(str(tmp_path / "model"))  # no code of ours, no trust_remote_code
    assert all(type(m).__module__.startswith("sentence_transformers.") for m in loaded)
    seen, unseen = texts[:10], ["the small girl is eating a car with the man .", "a"]
    ours, theirs = (
        nn.functional.normalize(torch.tensor(m.encode([*seen, *unseen], show_progress_bar=False)), dim=-1)
        for m in (training, loaded)
    )
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("kind", ["frozen-lm", "full"])
def test_texts_are_read_as_they_are_where_the_tokenizer_has_a_chat_template(tiny, tmp_path, kind) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "chatty"
    shutil.copytree(tiny("llama"), folder)
    template = "{% for m in messages %}the big red garden {{ m['content'] }} words{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    texts = ["the dog is running", "a blue car on the small house"]
    vectors = [
        open_encoder(str(model), texts, tmp_path / model.name, kind=kind, layer=2, dimension=8)
        .plain()
        .encode(texts)
        for model in (tiny("llama"), folder)
    ]
    assert np.allclose(vectors[0], vectors[1], atol=1e-6)


def test_the_untrained_frozen_lm_is_the_centered_mean_on_principal_axes(tiny, tmp_path) -> None:  # type: ignore[no-untyped-def]
    texts = sentences(20)
    opened = open_encoder(str(tiny("llama")), texts, tmp_path, kind="frozen-lm", layer=2, dimension=16)
    states = [opened._computed(texts[i : i + 1])[0] for i in range(3)] if hasattr(opened, "_computed") else [
        opened.known._computed([text])[0] for text in texts[:3]
    ]  # fmt: skip
    expected = torch.stack([opened.axes @ (torch.from_numpy(s).mean(0) - opened.center) for s in states])
    got = torch.tensor(opened.plain().encode(texts[:3], show_progress_bar=False))
    assert torch.allclose(
        nn.functional.normalize(got, dim=-1), nn.functional.normalize(expected, dim=-1), atol=1e-5
    )


def test_attention_pooling_is_a_softmax_over_tokens() -> None:
    pooling = AttentionPooling(torch.zeros(4), torch.eye(4))
    with torch.no_grad():
        pooling.query.copy_(torch.tensor([1.0, 0, 0, 0]))
    states = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[1, 1, 0]])
    got = pooling({"token_embeddings": states, "attention_mask": mask})["sentence_embedding"][0]
    shares = states[0, :2, 0].softmax(0)
    assert torch.allclose(got, (shares[:, None] * states[0, :2]).sum(0), atol=1e-6)


def test_training_separates_written_pairs(tiny, tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = triples(48)
    config = TrainConfig(kind="static", steps=40, **SMALL)  # type: ignore[arg-type]
    done = fit_encoder(str(tiny("llama")), rows, config, out=tmp_path)
    losses = [entry["loss"] for entry in done.history if "loss" in entry]
    assert losses[-1] < 0.7 * losses[0]
    assert done.steps == 40 and done.masked is None


def test_simcse_pairs_each_sentence_with_itself_and_positives_leave_negatives_out() -> None:
    rows = triples(4)
    assert training_columns(rows, "simcse") == [[r.sent0 for r in rows]] * 2
    assert len(training_columns(rows, "positives")) == 2 and len(training_columns(rows, "triples")) == 3
    assert len(training_columns(triples(4, negatives=False), "triples")) == 2
    mixed = [*triples(2), *triples(4, negatives=False)[2:]]
    with pytest.raises(EtudeError, match="2 of 4 rows have no hard_neg"):
        training_columns(mixed, "triples")


def test_full_fine_tuning_drops_the_layer_of_training(tiny, tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = TrainConfig(steps=3, learning_rate=1e-3, **SMALL)  # type: ignore[arg-type]
    model = train_encoder(str(tiny("bert")), triples(16), config, out=tmp_path)
    assert [type(m).__name__ for m in model] == ["Transformer", "Pooling"]
    assert model[1].pooling_mode == "cls"


def test_train_writes_a_folder_that_says_how_and_evaluate_compares_it(tiny, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    write_triples(tmp_path / "t.csv", triples(32))
    from etude.data import write_records

    write_records(tmp_path / "dev.jsonl", pairs())
    common = {"encoder": str(tiny("llama")), "batch_size": 8, "dimension": 16, "steps": 8, "eval_every": 4}
    done = train("t.csv", dev="dev.jsonl", reference="simcse", out="model", **common)  # type: ignore[arg-type]
    assert done.kind == "static" and done.masked is not None and done.best_step in (4, 8)
    again = train("t.csv", dev="dev.jsonl", reference="simcse", out="model", **common)  # type: ignore[arg-type]
    assert again == done
    assert SentenceTransformer("model").encode(["a dog"]).shape == (1, 16)
    found = evaluate("model", sts="dev.jsonl", compare="raw,simcse-unsup", seeds=2, page="page.html")  # type: ignore[arg-type]
    assert [row["model"] for row in found.sts] == ["model", "raw", "simcse-unsup"]
    assert found.differences[1]["better on"].endswith("of 2")
    assert "Differences" in (tmp_path / "page.html").read_text()
    with pytest.raises(EtudeError, match="another configuration"):
        train("t.csv", dev="dev.jsonl", out="model", **{**common, "steps": 9})  # type: ignore[arg-type]
    (tmp_path / "t.csv").write_text("sent0,sent1\na,b\n")
    with pytest.raises(EtudeError, match="gone or has changed"):
        evaluate("model", sts="dev.jsonl", compare="raw")  # type: ignore[arg-type]


def test_training_sentences_of_the_evaluation_file_are_found(tiny, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from etude.data import write_records

    write_triples(tmp_path / "t.jsonl", triples(16))
    leaking = [STSPair(score=i % 5, sentence1=t, sentence2="a car .") for i, t in enumerate(sentences(4))]
    write_records(tmp_path / "dev.jsonl", leaking)
    common = {"encoder": str(tiny("llama")), "batch_size": 8, "dimension": 16, "steps": 2}
    with pytest.raises(EtudeError, match="4 of 16 training sentences are in the development file"):
        train(tmp_path / "t.jsonl", dev=tmp_path / "dev.jsonl", out=tmp_path / "m", **common)  # type: ignore[arg-type]
    train(tmp_path / "t.jsonl", out=tmp_path / "m", phi=2.0, **common)  # type: ignore[arg-type]
    assert evaluate(str(tmp_path / "m"), sts=tmp_path / "dev.jsonl").overlap == 4  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_ends_the_training(tiny, tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = TrainConfig(kind="static", steps=20, learning_rate=3e38, **SMALL)  # type: ignore[arg-type]
    with pytest.raises(EtudeError, match=r"loss is|not finite|collapsed"):
        fit_encoder(str(tiny("llama")), triples(16), config, out=tmp_path)


def test_a_collapsed_encoder_is_named() -> None:
    with pytest.raises(EtudeError, match="collapsed"):
        refuse_collapsed(np.ones((5, 3)) + 1e-3 * np.random.default_rng(0).normal(size=(5, 3)), 25)
    refuse_collapsed(np.eye(3), 25)


def test_fewer_rows_than_a_batch_are_refused(tiny) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EtudeError, match="fewer than one batch of 8"):
        fit_encoder(str(tiny("llama")), triples(4), TrainConfig(kind="static", **SMALL))  # type: ignore[arg-type]
    with pytest.raises(EtudeError, match="batch size 1"):
        TrainConfig(batch_size=1)


SCRIPT = """
import sys
from pathlib import Path
from etude.methods.semcsr import train
train(Path(sys.argv[1]), encoder=sys.argv[2], dev=(Path(sys.argv[3]),), batch_size=8, dimension=16, steps=400,
      eval_every=10, seed=1, phi=2.0, out=Path(sys.argv[4]))
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(tiny, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from etude.data import write_records

    write_triples(tmp_path / "t.jsonl", triples(40))
    write_records(tmp_path / "dev.jsonl", pairs())
    (tmp_path / "run.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src"), "OMP_NUM_THREADS": "1"}

    def command(name: str) -> list[str]:
        files = [
            tmp_path / "run.py",
            tmp_path / "t.jsonl",
            tiny("llama"),
            tmp_path / "dev.jsonl",
            tmp_path / name,
        ]
        return [sys.executable, *map(str, files)]

    subprocess.run(command("whole"), env=environment, check=True, capture_output=True)
    running = subprocess.Popen(command("killed"), env=environment, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "killed.run").glob("fit/checkpoint-*/complete")):
        time.sleep(0.02)
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "killed").exists()
    subprocess.run(command("killed"), env=environment, check=True, capture_output=True)
    one, other = (
        np.array(SentenceTransformer(str(tmp_path / name)).encode(sentences(5)))
        for name in ("whole", "killed")
    )
    assert np.array_equal(one, other)
