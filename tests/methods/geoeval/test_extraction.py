"""Answers are found in responses by rules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.geoeval import check_answer, extract_answer
from etude.methods.geoeval.extraction import printed_answer
from etude.methods.geoeval.sandbox import find_program

OPTIONS = ("(A)60 m", "(B)61 m", "(C)62 m", "(D)63 m", "(E)64 m")


@pytest.mark.parametrize(
    ("response", "gold", "rule"),
    [
        ("So x = 5, and therefore \\boxed{12\\sqrt{3}}.", "12*sqrt(3)", "boxed"),
        ("\\boxed{3} is wrong; \\boxed{\\frac{1}{2}}", "1/2", "boxed"),
        ("The answer is 7.", "7", "announced"),
        ("The answer is 7. But wait: the final answer is 8.", "8", "announced"),
        ("**Final Answer:** $\\frac{3}{2}$", "3/2", "announced"),
        ("Answer:\n$1,234$", "1234", "announced"),
        ("#### 42", "42", "announced"),
        ("<answer>3:4</answer>", "3:4", "announced"),
        ("The answer is 7 because the triangle has 3 sides.", "7", "announced"),
        ("The answer to the problem is 5√2 cm, which is about 7.07 cm.", "5*sqrt(2)", "announced"),
        ("First, area = 3*4 = 12.\nSo AB = 7.5 cm.", "7.5", "relation"),
        ("We get x^2 = 25, so x = 5.", "5", "relation"),
        ("x = 3 or x = 5", "3, 5", "relation"),
        ("\\[ x = \\frac{5}{2} \\]", "5/2", "relation"),
        ("Hence m∠ABC = 180° - 70° = 110°.", "110", "relation"),
        ("The area of triangle ABC is 12 square units.", "12", "last number"),
        ("The measure of angle ABC is 40 degrees since AB = BC.", "40", "last number"),
        ("Therefore, the length of AB is $5\\sqrt{2}$.", "5*sqrt(2)", "last number"),
        ("The coordinates are (2, 3).", "(2,3)", "last number"),
    ],
)
def test_the_answer_of_a_response_is_found(response, gold, rule):
    found = extract_answer(response)
    assert (found.status, found.rule) == ("answered", rule)
    assert check_answer(found.answer, gold).correct


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("The answer is B.", "B"),
        ("The correct option is (C) 62 m.", "C"),
        ("B", "B"),
        ("So we get 62 m.\n(C)", "C"),
        ("The answer is 63 m.", "D"),
        ("\\boxed{\\text{(D)}}", "D"),
        ("I think **E**", "E"),
        ("Answer: A because it is the smallest", "A"),
    ],
)
def test_the_letter_of_a_choice_is_found(response, letter):
    assert extract_answer(response, options=OPTIONS).answer == letter


@pytest.mark.parametrize(
    "response",
    ["The answer is (A) 60 m or (B) 61 m or (C) 62 m.", "Answer: A or B", "The answer is A = 1 square cm."],
)
def test_several_letters_or_a_name_are_no_choice(response):
    assert extract_answer(response, options=OPTIONS).rule != "letter"


@pytest.mark.parametrize(
    ("response", "stop", "status"),
    [
        ("", "stop", "empty"),
        ("   \n", "stop", "empty"),
        ("", "refused", "refused"),
        ("I'm sorry, I cannot solve this problem without the diagram.", "stop", "refused"),
        ("First we find that the angle is 30 and then", "length", "truncated"),
        ("It depends on the triangle.", "stop", "none"),
    ],
)
def test_without_an_answer_the_status_says_why(response, stop, status):
    found = extract_answer(response, stop_reason=stop)
    assert (found.answer, found.status) == ("", status)


def test_a_truncated_response_still_counts_what_it_announced():
    assert extract_answer("The answer is 5. Let me check that", stop_reason="length").answer == "5"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.sampled_from(["stop", "length", "refused"]), st.booleans())
def test_any_response_is_read_without_an_error(response, stop, with_options):
    found = extract_answer(response, options=OPTIONS if with_options else (), stop_reason=stop)
    assert (found.status == "answered") == bool(found.answer)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(-10_000, 10_000), st.sampled_from(["The answer is {}.", "\\boxed{{{}}}", "x = {}", "#### {}"])
)
def test_a_number_comes_back_as_it_was_put(number, form):
    found = extract_answer("Some reasoning with 17 steps.\n" + form.format(number))
    assert check_answer(found.answer, str(number)).correct


@pytest.mark.parametrize(
    ("output", "gold"),
    [
        ("5*sqrt(2)", "sqrt(50)"),
        ("The length is 6.93 units.", "6.93"),
        ("[2, 3]", "(2, 3)"),
        ("x = 4", "4"),
        ("B", "B"),
    ],
)
def test_what_a_program_printed_is_read(output, gold):
    found = printed_answer(output)
    assert (found.rule, found.status) == ("program", "answered")
    assert check_answer(found.answer, gold).correct


def test_a_program_that_printed_nothing_has_no_answer():
    assert printed_answer("  \n").status == "none"


@pytest.mark.parametrize(
    "response",
    [
        "\\boxed{" * 20_000,
        "between " + " " * 50_000 + "and",
        "The answer is " * 5_000,
        "<answer>" * 10_000,
        "(" * 50_000,
        "= " * 50_000,
        "\\sqrt" * 20_000,
        "1 " * 50_000,
        "```python\n" * 10_000,
        "the answer" + " " * 50_000 + "x",
    ],
)
def test_monstrous_responses_are_read_too(response):
    assert extract_answer(response).status in ("answered", "none")
    find_program(response)


def test_the_last_number_of_a_long_line_is_found():
    assert extract_answer("The side is 3 long and so on. " * 500 + "That makes 5 cm").answer == "5 cm"


def test_long_responses_are_read_to_their_end():
    response = "The side is 3 and the other is 4. " * 3_000 + "\nThe answer is 5."
    assert extract_answer(response).answer == "5"
