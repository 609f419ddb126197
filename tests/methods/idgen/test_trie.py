"""The flat tree against a plain set of prefixes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.idgen.trie import TokenTrie, id_tokens, survives

from .test_unique_ids import WORDS, word_tokenizer

EOS = 1
rows_of_tokens = st.sets(
    st.lists(st.integers(2, 9), min_size=1, max_size=6).map(tuple), min_size=1, max_size=40
)


def followers(rows):
    """Prefix to the tokens that may follow it, from the definition."""
    table = {}
    for row in rows:
        full = (*row, EOS)
        for at in range(len(full)):
            table.setdefault(full[:at], set()).add(full[at])
    return table


@settings(deadline=None)
@given(found=rows_of_tokens, order=st.randoms())
def test_allowed_tokens_are_those_that_some_id_goes_on_with(found, order):
    rows = list(found)
    order.shuffle(rows)
    trie, table = TokenTrie.from_tokens(rows, EOS), followers(rows)
    for prefix, after in table.items():
        assert trie.allowed(prefix) == sorted(after)
    assert len(trie) == len(rows)
    assert len(trie.token) == 1 + len({prefix for row in rows for prefix in prefixes((*row, EOS))})
    for row in rows:  # after the end, and off the tree, nothing is allowed
        assert trie.allowed((*row, EOS)) == [] and trie.allowed((*row, 99)) == []


@settings(deadline=None)
@given(found=rows_of_tokens)
def test_the_items_under_a_node_are_those_that_begin_with_its_prefix(found):
    rows = sorted(found, key=lambda row: hash(row))
    trie = TokenTrie.from_tokens(rows, EOS)
    for prefix in followers(rows):
        node = trie.node(prefix)
        under = trie.item[trie.first[node] : trie.last[node]].tolist()
        assert sorted(under) == [i for i, row in enumerate(rows) if row[: len(prefix)] == prefix]
    for number, row in enumerate(rows):
        leaf = trie.node((*row, EOS))
        assert trie.item[trie.first[leaf]] == number and trie.last[leaf] - trie.first[leaf] == 1


def prefixes(row):
    return [row[:end] for end in range(1, len(row) + 1)]


def test_an_id_and_a_longer_one_that_begins_with_it_meet_at_one_node():
    trie = TokenTrie.from_tokens([(5, 6), (5, 6, 7)], EOS)
    assert trie.allowed((5, 6)) == [EOS, 7]


def test_the_mask_marks_the_allowed_tokens_of_each_prefix():
    trie = TokenTrie.from_tokens([(5, 6), (5, 7), (8,)], EOS)
    mask = trie.mask([(), (5,), (9,)], 10)
    assert [row.nonzero().flatten().tolist() for row in mask] == [[5, 8], [6, 7], []]
    assert mask.dtype == torch.bool and mask.shape == (3, 10)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no ids"),
        ([(5,), ()], "item number 1 has no token"),
        ([(5, EOS, 6)], "holds the end"),
        ([(4,), (5, 6), (5, 6)], "the same id"),
    ],
)
def test_ids_that_make_no_tree_are_refused(rows, says):
    with pytest.raises(EtudeError, match=says):
        TokenTrie.from_tokens(rows, EOS)


def test_textual_ids_become_the_tree_of_their_tokens():
    tokenizer = word_tokenizer()
    trie = TokenTrie.from_ids(["bar bel", "bar"], tokenizer)
    assert trie.allowed([]) == tokenizer.encode("bar") and len(trie.allowed(tokenizer.encode("bar"))) == 2
    with pytest.raises(EtudeError, match="does not come back"):
        TokenTrie.from_ids(["bar", "nonsense"], tokenizer)


def test_an_id_survives_only_word_for_word_and_within_its_length():
    tokenizer = word_tokenizer()
    assert survives("bar bel", tokenizer) and id_tokens("bar bel", tokenizer) == tokenizer.encode("bar bel")
    for bad in ("", "Bar bel", "bar </s>", "bar <unk>", " ".join(WORDS[:40] * 2)):
        assert not survives(bad, tokenizer)
