"""The targeted prompt against the truth of its own words, for every length of text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from etude.errors import EtudeError
from etude.methods.tmpt.cleaning import clean_text, split_words
from etude.methods.tmpt.text_prompt import TargetedPrompt
from etude.models import load_tokenizer, model_directory


@pytest.fixture(scope="module")
def minilm_tokenizer() -> object:
    return load_tokenizer(str(model_directory("minilm")))


def test_the_template_is_the_papers(minilm_tokenizer: object) -> None:
    prompt = TargetedPrompt(minilm_tokenizer, 64)
    made = prompt("we waited long enough", "the new tram")
    words = minilm_tokenizer.decode(made.ids)  # type: ignore[attr-defined]
    assert words == "[CLS] we waited long enough. the stance on the new tram is : [MASK]. [SEP]"
    assert made.cut == 0


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=400), repeat=st.integers(1, 60), limit=st.integers(24, 128))
def test_prompt_and_mask_survive_any_text_and_any_length(
    minilm_tokenizer: object, text: str, repeat: int, limit: int
) -> None:
    tokenizer = minilm_tokenizer
    prompt = TargetedPrompt(tokenizer, limit)
    made = prompt(text * repeat, "climate change")
    tail = [*prompt.prompt("climate change"), tokenizer.sep_token_id]  # type: ignore[attr-defined]
    assert len(made.ids) <= limit
    assert list(made.ids[-len(tail) :]) == tail
    assert made.mask_at is not None
    assert made.ids[made.mask_at] == tokenizer.mask_token_id  # type: ignore[attr-defined]
    assert made.ids.count(tokenizer.mask_token_id) == 1  # type: ignore[attr-defined]
    plain = tokenizer(text * repeat, add_special_tokens=False, verbose=False)["input_ids"]  # type: ignore[operator]
    kept = len(made.ids) - len(tail) - 1
    assert made.cut == 0 or kept == limit - len(tail) - 1
    if "[" not in text:
        assert list(made.ids[1 : 1 + kept]) == plain[:kept], "only the text's tail is shortened"


def test_special_tokens_written_in_a_post_stay_text(minilm_tokenizer: object) -> None:
    made = TargetedPrompt(minilm_tokenizer, 64)("[MASK] [SEP] I like it [MASK]", "tea")
    ids = list(made.ids)
    assert ids.count(minilm_tokenizer.mask_token_id) == 1  # type: ignore[attr-defined]
    assert ids.count(minilm_tokenizer.sep_token_id) == 1  # type: ignore[attr-defined]
    assert "mask" in minilm_tokenizer.decode(ids[: made.mask_at])  # type: ignore[attr-defined]


def test_an_empty_text_leaves_the_prompt_alone(minilm_tokenizer: object) -> None:
    prompt = TargetedPrompt(minilm_tokenizer, 32)
    assert list(prompt("", "tea").ids[1:-1]) == prompt.prompt("tea")


def test_a_target_that_leaves_no_room_is_refused(minilm_tokenizer: object) -> None:
    with pytest.raises(EtudeError, match="leaves none of 16"):
        TargetedPrompt(minilm_tokenizer, 16)("text", "a very long name " * 10)


def test_a_mask_readout_needs_a_mask_token(tiny_bert: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.mask_token = None
    with pytest.raises(EtudeError, match="no mask token"):
        TargetedPrompt(tokenizer, 32, "mask")
    assert TargetedPrompt(tokenizer, 32, "mean")("yes", "tram").mask_at is None


def test_without_its_target_the_prompt_is_the_same_for_all(minilm_tokenizer: object) -> None:
    prompt = TargetedPrompt(minilm_tokenizer, 64, targeted=False)
    assert prompt("hello", "tea") == prompt("hello", "coffee")
    assert TargetedPrompt(minilm_tokenizer, 64)("hello", "tea") != prompt("hello", "tea")


def test_links_emoji_and_retweets_go_and_tags_are_cut_into_words() -> None:
    text = "RT @JoeBiden: #BuildBackBetter2020 now \U0001f600 https://t.co/x"
    assert clean_text(text) == "#BuildBackBetter2020 now"
    assert clean_text("hi @JoeBiden #NHSCrisis", split_tags=True) == "hi Joe Biden NHS Crisis"
    assert split_words("___") == "___"
