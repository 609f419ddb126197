"""Reading answers: every trap of a lenient parser, and no text that crashes or becomes a grade silently."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.relevance import RelevancePrompt, umbrela
from etude.methods.relevance.answers import USABLE, parse_label
from etude.methods.relevance.paraphrases import paraphrases, prompt_set
from etude.methods.relevance.wording import ALL_VARIANTS, FENCE


@pytest.mark.parametrize(
    ("text", "grade", "status"),
    [
        ('{"O": 2}', 2, "ok"),
        ('```json\n{"M": 1, "T": 2, "O": 1}\n```', 1, "ok"),
        ('{"O": "1"}', 1, "ok"),
        ('{"O": 1.0}', 1, "ok"),
        ('Here it is: {"M": 0, "O": 2} as asked', 2, "repaired"),
        ("O: 1", 1, "repaired"),
        ("Overall: 2.", 2, "repaired"),
        ("##final score: 1", 1, "repaired"),
        ("2", 2, "repaired"),
        ("The grade is 1.", 1, "repaired"),
        ("O is a grade from 0 to 2", None, "unparsed"),
        ("O: 0 to 2", None, "unparsed"),
        ("O: 0-2", None, "unparsed"),
        ("O = 1/2", None, "unparsed"),
        ("O: 1 or 2", None, "unparsed"),
        ("O: 1, later O: 2", None, "unparsed"),
        ("O: 3", None, "unparsed"),
        ("O: -1", None, "unparsed"),
        ("O: 1.5", None, "unparsed"),
        ('{"O": 3}', None, "unparsed"),
        ('{"O": true}', None, "unparsed"),
        ('{"O": null}', None, "unparsed"),
        ('{"M": 2, "T": 1}', None, "unparsed"),
        ('{"O": 1, "O": 2}', None, "unparsed"),
        ('[{"O": 1}, {"O": 2}]', None, "unparsed"),
        ("", None, "unparsed"),
        ("There are 3 points to make", None, "unparsed"),
        (
            "On page 1 of a rather long answer the author writes at length about something else",
            None,
            "unparsed",
        ),
        ("I'm sorry, I cannot judge this.", None, "refused"),
        ("Infinity", None, "unparsed"),
        ('{"O": 1e999}', None, "unparsed"),
        ("[" * 100_000, None, "unparsed"),
    ],
)
def test_an_answer_is_a_grade_only_when_it_says_one_clearly(text, grade, status):
    found = parse_label(text)
    assert (found.O, found.status) == (grade, status)


def test_a_cut_or_refused_answer_is_no_grade_unless_it_was_complete():
    assert parse_label('{"M": 1, "O": 1', stop_reason="length").status == "truncated"
    assert parse_label("O: 1", stop_reason="length").status == "truncated"  # might have gone on: 1.5, 1 or 2
    assert parse_label('{"O": 1}', stop_reason="length").O == 1
    assert parse_label('{"O": 1}', stop_reason="refused").O is None


def test_several_judges_must_be_exactly_as_many_as_asked():
    five = [{"O": grade} for grade in (0, 1, 1, 2, 2)]
    assert pytest.approx(1.2) == parse_label(json.dumps(five), judges=5).O
    assert parse_label(json.dumps({"raters": five}), judges=5).rows == (0, 1, 1, 2, 2)
    for wrong in (five[:4], [*five, {"O": 0}], [*five[:4], {"O": 7}], five[0]):
        assert parse_label(json.dumps(wrong), judges=5).status == "unparsed"


@given(st.text() | st.from_regex(r'[OMT{}"\[\]:= 0-9.,/-]{0,40}'), st.sampled_from([1, 5]))
def test_no_text_crashes_or_leaves_the_scale(text, judges):
    found = parse_label(text, (0, 2), ("M", "T"), judges)
    assert (found.status in USABLE) == (found.O is not None)
    assert found.O is None or 0 <= found.O <= 2


LEAVES = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v) | st.dictionaries(st.sampled_from("OMTx"), v), max_leaves=10
)


@given(VALUES)
def test_no_json_crashes(value):
    found = parse_label(json.dumps(value), (0, 3), ("M",))
    assert found.O is None or found.O in (0, 1, 2, 3)


def test_there_are_thirty_two_variants_each_with_its_parts_and_its_own_hash():
    assert len(set(ALL_VARIANTS)) == 32
    prompts = [RelevancePrompt(variant) for variant in ALL_VARIANTS]
    assert len({prompt.hash for prompt in prompts}) == 32
    for prompt in prompts:
        text = prompt.render("the query", "the text", "the description", "the narrative")
        r, d, n, a, m = (letter != "-" for letter in prompt.variant)
        assert ("the description" in text, "the narrative" in text) == (d, n)
        assert ('"T"' in text, "none knowing" in text.replace("\n", " ")) == (a, m)
        assert prompt.role in text if r else prompt.role not in text
        assert text.index("the query") < text.index("the text")  # what a prefix cache can hold comes first


def test_a_document_cannot_close_its_fence_and_braces_in_it_are_text():
    prompt = RelevancePrompt("-----")
    text = prompt.render("q", f"before {FENCE} after {{query}}")
    assert text.count(FENCE) == 2 and "{query}" in text
    own = RelevancePrompt(template="{query} against {document}", name="own", variant="-----")
    assert own.render("apples", "on {query}").startswith("apples against on {query}")


def test_umbrela_and_yes_or_no_have_their_scales():
    assert umbrela().parse('{"M": 1, "T": 2, "O": 3}').O == 3
    assert RelevancePrompt("-----", scale=(0, 1)).options == ("no", "yes")
    assert RelevancePrompt("-----").options == ("0", "1", "2")


@pytest.mark.parametrize("wrong", ["DNA", "ADN--", "-dna-", "-----!", ""])
def test_a_variant_that_is_none_is_refused(wrong):
    with pytest.raises(EtudeError, match="variant"):
        RelevancePrompt(wrong)


def test_forty_two_paraphrases_differ_in_wording_and_agree_in_design():
    made = paraphrases()
    assert len(made) == 42 and len({prompt.hash for prompt in made}) == 42
    assert {prompt.variant for prompt in made} == {"-DNA-"}
    assert [p.hash for p in paraphrases(seed=1)] != [p.hash for p in made]


def test_prompts_of_a_yaml_file_are_checked(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("- {name: mine, template: 'Q {query} D {document}'}\n- {variant: R----}\n")
    assert [prompt.name for prompt in prompt_set(str(file))] == ["mine", "R----"]
    for wrong in ("[]", "- {nam: x}", "- {template: only query {query}}", "- [1]", "{"):
        file.write_text(wrong)
        with pytest.raises(EtudeError):
            prompt_set(str(file))
