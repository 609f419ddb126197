"""The figures of an evaluation, against their definitions."""

import copy
import math

import pytest
import torch

from etude.data import Document
from etude.methods.signround.evaluation import DocumentScore, Reference, summarize

TEXT = "A finer general use principle would be nice. " * 6


@pytest.fixture
def documents():
    return [Document(id=str(i), text=TEXT[i:], source="in" if i < 3 else "out") for i in range(5)]


def test_a_model_compared_with_itself_loses_nothing(llama, tokenizer, documents):
    for score in Reference(llama, tokenizer, documents, 32).score(llama):
        assert score.kl == pytest.approx(0, abs=1e-5)
        assert score.agree == score.tokens
        assert score.nll_q == pytest.approx(score.nll_ref, rel=1e-5)


def test_kl_and_perplexity_are_those_of_torch(llama, tokenizer, documents):
    other = copy.deepcopy(llama)
    with torch.no_grad():
        other.model.layers[0].mlp.down_proj.weight.mul_(0.5)
    score = Reference(llama, tokenizer, documents, 32).score(other)[0]
    ids = torch.tensor([tokenizer(documents[0].text, add_special_tokens=False)["input_ids"][:32]])
    with torch.no_grad():
        p, q = llama(ids).logits[0, :-1].log_softmax(-1), other(ids).logits[0, :-1].log_softmax(-1)
        loss = other(ids, labels=ids).loss
    expected = torch.nn.functional.kl_div(q, p, log_target=True, reduction="sum")
    assert score.kl == pytest.approx(float(expected), rel=1e-4)
    assert score.nll_q / score.tokens == pytest.approx(float(loss), rel=1e-4)


def test_sources_are_reported_apart_with_intervals_that_hold_the_figure():
    scores = [
        DocumentScore(str(i), "in" if i < 20 else "out", 10, 20.0, 20.0 + i, i / 10, 9) for i in range(40)
    ]
    found = summarize(scores)
    assert set(found) == {"in", "out"}
    assert found["in"]["ppl_ref"] == pytest.approx(math.exp(2))
    assert found["in"]["kl_ref_q"] == pytest.approx(sum(i / 10 for i in range(20)) / 200)
    assert found["out"]["top1_agreement"] == 0.9
    for figures in found.values():
        low, high = figures["kl_ref_q_ci"]
        assert low < figures["kl_ref_q"] < high
