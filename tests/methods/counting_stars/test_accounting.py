"""Token counts of spliced texts against encoding the whole text."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etude.methods.counting_stars.accounting import Spliced, TokenizedHaystack, encode

STARS = (
    "\nThe little penguin counted 117 ★\n",
    "\n小企鹅数了15颗★\n",
    "\n\n",
    " ",
    "ing",
    "★",
    "x",
    "\n  \n",
)
relaxed = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
pieces = st.lists(st.tuples(st.integers(0, 900), st.sampled_from(STARS)), min_size=1, max_size=8)


@pytest.fixture(scope="module", params=["english", "chinese", "metaspace"])
def haystack(request, english, chinese, tokenizer, metaspace_tokenizer):
    text, counter = {
        "english": (english.text, tokenizer),
        "chinese": (chinese.text, tokenizer),
        "metaspace": (english.text, metaspace_tokenizer),
    }[request.param]
    return TokenizedHaystack(text[:60_000], counter)


@relaxed
@given(start=st.integers(0, 2000), parts=pieces)
def test_the_count_of_a_spliced_text_is_what_encoding_the_whole_text_gives(haystack, start, parts):
    at = haystack.cut_at_or_before(start)
    spliced = Spliced.empty(haystack.tokenizer)
    for gap, star in parts:
        cut = haystack.cut_at_or_before(at + gap)
        spliced = spliced.add_haystack(haystack, at, max(cut, at)).add(star)
        at = max(cut, at)
        assert spliced.count == len(encode(haystack.tokenizer, spliced.text)[0])


@relaxed
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=80), max_size=6))
def test_any_pieces_at_all_are_counted_exactly(tokenizer, texts):
    spliced = Spliced.empty(tokenizer)
    for text in texts:
        spliced = spliced.add(text)
    assert spliced.text == "".join(texts)
    assert spliced.count == len(encode(tokenizer, spliced.text)[0])


def test_a_clean_cut_never_splits_a_character(chinese, tokenizer):
    haystack = TokenizedHaystack(chinese.text[:2000], tokenizer)
    assert len(haystack) > 2000  # several tokens a character
    for token in range(len(haystack) + 1):
        cut = haystack.cut_at_or_before(token)
        assert haystack.slice(0, cut) + haystack.slice(cut, len(haystack)) == haystack.text
