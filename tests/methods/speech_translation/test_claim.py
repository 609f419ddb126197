"""The claim's task against its definition, and its verdicts on made-up arms."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.evidence import Measurement
from etude.evidence.evidence import ArmResult, Evidence
from etude.evidence.verdict import settle
from etude.methods.speech_translation.claim import claim
from etude.methods.speech_translation.claim_arms import CASCADES, CONTENT, FIXED, METRIC, TOPLINE
from etude.methods.speech_translation.spoken_numbers import (
    digit_words,
    english,
    german,
    join_digits,
    number_split,
    prepare_numbers,
)

from .conftest import tone


def test_numbers_are_read_digit_by_digit_and_written_as_german_words() -> None:
    assert english(372) == "three seven two"
    assert german(372) == "dreihundertzweiundsiebzig"


@pytest.mark.parametrize("heard", ["372", "3, 7, 2.", " Three seven two", "3-7-2", "three 72"])
def test_what_a_recognizer_heard_is_the_same_in_any_spelling(heard: str) -> None:
    assert digit_words(heard) == "three seven two"


def test_test_numbers_are_unseen() -> None:
    learned, unseen = number_split()
    assert (len(learned), len(unseen)) == (720, 180)
    assert sorted([*learned, *unseen]) == list(range(100, 1000))


def test_digits_are_joined_with_gaps_of_50_ms() -> None:
    one, two = tone(0.2), tone(0.3)
    joined = join_digits([one, two])
    assert len(joined) == len(one) + len(two) + 800
    assert not joined[len(one) : len(one) + 800].any()
    np.testing.assert_array_equal(joined[-len(two) :], two)


def test_the_test_speaker_is_unseen(shared_data) -> None:
    task = prepare_numbers(shared_data("speech-translation"), train=20)
    assert (len(task.train), len(task.dev), len(task.test)) == (20, 40, 180)
    assert {u.speaker for u in task.test} == {"theo"}
    assert "theo" not in {u.speaker for u in [*task.train, *task.dev]}
    assert {u.translation for u in task.test}.isdisjoint(german(n) for n in task.numbers)
    assert {u.translation for u in task.dev} <= {german(n) for n in task.numbers}
    assert all(u.transcript and u.reference.path.is_file() for u in task.test)


def test_without_data_the_claim_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="no --data folder"):
        claim()
    with pytest.raises(EtudeError, match=r"lacks fsdd_segments\.csv"):
        claim(data=tmp_path)


def evidence(means: dict[str, float], tmp_path: Path) -> dict[str, str]:
    """Verdicts of the claim on arms with these mean scores."""
    (tmp_path / "fsdd_segments.csv").write_text("file\n")
    made = claim(data=tmp_path)
    draw = np.random.default_rng(0)
    arms = []
    for arm in made.arms:
        runs = {}
        for seed in (0, 1, 2):
            values = means[arm.name] + draw.normal(0, 2, 60)
            scores = {METRIC: {f"u{i}": float(v) for i, v in enumerate(values)}}
            scores["exact"] = dict.fromkeys(scores[METRIC], 0.0)
            scores["chrF, other audio"] = dict.fromkeys(scores[METRIC], 20.0)
            runs[seed] = Measurement(scores, {"speech tokens": 10.0})
        arms.append(ArmResult(arm.name, True, runs))
    found = Evidence("speech-translation", "", (), arms, made.metrics, (0, 1, 2))
    assert made.blocks is not None
    steps, _ = made.blocks(found)
    means_of = [means[name] for name in FIXED]
    for row, (a, b), halvings in zip(steps.rows, pairwise(means_of), (2.0, 0.32, 0.68, 1.0), strict=True):
        assert row[1] == pytest.approx(halvings, abs=0.01)
        assert row[2] == pytest.approx(a - b, abs=1.5) and row[3] == pytest.approx(row[2] / row[1])
    return {part.name: part.verdict for part in settle(made, found)}


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import etude.methods.speech_translation.claim as module

    monkeypatch.setattr(module, "speech_directory", lambda name: Path(name))
    monkeypatch.setattr(module, "model_revision", lambda path: "x")


@pytest.mark.slow  # bootstraps of all contrasts, twice
def test_every_question_can_fall_either_way(no_weights: None, tmp_path: Path) -> None:
    falling = dict(zip(FIXED, (90.0, 70.0, 65.0, 60.0, 40.0), strict=True))
    other = {"ctc, no head stage": 94.0, "cif": 50.0}
    good = {TOPLINE: 92.0, **falling, "ctc": 96.0, **other, **dict.fromkeys(CASCADES, 80.0)}
    assert set(evidence(good, tmp_path).values()) == {"holds"}
    rising = dict(zip(FIXED, (60.0, 62.0, 62.5, 63.0, 66.0), strict=True))
    bad = {TOPLINE: 99.0, **rising, **dict.fromkeys(CONTENT, 30.0), **dict.fromkeys(CASCADES, 98.0)}
    verdicts = evidence(bad, tmp_path)
    assert verdicts.pop("control") == "holds"
    assert set(verdicts.values()) == {"fails"}
    assert set(CONTENT) == {"ctc", "ctc, no head stage", "cif"}
