"""What a model is told: the order of the paper, and only what the item has and the input asks for."""

import pytest
from PIL import Image

from etude.methods.geoeval.items import Item
from etude.methods.geoeval.prompts import conversation, extraction_conversation, problem_text


@pytest.fixture
def item(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    facts, options = ("AB = 3", "BC = x"), ("(A) 4", "5")
    picture = tmp_path / "a.jpg"
    return Item(
        id="1", question="Find x.", facts=facts, options=options, gold="B", kind="choice", image=picture
    )


def _text(item, *how):
    content = conversation(item, *how)[0]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def test_description_problem_and_choices_stand_in_this_order_a_line_each(item):
    lines = problem_text(item, "text+facts").splitlines()
    assert lines == ["The diagram shows: AB = 3; BC = x.", "Find x.", "Choices: (A) 4  (B) 5"]
    assert problem_text(item, "text").splitlines() == ["Find x.", "Choices: (A) 4  (B) 5"]


@pytest.mark.parametrize(
    ("given", "facts", "picture"),
    [("text", False, False), ("text+facts", True, False), ("text+diagram", False, True), ("all", True, True)],
)
def test_an_input_shows_what_it_says(item, given, facts, picture):
    content = conversation(item, given, "cot")[0]["content"]
    assert ("AB = 3" in _text(item, given, "cot")) == facts
    assert (not isinstance(content, str)) == picture
    if picture:
        assert content[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_what_an_item_does_not_have_is_left_out(item):
    bare = Item(id="2", question="How large?", gold="7")
    text = _text(bare, "all", "cot")
    assert "diagram" not in text and "Choices" not in text and "attached" not in text


@pytest.mark.parametrize(
    ("wrapper", "begin", "end"),
    [
        ("instruct", "### Human: ", "### Problem-solving Bot:"),
        ("llama2", "[INST] ", " [/INST]"),
        ("plain", "", "Answer:"),
    ],
)
def test_wrappers_enclose_the_same_text(item, wrapper, begin, end):
    text = _text(item, "text", "cot", wrapper)
    assert text.startswith(begin) and text.endswith(end)
    assert _text(item, "text", "cot") in text


def test_methods_ask_for_what_is_read_later(item):
    assert "The answer is" in _text(item, "text", "cot")
    assert "```python" in _text(item, "text", "pot")
    assert "letter" in _text(item, "text", "choice-letter")


def test_the_second_model_sees_question_and_response_but_not_the_gold_answer(item):
    secret = item.model_copy(update={"gold": "(B) 5"})
    text = extraction_conversation(secret, "It is, as said, the larger one.")[0]["content"]
    assert "Find x." in text and "the larger one" in text and "NONE" in text
