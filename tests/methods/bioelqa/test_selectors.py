"""Every selector behind one face: it learns to read a marked option, and is the same after saving."""

import json

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.bioelqa.causal_selector import CausalSelector
from etude.methods.bioelqa.encoder_selector import EncoderSelector
from etude.methods.bioelqa.generator_training import GeneratorSettings
from etude.methods.bioelqa.prompted_selector import PromptedSelector, parse_symbol
from etude.methods.bioelqa.selectors import load_selector, save_selector, selector_class
from etude.methods.bioelqa.seq2seq_selector import Seq2SeqSelector
from etude.methods.bioelqa.symbol_tokens import symbol_tokens
from etude.models import load_tokenizer, register_scripted

from .conftest import marked_questions

KINDS = {"t5": Seq2SeqSelector, "llama": CausalSelector, "bert": EncoderSelector}


def accuracy(selector, questions):
    found = selector.probabilities(questions)
    assert all(np.isclose(shares.sum(), 1, atol=1e-5) for shares in found)
    return np.mean([np.argmax(s) == q.gold for s, q in zip(found, questions, strict=True)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_model_selector_learns_and_is_the_same_after_saving(tiny, tmp_path, kind):
    options = {"rank": 16} if kind == "llama" else {}
    settings = GeneratorSettings(epochs=12, batch_size=16, learning_rate=1e-2 if kind != "bert" else 3e-3)
    selector = KINDS[kind](tiny(kind), settings, device="cpu", **options)
    questions = marked_questions(96)
    facts = selector.fit(questions, out=tmp_path / "checkpoints", seed=0)
    assert facts["steps"] == 72 and facts["loss"] < 1.0
    assert accuracy(selector, questions) > 0.6  # chance is a quarter
    save_selector(selector, tmp_path / "saved")
    loaded = load_selector(tmp_path / "saved")
    before, after = selector.probabilities(questions[:5]), loaded.probabilities(questions[:5])
    assert np.allclose(before, after, atol=1e-4)


def test_a_causal_selector_fitted_again_starts_from_the_base_model(tiny, tmp_path):
    settings, questions = GeneratorSettings(epochs=1, batch_size=8, learning_rate=1e-2), marked_questions(16)
    twice = CausalSelector(tiny("llama"), settings, device="cpu")
    twice.fit(questions, out=tmp_path / "first", seed=1)
    twice.fit(questions, out=tmp_path / "second", seed=0)
    once = CausalSelector(tiny("llama"), settings, device="cpu")
    once.fit(questions, out=tmp_path / "once", seed=0)
    assert np.allclose(twice.probabilities(questions[:4]), once.probabilities(questions[:4]), atol=1e-5)


def test_a_symbol_of_several_tokens_is_refused_at_the_start(tiny, tmp_path):
    selector = CausalSelector(tiny("llama"), GeneratorSettings(symbols="numbers"), device="cpu")
    with pytest.raises(EtudeError, match=r"unknown|tokens"):
        selector.fit(marked_questions(4, options=12), out=tmp_path / "c")
    assert len(set(symbol_tokens(load_tokenizer(tiny("t5")), 26, space=False))) == 26


def test_an_encoder_refuses_more_options_than_it_was_trained_with(tiny, tmp_path):
    selector = EncoderSelector(tiny("bert"), GeneratorSettings(epochs=1), device="cpu")
    selector.fit(marked_questions(8), out=tmp_path / "c")
    with pytest.raises(EtudeError, match="5 options, and this selector was trained with 4"):
        selector.probabilities(marked_questions(2, options=5))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B", 1), (" b. ", 1), ("(B)", 1), ("Answer: B", 1), ("B. right", 1), ("**B**", 1), ("Option C", 2),
        ("A or B", None), ("E", None), ("", None), ("A patient has", None), ("I think B", None),
        ("Both", None), ("A/B", None), ("A, B", None),
    ],
)  # fmt: skip
def test_letters_are_parsed_strictly(text, place):
    assert parse_symbol(text, ("A", "B", "C", "D")) == place


def test_numbers_are_parsed_whole():
    assert parse_symbol("12. name", symbols := tuple(map(str, range(1, 15)))) == 11
    assert parse_symbol("15", symbols) is None and parse_symbol("120", symbols) is None


def right_letter(conversation):
    return next(s for s in "ABCD" if f"{s}. right" in conversation[-1]["content"])


def test_an_oracle_is_always_right_and_a_babbler_is_counted(tmp_path):
    register_scripted("oracle-linker", right_letter, score=lambda c, s: float(s == right_letter(c)))
    register_scripted("babbler", lambda c: "It could be A or B.")
    questions = marked_questions(12)
    for mode in ("generate", "logprob"):
        selector = PromptedSelector("oracle-linker", mode, store=None)
        assert accuracy(selector, questions) == 1 and selector.unreadable == 0
        save_selector(selector, tmp_path / mode)
        assert load_selector(tmp_path / mode).identity == selector.identity
    babbler = PromptedSelector("babbler", store=None)
    assert all(np.allclose(s, 0.25) for s in babbler.probabilities(questions)) and babbler.unreadable == 12


def test_unknown_selectors_and_damaged_folders_are_named(tmp_path):
    with pytest.raises(EtudeError, match="selector 'best'"):
        selector_class("best")
    (tmp_path / "selector.json").write_text(json.dumps({"kind": "../x"}))
    with pytest.raises(EtudeError, match="selector"):
        load_selector(tmp_path)
    with pytest.raises(EtudeError, match="no model"):
        Seq2SeqSelector("nowhere")
