"""Both families, all routes and controls, on small models: what is trained, saved, refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from etude.errors import EtudeError
from etude.methods.conspemollm import ConspEmo, Settings, StageSettings
from etude.methods.conspemollm.adapters import PROJECTIONS, make_trainable
from etude.methods.conspemollm.annotator import AffectSettings
from etude.methods.conspemollm.emobank import read_emobank
from etude.methods.conspemollm.synthetic import synthetic_builder
from etude.methods.conspemollm.vectors import give_pad_token, text_vectors
from etude.models import load_causal_lm, load_encoder

SHORT = StageSettings(steps=4, learning_rate=5e-3, pack_tokens=256, batch_size=4)
CAUSAL = Settings(tuning="lora", stage_a=SHORT, stage_b=SHORT, affect_rows=16)
TEXTS = [("a", "They hide the cheap cure."), ("b", "A choir meets on Tuesday."), ("c", "   ")]


@pytest.fixture(scope="module")
def articles():
    return [one for one in synthetic_builder().examples(dev=0, test=0.3) if one.task == "judgment"]


def test_lora_sits_on_all_seven_projections_of_every_layer(tiny_lm):
    lm = load_causal_lm(str(tiny_lm))
    make_trainable(lm.model, "lora", 0)
    trained = {name for name, p in lm.model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * len(PROJECTIONS) * 2  # layers x projections x (A, B)
    assert {name.split(".")[4] for name in trained} == set(PROJECTIONS)


def test_the_last_two_layers_alone_are_trained(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder))
    make_trainable(encoder.model, "last2", 0)
    trained = {name.split(".")[2] for name, p in encoder.model.named_parameters() if p.requires_grad}
    assert trained == {"1", "2"}


@pytest.mark.parametrize(
    ("route", "shuffled"),
    [("none", False), ("affect-base", False), ("affect-base", True), ("affect-prompt", False)],
)
def test_a_language_model_trains_on_every_route_and_comes_back_as_it_was(
    tiny_lm, emobank, tmp_path, articles, route, shuffled
):
    settings = replace(CAUSAL, model=str(tiny_lm), route=route, shuffle_affect=shuffled)
    detector = ConspEmo(settings=settings)
    sentences = read_emobank(emobank)["train"] if route == "affect-base" else None
    report = detector.fit(articles, out=tmp_path / "run", sentences=sentences)
    assert (report.stage_a is not None) == (route == "affect-base") and report.stage_b.steps == 4
    assert report.stage_b.last_loss < report.stage_b.first_loss
    found = detector.predict(TEXTS)
    assert found["label"].to_list()[2] == "invalid" and found["p_conspiracy"].to_list()[2] is None
    assert set(found["label"][:2]) <= {"0. non-conspiracy", "1. conspiracy"}
    assert ("vader_compound" in found.columns) == (route == "affect-prompt")
    assert ConspEmo.load(tmp_path / "run").predict(TEXTS).equals(found)


def test_stage_b_of_all_three_arms_takes_the_same_steps_and_other_weights(
    tiny_lm, emobank, tmp_path, articles
):
    sentences = read_emobank(emobank)["train"]
    weights = {}
    for name, route, shuffled in (
        ("plain", "none", False),
        ("affect", "affect-base", False),
        ("shuffled", "affect-base", True),
    ):
        detector = ConspEmo(
            settings=replace(CAUSAL, model=str(tiny_lm), route=route, shuffle_affect=shuffled)
        )
        report = detector.fit(articles, out=tmp_path / name, sentences=sentences)
        assert report.stage_b.steps == 4
        weights[name] = detector.revision
    assert len(set(weights.values())) == 3


def test_the_prompt_holds_affect_values_only_on_route_affect_prompt(tiny_lm, articles):
    plain = ConspEmo(settings=replace(CAUSAL, model=str(tiny_lm)))
    told = ConspEmo(settings=replace(CAUSAL, model=str(tiny_lm), route="affect-prompt"))
    assert all(row.affect == "" for row in plain.instructions(articles))
    lines = [row.affect for row in told.instructions(articles)]
    assert all(line.startswith("tone ") for line in lines)
    control = ConspEmo(settings=replace(told.settings, shuffle_affect=True))
    shuffled = [row.affect for row in control.instructions(articles)]
    assert sorted(shuffled) == sorted(lines) and shuffled != lines


@pytest.mark.parametrize("long", ["cut", "mean", "max"])
def test_texts_beyond_the_context_are_cut_or_read_in_chunks(tiny_lm, long):
    detector = ConspEmo(settings=replace(CAUSAL, model=str(tiny_lm), long=long, max_length=160))
    text = "The men hide the cure. " * 80
    ((label,), each) = detector.probabilities([text], "judgment")
    assert label in ((0,), (1,)) and each.sum() == pytest.approx(1)
    longer = detector.probabilities([text + "The choir sings. " * 80], "judgment")[1]
    assert bool((longer == each).all()) == (long == "cut")  # what was cut off cannot matter


def test_theories_are_lists_and_relatedness_wants_a_theory(tiny_lm):
    detector = ConspEmo(tasks=("theory-type",), settings=replace(CAUSAL, model=str(tiny_lm)))
    labels, each = detector.probabilities(["They hide the cure.", "A choir."], "theory-type")
    assert each.shape == (2, 12) and (each >= 0).all() and (each <= 1).all()
    for label, row in zip(labels, each, strict=True):
        assert label == tuple(np.flatnonzero(row > 0.5))
    with pytest.raises(EtudeError, match="asks about a theory"):
        detector.probabilities(["x"], "relatedness")


@pytest.mark.parametrize("tuning", ["head", "last2", "lora", "full"])
def test_an_encoder_trains_by_every_tuning_and_comes_back_as_it_was(tiny_encoder, tmp_path, articles, tuning):
    settings = Settings(model=str(tiny_encoder), tuning=tuning, stage_b=SHORT)
    detector = ConspEmo(settings=settings)
    before = {name: p.clone() for name, p in load_encoder(str(tiny_encoder)).model.named_parameters()}
    report = detector.fit(articles, out=tmp_path / "run")
    assert (report.stage_b is None) == (tuning == "head")
    moved = any(
        not torch.equal(p, before[n])
        for n, p in detector.encoder.encoder.model.named_parameters()
        if n in before
    )
    assert moved == (tuning != "head")
    found = detector.predict(TEXTS)
    again = ConspEmo.load(tmp_path / "run").predict(TEXTS)
    assert np.allclose(found["p_conspiracy"][:2], again["p_conspiracy"][:2], atol=1e-6)


def test_stage_a_moves_the_encoder_and_its_control_moves_it_elsewhere(
    tiny_encoder, emobank, tmp_path, articles
):
    sentences = read_emobank(emobank)["train"]
    vectors = []
    for name, shuffled in (("affect", False), ("control", True)):
        settings = Settings(
            model=str(tiny_encoder), route="affect-base", shuffle_affect=shuffled, stage_a=SHORT
        )
        detector = ConspEmo(settings=settings)
        assert detector.fit(articles, out=tmp_path / name, sentences=sentences).stage_a.steps == 4
        vectors.append(detector.encoder.features(["They hide it."], None))
    plain = ConspEmo(settings=Settings(model=str(tiny_encoder))).encoder.features(["They hide it."], None)
    assert not np.allclose(vectors[0], plain, atol=1e-5) and not np.allclose(*vectors, atol=1e-6)


def test_affect_features_stand_beside_the_vector_and_travel_with_the_detector(
    tiny_encoder, emobank, tmp_path, articles
):
    affect = AffectSettings(("lexicon", "vad"), emobank=str(emobank))
    detector = ConspEmo(str(tiny_encoder), "affect-features", settings=Settings(affect=affect))
    detector.fit(articles, out=tmp_path / "run")
    assert detector.encoder.heads["judgment"].weights.shape == (32 + 11, 2)
    found = detector.predict(TEXTS)
    assert {"valence", "vader_compound"} <= set(found.columns)
    emobank.unlink()  # the head was saved with the detector
    assert ConspEmo.load(tmp_path / "run").predict(TEXTS).equals(found)


def test_the_control_of_affect_features_has_values_of_other_texts(tiny_encoder):
    settings = Settings(model=str(tiny_encoder), route="affect-features")
    texts = ["An awful lie.", "A lovely day.", "A plain stone.", "Terrible, horrible evil."]
    right = ConspEmo(settings=settings).affect_matrix(texts)
    wrong = ConspEmo(settings=replace(settings, shuffle_affect=True, seed=1)).affect_matrix(texts)
    assert sorted(map(tuple, right)) == sorted(map(tuple, wrong))
    assert not (right == wrong).all(1).any()  # no text keeps its own


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"route": "affect-features", "tuning": "lora"}, "needs an encoder"),
        ({"tuning": "head"}, "for encoders"),
        ({"tuning": "lora", "shuffle_affect": True}, "no affect to shuffle"),
    ],
)  # fmt: skip
def test_what_a_language_model_cannot_do_is_refused(tiny_lm, settings, message):
    with pytest.raises(EtudeError, match=message):
        ConspEmo(settings=Settings(model=str(tiny_lm), **settings))


def test_an_encoder_has_no_prompt(tiny_encoder):
    with pytest.raises(EtudeError, match="needs a language model"):
        ConspEmo(str(tiny_encoder), "affect-prompt")


def test_stage_a_without_affect_examples_is_refused(tiny_lm, tmp_path, articles):
    detector = ConspEmo(settings=replace(CAUSAL, model=str(tiny_lm), route="affect-base"))
    with pytest.raises(EtudeError, match="nothing to learn affect from"):
        detector.fit(articles, out=tmp_path / "run")


def test_a_tokenizer_without_a_padding_token_gets_one(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder))
    same = text_vectors(encoder, ["one text", "another, longer text"], keep=False)
    encoder.tokenizer.pad_token = None
    assert np.allclose(
        text_vectors(encoder, ["one text", "another, longer text"], keep=False), same, atol=1e-6
    )

    class Bare:
        pad_token = eos_token = unk_token = cls_token = None

    with pytest.raises(EtudeError, match="no padding"):
        give_pad_token(Bare())


def test_long_texts_are_pooled_over_their_chunks(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder))
    text = " ".join(["hide"] * 62 + ["choir"] * 62)
    cut, mean, high = (text_vectors(encoder, [text], how, keep=False)[0] for how in ("cut", "mean", "max"))
    parts = encoder.encode([" ".join(["hide"] * 62), " ".join(["choir"] * 62)])
    assert np.allclose(cut, parts[0], atol=1e-5) and np.allclose(mean, parts.mean(0), atol=1e-5)
    assert np.allclose(high, parts.max(0), atol=1e-5)


def test_another_wording_or_another_base_is_not_mixed_up(tiny_encoder, tmp_path, articles):
    import json

    ConspEmo(str(tiny_encoder)).fit(articles, out=tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "detector.json").read_text())
    for change, message in (({"wording": "older"}, "wording"), ({"base_revision": "x"}, "not the model")):
        (tmp_path / "run" / "detector.json").write_text(json.dumps({**stored, **change}))
        with pytest.raises(EtudeError, match=message):
            ConspEmo.load(tmp_path / "run")
