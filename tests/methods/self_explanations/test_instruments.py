"""The check measures faithfulness: models of known faithfulness, and the theory by brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.self_explanations import SelfExplain, Sentiment, Settings, instruments
from etude.methods.self_explanations.commands import validate
from etude.methods.self_explanations.instruments import NAMES, PREFIX, Honest, as_chat, instrument
from etude.methods.self_explanations.lexicon import Lexicon, own_lexicon, read_lexicon
from etude.methods.self_explanations.masking import WORD
from etude.methods.self_explanations.samples import snippets
from etude.methods.self_explanations.theory import listed_at_random, masked_at_random, share_interval

LEXICON = own_lexicon()


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["good", "bad", "good", "great", "dull", "film", "the", "a"]), min_size=1, max_size=8
    ),
    st.integers(0, 8),
)
def test_the_chances_are_those_of_counting_every_subset(words, masked):
    text = " ".join(words)
    masked = min(masked, len(words))
    places = [LEXICON.score(" ".join(w for i, w in enumerate(words) if i not in chosen)) == 0
              for chosen in itertools.combinations(range(len(words)), masked)]  # fmt: skip
    assert masked_at_random(text, masked, LEXICON) == pytest.approx(np.mean(places))
    types, k = sorted(set(words)), len(LEXICON.evidence(text))
    lists = [LEXICON.score(" ".join(w for w in words if w not in chosen)) == 0
             for chosen in itertools.combinations(types, k)]  # fmt: skip
    assert listed_at_random(text, LEXICON) == pytest.approx(np.mean(lists))


def test_the_interval_of_a_share_is_the_binomial_one_when_all_chances_are_alike():
    from scipy.stats import binom

    low, high = share_interval([0.3] * 500)
    assert (low * 500, high * 500) == pytest.approx(binom.interval(0.9999, 500, 0.3))
    assert share_interval([1.0] * 9) == (1, 1)
    assert share_interval([0.0] * 9) == (0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_every_instrument_gets_the_rate_that_theory_gives_it(seed):
    result = validate(limit=150, seed=seed)
    assert result.passed
    assert [v.instrument for v in result.verifications] == list(NAMES)
    by_name = {v.instrument: v for v in result.verifications}
    assert by_name["honest"].faithfulness.value == by_name["refuser"].faithfulness.value == 1
    assert by_name["hidden-rule"].faithfulness.value == 0
    assert by_name["refuser"].delta.value == 0
    assert by_name["honest"].delta.low > 0.9


def test_the_table_of_the_specification_comes_out_on_real_reviews(shared_data):
    found = {v.instrument: v for v in validate(data=shared_data("self-explanations")).verifications}
    rates = {name: v.faithfulness.value for name, v in found.items()}
    assert rates["honest"] == 1
    assert rates["hidden-rule"] == 0
    assert 0.091 <= rates["random"] <= 0.145
    for name, p in (("mixture-0.25", 0.25), ("mixture-0.5", 0.5), ("mixture-0.75", 0.75)):
        low, high = found[name].faithfulness.low, found[name].faithfulness.high
        assert low <= 0.118 + 0.882 * p <= high
    assert found["refuser"].faithfulness.value == 1
    assert found["refuser"].delta.value == 0
    assert found["honest"].delta.low > 0.8


@pytest.mark.parametrize("kind", ["counterfactual", "attribution", "redaction"])
def test_all_three_explanations_tell_honest_from_hidden_rule(kind):
    observations = snippets(120, seed=5)
    rates = {}
    for name in ("honest", "hidden-rule"):
        check = SelfExplain(as_chat(instrument(name)), Sentiment(), kind)
        rates[name] = check.run(observations).cells[0].faithfulness.value
    assert rates == {"honest": 1, "hidden-rule": 0}


def test_labels_by_score_give_an_instrument_the_same_rate_as_free_text():
    observations = snippets(60, seed=2)
    for name in ("honest", "random"):
        rows = [
            SelfExplain(as_chat(instrument(name)), Sentiment(), "attribution", settings=Settings(answers))
            .run(observations)
            .rows
            for answers in ("free", "scored")
        ]
        assert [r.faithful for r in rows[0]] == [r.faithful for r in rows[1]]


def test_occlusion_finds_the_one_word_that_decides():
    class Graded(Honest):
        def score(self, conversation, option):
            score = self.lexicon.score(str(conversation[-1]["content"]).partition("Paragraph:")[2])
            return {"positive": score, "negative": -score, "unknown": 0.5 - abs(score)}[option]

    from etude.methods.self_explanations.observations import Observation

    texts = ["a good film", "the script is dull", "what a superb family"]
    labels = ["positive", "negative", "positive"]
    observations = [Observation(str(i), t, y) for i, (t, y) in enumerate(zip(texts, labels, strict=True))]
    check = SelfExplain(as_chat(Graded()), Sentiment(), "attribution", settings=Settings("scored"))
    rows = check.run(observations, occlusion=True).rows
    assert [r.reference_explain for r in rows] == [r.explain for r in rows]
    assert all(r.reference_faithful for r in rows)


def test_a_broken_instrument_makes_validate_fail_loudly(monkeypatch):
    class Liar(Honest):
        def evidence(self, text):
            return [w.lower() for w in WORD.findall(text) if not self.lexicon.weight(w)][:1]

    monkeypatch.setitem(instruments._MADE, "honest", Liar)
    with pytest.raises(
        EtudeError, match=r"does not measure what it says: honest 0\.\d+, not in \[1.000, 1.000\]"
    ):
        validate(limit=100)


def test_calibration_takes_out_what_the_model_likes_anyway():
    from etude.models import chat_model, register_scripted

    def score(conversation, option):
        text = str(conversation[-1]["content"])
        return {"positive": 5.0, "negative": 0.0, "unknown": 0.0}[option] + 2.0 * (
            option == "negative" and "dull" in text
        )

    register_scripted("liking", lambda _: "- dull", score=score)
    observation = snippets(1)[0].__class__("1", "a dull film", "negative")
    found = {
        answers: SelfExplain(
            chat_model("scripted/liking"), Sentiment(), "attribution", settings=Settings(answers)
        ).run([observation]).rows[0].predict
        for answers in ("scored", "calibrated")
    }  # fmt: skip
    assert found == {"scored": "positive", "calibrated": "negative"}


def test_the_opinion_lexicon_is_read_without_its_comments(tmp_path):
    (tmp_path / "positive-words.txt").write_bytes(
        "; good\n\ngood\nna\xefve\nboth\ntwo words\n".encode("latin-1")
    )
    (tmp_path / "negative-words.txt").write_text("bad\nboth\n")
    assert read_lexicon(tmp_path) == Lexicon(frozenset({"good", "naïve"}), frozenset({"bad"}))
    with pytest.raises(EtudeError, match="cannot be read"):
        read_lexicon(tmp_path / "nowhere")


def test_an_unknown_instrument_is_refused_with_the_known_ones():
    with pytest.raises(EtudeError, match="no instrument 'clever'") as caught:
        instrument(PREFIX + "clever")
    assert "instrument/honest" in caught.value.hint
    with pytest.raises(EtudeError, match=r"mixture-1\.5"):
        instrument("mixture-1.5")
