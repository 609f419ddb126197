"""The claim: folds by video, intervals against closed forms, verdicts three ways; the demo."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.evidence import Evidence, Measurement, run_claim
from etude.evidence.evidence import ArmResult
from etude.methods.tmpt import claim as study
from etude.methods.tmpt.settings import TMPTConfig, Training


def evidence_of(**arms: list[np.ndarray]) -> Evidence:
    """Arms with given counts, (videos, C * C), for each seed."""
    results = [
        ArmResult(name, True, {s: Measurement({}, {"counts": c.tolist()}) for s, c in enumerate(counts)})
        for name, counts in arms.items()
    ]
    return Evidence("tmpt", "", (), results, {}, tuple(range(len(next(iter(arms.values()))))))


def counts_of(right: float, rng: np.random.Generator, videos: int = 40) -> np.ndarray:
    """Counts of a model that is right with a given probability, ten rows a label and video."""
    found = np.zeros((videos, 3, 3), dtype=int)
    for label in range(3):
        hits = rng.binomial(10, right, videos)
        found[:, label, label] = hits
        found[:, label, (label + 1) % 3] = 10 - hits
    return found.reshape(videos, 9)


def test_a_video_is_never_in_training_and_test() -> None:
    videos = [f"v{i // 7}" for i in range(140)]
    tested: list[int] = []
    for train, test in study.by_video(videos, 5, seed=3):
        assert not {videos[i] for i in train} & {videos[i] for i in test}
        tested += test.tolist()
    assert sorted(tested) == list(range(140))
    folds = [tuple(test) for _, test in study.by_video(videos, 5, seed=4)]
    assert folds != [tuple(test) for _, test in study.by_video(videos, 5, seed=3)]


def test_a_difference_is_the_difference_of_f1_and_equal_arms_differ_by_nothing() -> None:
    rng = np.random.default_rng(0)
    good, bad = [counts_of(0.9, rng) for _ in range(3)], [counts_of(0.5, rng) for _ in range(3)]
    evidence = evidence_of(good=good, bad=bad)
    found = study.difference(evidence, "good", "bad")
    by_hand = np.mean(
        [study.overall(g.sum(0).reshape(3, 3))[0] - study.overall(b.sum(0).reshape(3, 3))[0]
         for g, b in zip(good, bad, strict=True)]
    )  # fmt: skip
    assert found.value == pytest.approx(by_hand)
    assert found.low < by_hand < found.high
    same = study.difference(evidence, "good", "good")
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_verdicts_fall_three_ways() -> None:
    rng = np.random.default_rng(1)
    arms = {n: [counts_of(p, rng) for _ in range(3)] for n, p in (("a", 0.8), ("b", 0.5), ("c", 0.795))}
    evidence = evidence_of(**arms)
    better = [study._better(*pair).check(evidence)[0] for pair in (("a", "b"), ("b", "a"), ("a", "c"))]
    assert better == [True, False, None]
    wide = evidence_of(**{study.SHUFFLED: arms["c"], study.TEXT: arms["a"]})
    assert study._falls_back().check(wide)[0] is None
    many = [[counts_of(0.8, rng, videos=800) for _ in range(3)] for _ in range(2)]
    narrow = evidence_of(**{study.SHUFFLED: many[0], study.TEXT: many[1]})
    assert study._falls_back().check(narrow)[0] is True
    far = evidence_of(**{study.SHUFFLED: arms["b"], study.TEXT: arms["a"]})
    assert study._falls_back().check(far)[0] is False
    with pytest.raises(KeyError):
        study.difference(replace(evidence, seeds=(0, 1, 2, 9)), "a", "b")


def test_without_its_data_the_claim_says_what_it_needs(tmp_path: Path) -> None:
    for data in (None, tmp_path):
        with pytest.raises(EtudeError, match="this claim needs multiclimate_train"):
            study.claim(data=data)


def test_every_arm_runs_on_every_seed_and_video(
    shared_data: Callable[[str], Path], tmp_path: Path, tiny_bert: str, tiny_cnn: str
) -> None:
    config = TMPTConfig(text_tuning="frozen", width=8, adapter_width=8, adapter_heads=2, image_size=32)
    budget = study.Budget(60, 2, tiny_cnn, config, Training(epochs=1))
    made = study.claim_on(budget, scale="laptop", data=shared_data("tmpt"), seeds=(1, 2), text=tiny_bert)
    evidence = run_claim(made, tmp_path / "claim")
    assert evidence.arms[0].name == study.MAJORITY
    assert len(evidence.arms) == 7
    for arm in evidence.arms:
        assert not arm.errors
        assert len(arm.measurements) == (1 if arm.name == study.MAJORITY else 2)
        for measurement in arm.measurements.values():
            counts = np.array(measurement.facts["counts"])
            assert counts.shape == (90, 9)
            assert counts.sum() == len(study._frames(tuple(shared_data("tmpt") / f for f in study.FILES), 60))
    by_label = [
        np.array(a.measurements[1].facts["counts"]).sum(0).reshape(3, 3).sum(1) for a in evidence.arms
    ]
    assert all((row == by_label[0]).all() for row in by_label), "all arms are asked about the same rows"
    assert set(evidence.verdicts) == {"fusion", "plain fusion", "picture", "target phrase", "shuffled images"}
    assert "TMPT against every arm" in (tmp_path / "claim" / "report.html").read_text()


@pytest.mark.slow
def test_the_demo_shows_that_the_target_decides(tmp_path: Path) -> None:
    from etude.methods.tmpt.demo import demo

    shown = demo(tmp_path)
    answers, arms = (block.rows for block in shown.came_out)  # type: ignore[union-attr]
    assert len(answers) == 6
    scores = {row[0]: row[1] for row in arms}
    assert scores["tmpt"] > scores["majority"] + 20
