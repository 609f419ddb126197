"""Affect: EmoBank, the head on it, lexicons with their licences, a chat model that may say anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.conspemollm import AffectAnnotator, AffectSettings, lexicons
from etude.methods.conspemollm.affect_tasks import (
    affect_instructions,
    ordinal,
    read_affect_instructions,
    read_feelings,
    read_intensity,
    read_ordinal,
    shuffle_answers,
    unit,
)
from etude.methods.conspemollm.annotator import VAD_COLUMNS, verbalize
from etude.methods.conspemollm.emobank import document_of, read_emobank
from etude.methods.conspemollm.llm_affect import LLM_COLUMNS, llm_affect
from etude.methods.conspemollm.tone_shift import rewrite, swap_words
from etude.methods.conspemollm.vad_head import VadHead, train_vad_head
from etude.models import chat_model, load_encoder, register_scripted


def test_rows_without_a_word_are_left_out_and_counted(emobank):
    splits = read_emobank(emobank)
    assert len(splits["train"]) == 48 and splits["train"].left_out == 2 and len(splits["dev"]) == 12


def test_a_rating_off_the_scale_is_named(emobank):
    emobank.write_text(emobank.read_text().replace(",4.5,", ",6.5,", 1))
    with pytest.raises(EtudeError, match=r"emobank.csv:2: V"):
        read_emobank(emobank)


def test_without_emobank_it_is_said_where_to_get_it(tmp_path):
    with pytest.raises(EtudeError, match="JULIELab/EmoBank"):
        read_emobank(tmp_path / "nothing.csv")
    with pytest.raises(EtudeError, match="EmoBank"):
        AffectAnnotator(AffectSettings(("vad",)))


@pytest.mark.parametrize("kind", ["ridge", "mlp"])
def test_a_head_learns_ratings_and_is_stored_as_plain_arrays(emobank, tmp_path, kind):
    splits = read_emobank(emobank)
    encoder = load_encoder("minilm")
    head = train_vad_head(encoder, splits["train"], splits["dev"], kind=kind)
    assert head.quality["valence"] > (0.8 if kind == "ridge" else 0.3)
    vectors = encoder.encode(["A lovely day.", "An awful day."])
    said = head.ratings(vectors)
    assert said.shape == (2, 3) and said[0, 0] > said[1, 0] and (said >= 1).all() and (said <= 5).all()
    head.save(tmp_path / "head.safetensors")
    back = VadHead.load(tmp_path / "head.safetensors")
    assert (back.ratings(vectors) == said).all() and back.quality == head.quality


def test_a_head_on_shuffled_ratings_learns_nothing(emobank):
    splits = read_emobank(emobank)
    encoder = load_encoder("minilm")
    wrong = train_vad_head(encoder, splits["train"].shuffled(0), splits["dev"])
    right = train_vad_head(encoder, splits["train"], splits["dev"])
    assert wrong.quality["valence"] < right.quality["valence"] - 0.3


def test_something_else_is_not_a_head(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"junk")
    with pytest.raises(EtudeError, match="not a VAD head"):
        VadHead.load(tmp_path / "x.safetensors")


@given(st.floats(1, 5))
def test_ratings_become_seven_equal_classes(rating):
    assert ordinal(rating) == min(3, int(np.floor((rating - 1) / 4 * 7)) - 3)
    assert 0 <= unit(rating) <= 1


def test_instructions_hold_no_affect_values_but_their_answers_do(emobank):
    sentences = read_emobank(emobank)["train"]
    rows = affect_instructions(sentences)
    assert len(rows) == len(sentences) and len({row.statement for row in rows}) == 4
    assert rows[0].answer == f"{unit(4.5):.3f}" and rows[0].affect == ""
    assert rows[1].answer == "1: slightly positive"  # 3.6
    assert all("0." not in row.text for row in rows)


def test_shuffled_answers_are_the_same_answers_of_the_same_tasks(emobank):
    rows = affect_instructions(read_emobank(emobank)["train"])
    shuffled = shuffle_answers(rows, 1)
    for statement in {row.statement for row in rows}:
        answers = [sorted(r.answer for r in part if r.statement == statement) for part in (rows, shuffled)]
        assert answers[0] == answers[1]
    assert [r.text for r in rows] == [r.text for r in shuffled]
    assert sum(a.answer != b.answer for a, b in zip(rows, shuffled, strict=True)) > len(rows) / 3


def test_affect_examples_of_ones_own_are_read(tmp_path):
    path = tmp_path / "aaid.jsonl"
    path.write_text('{"instruction": "Rate joy. Text: A fine day.", "output": "0.700"}\n')
    (one,) = read_affect_instructions(path)
    assert (one.statement, one.text, one.answer) == ("Rate joy.", "A fine day.", "0.700")


@pytest.mark.parametrize(
    ("said", "value"),
    [("0.312", 0.312), ("about 0.5.", 0.5), ("7", None), ("high", None), ("-0.2", None)],
)
def test_intensities_are_read_or_are_missing(said, value):
    assert read_intensity(said) == value


@pytest.mark.parametrize(
    ("said", "value"), [("-2: rather negative", -2), ("3", 3), ("5", None), ("0.4", None), ("", None)]
)
def test_ordinals_are_read_or_are_missing(said, value):
    assert read_ordinal(said, -3, 3) == value


def test_feelings_are_read_or_are_missing():
    assert read_feelings("Joy; trust.") == ("joy", "trust")
    assert read_feelings("none") == () and read_feelings("hungry") is None


def test_vader_has_the_reference_values_for_one_sentence():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    text = "What an awful, terrible lie!"
    said = dict(zip(lexicons.VADER_COLUMNS, lexicons.vader_scores(text), strict=True))
    true = SentimentIntensityAnalyzer().polarity_scores(text)
    assert (
        said["vader_compound"] == true["compound"] == said["vader_lowest"]
        and said["vader_negative"] == true["neg"]
    )
    assert lexicons.vader_scores("...") == [0.0] * 7


def test_the_nrc_lexicon_is_locked_and_says_why():
    with pytest.raises(EtudeError, match="commercial") as caught:
        AffectAnnotator(AffectSettings(("nrc",)))
    assert "--accept-nrc-licence" in caught.value.hint
    assert AffectSettings().providers == ("lexicon",)


def test_the_nrc_lexicon_without_its_package_says_what_to_install(monkeypatch):
    lexicons._nrc.cache_clear()
    monkeypatch.setattr(lexicons.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EtudeError, match="nrclex") as caught:
        lexicons.require_nrc(True)
    assert "etude[nrc]" in caught.value.hint
    lexicons._nrc.cache_clear()


def test_the_nrc_lexicon_counts_words_when_it_is_here():
    import importlib.util

    if importlib.util.find_spec("nrclex") is None:
        pytest.skip("nrclex is not installed")
    annotator = AffectAnnotator(AffectSettings(("nrc",), accept_nrc_licence=True))
    row = annotator.table(["murder and abandon"])[0]
    assert row["nrc_fear"] == pytest.approx(2 / 3) and row["nrc_joy"] == 0 and annotator.notices


def test_a_chat_models_affect_is_read_and_what_is_not_readable_stays_empty():
    def answer(conversation):
        asked = conversation[-1]["content"]
        if "anger" in asked and "Rate" in asked:
            return "0.900"
        if "Rate" in asked:
            return "I would say quite some" if "fear" in asked else "0.250"
        return "anger; fear" if "Name every feeling" in asked else "-2: rather negative"

    register_scripted("affect-oracle", answer)
    counts: Counter[str] = Counter()
    (row,) = llm_affect(chat_model("affect-oracle"), ["They lie to us."], counts)
    assert set(row) == set(LLM_COLUMNS)
    assert (row["anger"], row["joy"], row["valence_class"], row["fear"]) == (0.9, 0.25, -2, None)
    assert row["feels_fear"] == 1 and row["feels_joy"] == 0 and counts["unread answers"] == 1
    annotator = AffectAnnotator(AffectSettings(("llm",), model="affect-oracle"))
    assert np.isfinite(
        annotator.matrix(["a", "b"])
    ).all()  # as features, what is missing is the column's mean
    with pytest.raises(EtudeError, match="chat model"):
        AffectAnnotator(AffectSettings(("llm",)))


def test_affect_in_words_names_values_on_one_scale():
    values = {
        "valence": 2.24,
        "arousal": 5.0,
        "anger": 0.52,
        "feels_joy": 1.0,
        "feels_fear": 0.0,
        "sadness": None,
    }
    assert verbalize(values) == "valence 0.31, arousal 1.00, anger 0.52, joy"
    assert verbalize({"vader_negative": 0.1}) == "unknown"


def test_columns_and_identity_follow_the_providers(emobank):
    both = AffectAnnotator(AffectSettings(("vad", "lexicon"), emobank=str(emobank)))
    assert both.columns == (*VAD_COLUMNS, *lexicons.VADER_COLUMNS)
    assert both.matrix(["a day", "b"]).shape == (2, 11)
    assert both.identity != AffectAnnotator(replace(both.settings, head="mlp")).identity
    with pytest.raises(EtudeError, match="no affect provider"):
        AffectAnnotator(AffectSettings(()))


def test_words_are_swapped_and_the_claim_stays():
    neutral = swap_words("They LIE! Evil men hide the cure.", "neutral")
    assert (
        neutral.changed == 3
        and "cure" in neutral.text
        and "Planned men keep" in neutral.text
        and "!" not in neutral.text
    )
    assert lexicons.vader_scores(swap_words("An awful, terrible lie.", "positive").text)[3] > 0.5


def test_rewrites_that_change_the_meaning_are_marked():
    register_scripted("kind-writer", lambda c: "A friendly version." if "good" in c[-1]["content"] else "")
    register_scripted("strict-judge", lambda c: "No." if "good b" in c[-1]["content"] else "yes")
    found = rewrite(
        chat_model("kind-writer"), ["good a", "good b", "bad"], "positive", chat_model("strict-judge")
    )
    assert [(one.text, one.same_meaning) for one in found] == [
        ("A friendly version.", True),
        ("A friendly version.", False),
        (None, None),
    ]


@pytest.mark.slow
def test_the_head_reaches_the_known_correlations_on_emobank(shared_data):
    splits = read_emobank(next(shared_data("conspemollm").glob("emobank*.csv")))
    assert {len(splits["train"]), len(splits["dev"])} <= {8062, 1000, *range(7900, 8062), *range(980, 1000)}
    head = train_vad_head(load_encoder("minilm"), splits["train"].sample(3000, 0), splits["dev"])
    assert head.quality["valence"] > 0.5 and head.quality["arousal"] > 0.3
    assert document_of(splits["train"].ids[0]) == "110CYL068"
