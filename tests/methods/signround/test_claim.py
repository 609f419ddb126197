"""The claim is well formed, says what data it needs, measures every document; the demo keeps its promise."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.signround import claim as module
from etude.methods.signround.claim import METHODS, claim, ratio_growth
from etude.methods.signround.demo import demo
from etude.methods.signround.tuner import RoundingConfig
from etude.models import model_origin


def test_without_its_data_the_claim_says_which_data(tmp_path):
    for data in (None, tmp_path):
        with pytest.raises(EtudeError, match=r"one calib\*\.jsonl and one eval\*\.jsonl"):
            claim(data=data)


def test_every_method_is_an_arm_at_every_width_and_parts_are_kept_apart(shared_data, model_folder):
    built = claim(data=shared_data("signround"))
    names = {arm.name for arm in built.arms}
    assert {f"small w{bits} {method}" for bits in (4, 3, 2) for method in METHODS} <= names
    assert {f"smollm2 w2 {method}" for method in METHODS} <= names
    assert [part.name for part in built.parts] == [
        "small: RTN",
        "small: gap",
        "small: GPTQ, AWQ",
        "smollm2: RTN",
        "smollm2: GPTQ, AWQ",
    ]
    assert any(model_origin("smollm2")["precision"] in note for note in built.notes)
    paper = claim(scale="paper", data=shared_data("signround"), model=model_folder)
    assert {arm.config["contest"]["group_size"] for arm in paper.arms} == {128}
    slow = claim(scale="slow", data=shared_data("signround"))
    assert {arm.config["contest"]["first_blocks"] for arm in slow.arms} == {None}
    assert {arm.name for arm in slow.arms} == {f"smollm2 w{bits} {m}" for bits in (3, 2) for m in METHODS}


def test_a_model_of_ones_own_takes_the_place_of_the_one_trained_here(shared_data, model_folder):
    built = claim(data=shared_data("signround"), model=str(model_folder))
    name = Path(model_folder).name
    assert [part.name for part in built.parts][:3] == [f"{name}: RTN", f"{name}: gap", f"{name}: GPTQ, AWQ"]
    assert {arm.config["contest"]["model"] for arm in built.arms} == {str(model_folder), "smollm2"}


def test_the_growth_of_the_gap_is_the_difference_of_the_two_ratios():
    means = {"a": np.array([2.0, 4.0]), "b": np.array([1.0, 2.0]), "c": np.array([9.0]), "d": np.array([3.0])}
    assert ratio_growth(means, "a", "b", "c", "d") == pytest.approx(3 - 2)


@pytest.mark.slow
def test_an_arm_measures_every_document_of_both_sources(shared_data, monkeypatch, tmp_path):
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path))
    monkeypatch.setitem(module.SMALL, "steps", 20)
    built = claim(data=shared_data("signround"))
    arm = next(arm for arm in built.arms if arm.name == "small w2 gptq")
    found = arm.run(0)
    assert len(found.scores["KL small"]) == 40
    assert all(np.isfinite(value) and value > -1e-5 for value in found.scores["KL small"].values())
    assert {"KL in", "KL out", "ppl in", "ppl out", "block error"} <= set(found.facts)


@pytest.mark.slow
def test_the_demo_shows_three_completions_and_signround_keeps_more(tmp_path):
    shown = demo(tmp_path)
    rows = shown.came_out[0].rows
    assert len(rows) == 3
    assert rows[2][2] < rows[1][2]


def test_the_recipes_are_those_of_the_released_tool():
    from etude.methods.signround.tuner import RECIPES

    assert RECIPES["default"] == RoundingConfig(steps=200, nsamples=128, seqlen=2048, batch_size=8)
    assert dataclasses.replace(RECIPES["best"], steps=200, nsamples=128) == RECIPES["default"]
    assert (RECIPES["light"].steps, RECIPES["light"].lr) == (50, 5e-3)
