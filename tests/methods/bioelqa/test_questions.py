"""What a selector may see: nothing of its own case, nothing of a masked id, no rank in the letters."""

from dataclasses import replace

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.bioelqa.feature_selector import FeatureSelector
from etude.methods.bioelqa.option_features import FEATURES, question_features
from etude.methods.bioelqa.prompted_selector import PromptedSelector
from etude.methods.bioelqa.questions import Option, Question, injected, shuffled, symbols_for, with_gold
from etude.methods.bioelqa.selectors import answer
from etude.methods.bioelqa.training_questions import QuestionSettings, make_training_questions
from etude.methods.bioelqa.wording import question_text, shared_text
from etude.models import register_scripted

from .conftest import marked_questions


def test_a_training_question_never_sees_its_own_mention(base):
    asked = base.training_questions(base.cases, n_options=40, n_clues=50, masked=False)
    own_words = 0
    for case, question in zip(base.cases, asked, strict=True):
        assert case.mention not in {clue.mention for clue in question.clues}
        for option in question.options:
            if option.matched == case.mention:
                assert not option.learned  # the vocabulary itself may have the word
                own_words += 1
    assert own_words and len(asked[0].clues) > 10


def test_without_leave_one_out_the_retriever_would_be_trivially_right(base):
    mentions = [case.mention for case in base.cases]
    leaked = base.questions(mentions, n_options=5, n_clues=0)
    kept = base.training_questions(base.cases, n_options=5, n_clues=0, masked=False)
    golds = [case.id for case in base.cases]

    def accuracy(questions):
        return np.mean([q.options[0].id == gold for q, gold in zip(questions, golds, strict=True)])

    assert accuracy(leaked) > 0.95 and accuracy(kept) < 0.85


def test_a_masked_question_sees_its_id_as_if_it_had_never_been_trained_on(base):
    asked = base.training_questions(base.cases, n_options=40, n_clues=50, masked=True)
    for case, question in zip(base.cases, asked, strict=True):
        assert case.id not in {clue.id for clue in question.clues}
        gold = [option for option in question.options if option.id == case.id]
        assert not any(option.learned for option in gold)
    plain = base.training_questions(base.cases, n_options=40, n_clues=50, masked=False)
    assert any(c.id in {clue.id for clue in q.clues} for c, q in zip(base.cases, plain, strict=True))


def test_variants_are_shuffled_so_that_the_letter_tells_nothing(base):
    settings = QuestionSettings(n_options=5, n_clues=2, variants=20)
    questions, dropped = make_training_questions(base, settings, seed=0)
    places = np.bincount([q.gold for q in questions if len(q.options) == 5], minlength=5)
    assert len(questions) + dropped == 20 * len(base.cases)
    from scipy.stats import chisquare

    assert chisquare(places).pvalue > 0.001
    again, _ = make_training_questions(base, settings, seed=0)
    assert again == questions != make_training_questions(base, settings, seed=1)[0]


def test_a_missing_gold_is_dropped_injected_or_answered_by_none_of_these(base):
    few = {"n_options": 2, "n_clues": 0, "variants": 1, "clue_mask": 1.0}
    dropped = make_training_questions(base, QuestionSettings(**few), seed=0)
    put = make_training_questions(base, QuestionSettings(**few, inject_gold=True), seed=0)
    none = make_training_questions(base, QuestionSettings(**few, abstain=True), seed=0)
    assert dropped[1] > 0 and put[1] == none[1] == 0
    assert len(put[0]) == len(none[0]) == len(base.cases)
    chosen = [q.options[q.gold] for q in none[0]]
    assert sum(option.id is None for option in chosen) == dropped[1]
    assert all(len({o.id for o in q.options}) == len(q.options) for q in put[0])
    with pytest.raises(EtudeError, match="exclude each other"):
        QuestionSettings(inject_gold=True, abstain=True)


def test_injection_replaces_the_last_candidate_and_keeps_none_of_these():
    question = Question("x", (Option("1", "a"), Option("2", "b"), Option(None, "none of these")))
    made = injected(question, Option("3", "c"))
    assert [option.id for option in made.options] == ["1", "3", None]
    assert injected(made, Option("3", "c")) is made
    assert with_gold(made, "3").gold == 1 and with_gold(question, "9").gold == 2


def test_symbols_end_at_z_unless_they_are_numbers():
    assert symbols_for(26)[-1] == "Z" and symbols_for(30, "numbers")[-1] == "30"
    with pytest.raises(EtudeError, match="27 options, and there are 26 letters"):
        symbols_for(27)
    with pytest.raises(EtudeError, match="At least 2 options"):
        QuestionSettings(n_options=1)


def test_features_go_with_their_option_and_none_of_these_has_its_flag(base):
    [question] = base.questions(["renal stone"], n_options=6, n_clues=3, abstain=True)
    values = question_features(question)
    order = [3, 0, 6, 2, 5, 1, 4]
    assert np.array_equal(question_features(question.reordered(order)), values[order])
    assert values[6, FEATURES.index("is none")] == 1 and values[:6, FEATURES.index("is none")].sum() == 0
    equal = replace(question, mention="kidney stone")
    names = [option.name for option in equal.options]
    assert question_features(equal)[names.index("kidney stone"), FEATURES.index("equals name")] == 1


@pytest.mark.parametrize("attention", [True, False])
def test_the_feature_selector_chooses_the_same_id_in_every_order(base, tmp_path, attention):
    questions, _ = make_training_questions(base, QuestionSettings(n_options=6, variants=2), seed=0)
    selector = FeatureSelector(attention=attention, epochs=1)
    selector.fit(questions, out=tmp_path / "c", seed=0)
    generator = np.random.default_rng(0)
    before = selector.probabilities([questions[0]])[0]
    for _ in range(5):
        order = generator.permutation(len(before)).tolist()
        [after] = selector.probabilities([questions[0].reordered(order)])
        assert np.allclose(after, before[order], atol=1e-5)
    selector.save(tmp_path)
    [loaded] = FeatureSelector.load(tmp_path).probabilities([questions[0]])
    assert np.array_equal(loaded, before)
    assert [len(p) for p in selector.probabilities([Question("x", ())])] == [0]


def test_only_attention_lets_options_see_each_other(base, tmp_path):
    questions, _ = make_training_questions(base, QuestionSettings(n_options=6, variants=2), seed=0)
    for attention in (True, False):
        selector = FeatureSelector(attention=attention, epochs=1)
        selector.fit(questions, out=tmp_path / str(attention), seed=0)
        import torch

        network, [values] = selector._network, torch.tensor(question_features(questions[0]))[None]
        there = torch.ones(1, len(values), dtype=torch.bool)
        changed = values.clone()
        changed[1] += 3
        with torch.no_grad():
            first = network.logits(values[None], there)[0, 0]
            second = network.logits(changed[None], there)[0, 0]
        assert (abs(float(first - second)) > 1e-6) == attention


def test_averaging_over_orders_undoes_a_bias_for_the_first_letter():
    register_scripted(
        "likes-a", lambda c: "A", score=lambda c, s: (2.0 if s == "A" else 0.0) + (
            1.5 if f"{s}. right" in c[-1]["content"] else 0.0)
    )  # fmt: skip
    selector = PromptedSelector("likes-a", "logprob", store=None)
    questions = marked_questions(40)

    def accuracy(orders):
        found = answer(selector, questions, orders=orders)
        assert all(np.isclose(shares.sum(), 1) for shares in found)
        return np.mean([np.argmax(s) == q.gold for s, q in zip(found, questions, strict=True)])

    assert accuracy(1) < 0.5 and accuracy(4) == 1
    with pytest.raises(EtudeError, match="orders 0"):
        answer(selector, questions, orders=0)


@pytest.mark.parametrize("letter", "ABC")
def test_a_selector_that_sees_letters_alone_learns_nothing_about_the_rank(letter):
    class LikesOneLetter:
        def probabilities(self, questions):
            return [np.eye(len(q.options))["ABCDEFGHIJ".index(letter)] for q in questions]

    options = tuple(Option(f"id{i}", f"name {i}") for i in range(10))
    questions = [Question(f"mention {i}", options) for i in range(1500)]
    first = np.mean([np.argmax(shares) == 0 for shares in answer(LikesOneLetter(), questions)])
    assert abs(first - 0.1) < 0.03  # the option ranked first is not found under any one letter


def test_the_text_holds_clues_mention_and_options_and_orders_share_its_beginning():
    [question] = marked_questions(1)
    text = question_text(question)
    assert text.startswith('Solved cases:\n"case" is right\n') and text.endswith("\nAnswer:")
    other = shuffled(question, np.random.default_rng(3))
    assert question_text(other).startswith(shared_text(question))
    assert "Text: near it" in question_text(replace(question, context="near it"))
