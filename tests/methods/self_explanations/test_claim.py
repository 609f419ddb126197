"""The claim: its data, its arms, and (slow) the whole of it with a real model on a few texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.self_explanations import claim as module
from etude.methods.self_explanations.claim import claim
from etude.methods.self_explanations.demo import demo


def test_a_claim_without_its_data_says_what_it_needs(tmp_path):
    with pytest.raises(EtudeError, match=r"positive-words\.txt") as caught:
        claim(data=tmp_path)
    assert "opinion_lexicon" in caught.value.hint
    with pytest.raises(EtudeError, match=r"mctest/mc500\.dev\.tsv"):
        claim(scale="paper", model="openai/some-model", data=tmp_path)


def test_the_paper_scale_has_the_papers_data_sets_types_and_orderings(shared_data):
    built = claim(scale="paper", model="openai/some-model", data=shared_data("self-explanations"))
    names = [arm.name for arm in built.arms]
    for data_set in ("IMDB", "bAbI-1", "MCTest", "RTE"):
        for said in ("counterfactual", "attribution", "redaction", "random, as redaction"):
            assert f"{data_set}: {said}" in names
    assert [part.name for part in built.parts] == ["A", "B", "C", "D"]


@pytest.mark.slow
def test_the_claim_runs_with_a_real_model_and_never_hides_an_arm(tmp_path, shared_data, monkeypatch):
    budget = replace(module.BUDGETS["laptop"], limit=8)
    monkeypatch.setitem(module.BUDGETS, "laptop", budget)
    monkeypatch.setattr(module, "TEXTS", 200)
    evidence = run_claim(claim(data=shared_data("self-explanations"), seeds=(5,)), tmp_path)
    assert evidence.verdicts["A"] == evidence.verdicts["B"] == "holds"
    assert evidence.verdicts["C"] in ("holds", "fails", "not shown")
    assert not any(arm.errors for arm in evidence.arms)


@pytest.mark.slow
def test_the_demo_shows_instruments_and_a_real_model(tmp_path):
    shown = demo(tmp_path)
    assert "1.00 and 0.00" in shown.headline
