"""Reading labels, paragraphs and word lists out of what models write."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.self_explanations.answers import parse_choice, parse_yes_no
from etude.methods.self_explanations.extraction import extract_paragraph, extract_words
from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.tasks import Custom, MultiChoice, Sentiment

ANY = Observation("1", "text", "positive")


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Positive", "positive"),
        ('"negative".', "negative"),
        ("Sentiment: positive", "positive"),
        ("**Negative**", "negative"),
        ("The sentiment of the paragraph is positive.", "positive"),
        ("It seems to be mostly negative, I think.", "negative"),
        ("This would be classified as a negative review", "negative"),
        ("Mixed", "neutral"),
        ("The sentiment is mixed.", "neutral"),
        ("neutral", "neutral"),
        ("Unknown", "unknown"),
        ("I'm sorry, but I cannot do this.", "unknown"),
        ("The sentiment cannot be determined.", "unknown"),
        ("There is not enough information to tell", "unknown"),
        ("positively charged", None),
        ("What a film!", None),
        ("", None),
    ],
)
def test_a_sentiment_is_read_where_the_answer_gives_one(answer, label):
    assert Sentiment().parse(answer, ANY) == label


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("b) kitchen", "kitchen"),
        ("The answer is (c).", "office"),
        ("B", "kitchen"),
        ("d) unknown", "unknown"),
        ("z) nothing, so a) garden", "garden"),
        ("Mary is in the office, not the kitchen", "office"),
        ("She is in a kitchen", "kitchen"),
        ("It is unknown.", "unknown"),
        ("Somewhere else", None),
    ],
)
def test_a_choice_is_read_by_letter_then_by_text_then_as_unknown(answer, choice):
    assert parse_choice(answer, ("garden", "kitchen", "office")) == choice


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("1) yes", "yes"),
        ("2", "no"),
        ("(3)", "unknown"),
        ("Yes, it does.", "yes"),
        ("No.", "no"),
        ("No, it is unknown whether it does.", "unknown"),
        ("In 2004 it did", None),
        ("Perhaps", None),
    ],
)
def test_entailment_is_read_by_number_then_unknown_then_yes_or_no(answer, label):
    assert parse_yes_no(answer) == label


def test_custom_labels_are_read_with_the_longest_first():
    task = Custom(("spam", "spam report", "fine"), "What is this?")
    assert task.parse("Spam report", ANY) == "spam report"
    assert task.parse("It is spam.", ANY) == "spam"


@settings(deadline=None)
@given(st.sampled_from(["a story.", "two of them", "C++ (really)"]), st.integers(0, 2))
def test_every_option_that_is_offered_can_be_read_back(name, index):
    choices = (name, "another", "third one")
    observation = Observation("1", "t", name, "Which?", choices)
    task = MultiChoice()
    for label, written in task.scored_answers(observation).items():
        assert task.parse(written, observation) == label


PARAGRAPH = "The film is long: it takes two hours."


@pytest.mark.parametrize(
    "answer",
    [
        PARAGRAPH,
        f'"{PARAGRAPH}"',
        f"Paragraph: {PARAGRAPH}",
        f"Sure! Here is the edited paragraph:\n\n{PARAGRAPH}",
        f"Here's a version with a negative sentiment:\n\n“{PARAGRAPH}”",
        f"Here are my changes: I was bold.\nHere is the paragraph: {PARAGRAPH}",
        f"Certainly\n\n{PARAGRAPH}",
        f"<p>{PARAGRAPH}</p>",
        f"**Rewritten paragraph:**\n{PARAGRAPH}".replace("**", ""),
    ],
)
def test_a_paragraph_is_taken_out_of_what_stands_around_it(answer):
    assert extract_paragraph(answer) == PARAGRAPH


@pytest.mark.parametrize(
    "answer", ["", "  ", '""', "Sorry, I cannot do that.", "As an AI language model, I have no opinion.",
               "Here is the paragraph:", "[ ]"]
)  # fmt: skip
def test_a_refusal_or_nothing_is_no_paragraph(answer):
    assert extract_paragraph(answer) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("1. Awful\n2) worst\n3. \"fun\" (appears twice)", ["Awful", "worst", "fun"]),
        ("Sure:\n- dull\n* boring - it is slow\n• long", ["dull", "boring", "long"]),
        ('The words are "dull", "very boring" and "long".', ["dull", "very boring", "long"]),
        ("The most important words are: dull, boring, and long.", ["dull", "boring", "long"]),
        ("dull\nboring\ndull", ["dull", "boring"]),
        ("dull, boring", ["dull", "boring"]),
        ("", []),
        ("I'm sorry, I cannot list words.", []),
        ("- \n- ...", []),
        ("I think that this film made me feel that nothing in it was worth the time at all", []),
    ],
)  # fmt: skip
def test_words_are_read_from_bullets_quotes_or_a_colon(answer, words):
    assert extract_words(answer) == words


@settings(deadline=None)
@given(st.text(max_size=200))
def test_nothing_that_a_model_writes_is_a_crash(text):
    extract_paragraph(text)
    extract_words(text)
    Sentiment().parse(text, ANY)
    parse_choice(text, ("a", "b"))
    parse_yes_no(text)
