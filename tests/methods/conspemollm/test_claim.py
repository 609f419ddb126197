"""The claim: what it needs, what it refuses to settle, and that it settles affect on real sentences."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.conspemollm import claim as module
from etude.methods.conspemollm.claim import BUDGETS, Budget, claim
from etude.methods.conspemollm.claim_data import read_claim_data
from etude.methods.conspemollm.claim_stages import StageBudget, split_articles


def test_without_emobank_it_says_what_it_needs(tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(EtudeError, match="emobank") as caught:
            claim(data=folder)
        assert "LOCO.json" in caught.value.hint


def test_loco_without_annotations_is_refused(tmp_path, emobank, loco):
    loco[1].unlink()
    with pytest.raises(EtudeError, match="without annotations"):
        read_claim_data(tmp_path, None)


def test_the_users_loco_is_used_when_it_is_there(tmp_path, emobank, loco):
    found = read_claim_data(tmp_path, 10)
    assert (
        found.real
        and len(found.articles) == 10
        and set(found.hashes) == {"emobank.csv", "LOCO.json", "annotations.csv"}
    )
    loco[0].unlink()
    assert not read_claim_data(tmp_path, None).real


def test_articles_are_halved_by_group_and_alike_for_all_arms(tmp_path, emobank):
    data = read_claim_data(tmp_path, None)
    train, test = split_articles(data, 3)
    assert not {one.group for one in train} & {one.group for one in test}
    assert len(train) + len(test) == 24 and split_articles(data, 3)[0] == train != split_articles(data, 4)[0]


@pytest.mark.slow
def test_a_small_claim_settles_affect_and_leaves_synthetic_detection_open(
    tmp_path, emobank, tiny_lm, monkeypatch
):
    stages = StageBudget(str(tiny_lm), 3, 2, 200, 16, None, 6, 1e-3)
    monkeypatch.setitem(BUDGETS, "laptop", Budget(24, 48, 12, 16, 2, 3, 1, stages))
    (tmp_path / "data").mkdir()
    shutil.copy(emobank, tmp_path / "data" / "emobank.csv")
    evidence = run_claim(claim(data=tmp_path / "data", seeds=(0, 1)), tmp_path / "out")
    assert not any(arm.errors for arm in evidence.arms), [arm.errors for arm in evidence.arms]
    assert {p.name: p.verdict for p in evidence.parts if p.name in "CDE"} == dict.fromkeys("CDE", "not shown")
    assert "settle nothing" in evidence.notes[0]
    assert {f"LM: {name}" for name in module.STAGES} <= {arm.name for arm in evidence.arms}
    plain, affect = evidence.arm("LM: detection only"), evidence.arm("LM: affect, then detection")
    assert plain.fact("stage A steps") == 0 and affect.fact("stage A steps") == 3
    assert plain.fact("stage B steps") == affect.fact("stage B steps") == 2
    folds = evidence.arm("minilm").units("macro-F1")
    assert len(folds) == 3 and np.isfinite(evidence.arm("tfidf+vad").mean("macro-F1"))
    assert len(evidence.tables) >= 3


@pytest.mark.slow
def test_the_claim_on_loco_gives_verdicts_by_interval(tmp_path, emobank, loco, tiny_lm, monkeypatch):
    stages = StageBudget(str(tiny_lm), 2, 2, 200, 16, None, 6, 1e-3)
    monkeypatch.setitem(BUDGETS, "laptop", Budget(24, 48, 12, 16, 2, 3, 2, stages))
    evidence = run_claim(claim(data=tmp_path, seeds=(0,)), tmp_path / "out")
    (part,) = (p for p in evidence.parts if p.name == "C")
    assert all("settle nothing" not in finding.detail for finding in part.findings)
    for finding in part.findings:  # the verdict is what the printed interval says
        low, high = map(float, finding.detail.partition("[")[2].partition("]")[0].split(", "))
        assert finding.verdict == ("holds" if low > 0 else "fails" if high < 0 else "not shown")
