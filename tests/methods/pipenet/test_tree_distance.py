"""Distances against networkx's shortest paths, and splicing against what it must keep."""

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.pipenet.parsing import Parse, splice, split_at_spaces
from etude.methods.pipenet.questions import PLACEHOLDER
from etude.methods.pipenet.tree_distance import UNCONNECTED, span_distances, token_distances


@st.composite
def forests(draw: st.DrawFn) -> np.ndarray:
    """Heads of a forest: each token hangs on an earlier one in a random order, or is a root."""
    n = draw(st.integers(1, 12))
    order = draw(st.permutations(range(n)))
    heads = np.arange(n, dtype=np.int32)
    for k in range(1, n):
        if draw(st.integers(0, 5)):
            heads[order[k]] = order[draw(st.integers(0, k - 1))]
    return heads


def paths(heads: np.ndarray) -> dict[tuple[int, int], int]:
    graph = nx.Graph()
    graph.add_nodes_from(range(len(heads)))
    graph.add_edges_from((i, int(h)) for i, h in enumerate(heads) if i != h)
    lengths = dict(nx.all_pairs_shortest_path_length(graph))
    n = len(heads)
    return {(i, j): lengths[i].get(j, UNCONNECTED) for i in range(n) for j in range(n)}


@settings(deadline=None, max_examples=60)
@given(forests())
def test_distances_are_the_shortest_paths_of_the_tree(heads: np.ndarray) -> None:
    found = token_distances(heads, np.arange(len(heads)))
    assert {(i, j): int(found[i, j]) for i, j in paths(heads)} == paths(heads)


@settings(deadline=None, max_examples=60)
@given(forests(), st.data())
def test_the_distance_of_spans_is_the_least_over_their_tokens(heads: np.ndarray, data: st.DataObject) -> None:
    tokens = st.lists(st.integers(0, len(heads) - 1), max_size=4, unique=True)
    spans = [np.array(data.draw(tokens), dtype=np.int64) for _ in range(4)]
    truth = paths(heads)
    found = span_distances(heads, spans)
    for i, first in enumerate(spans):
        for j, second in enumerate(spans):
            each = [truth[int(a), int(b)] for a in first for b in second]
            assert found[i, j] == min(each, default=UNCONNECTED)


def test_a_cycle_in_foreign_heads_ends() -> None:
    assert token_distances(np.array([1, 0], dtype=np.int32), np.arange(2)).shape == (2, 2)


def parse(words: list[str], heads: list[int]) -> Parse:
    plain = split_at_spaces(" ".join(words))
    return Parse(plain.text, plain.starts, plain.ends, plain.lemmas, np.array(heads, dtype=np.int32))


@settings(deadline=None, max_examples=60)
@given(forests(), forests(), st.data())
def test_a_spliced_tree_has_the_distances_of_both_its_parts(
    frame_heads: np.ndarray, answer_heads: np.ndarray, data: st.DataObject
) -> None:
    n, m = len(frame_heads), len(answer_heads)
    p = data.draw(st.integers(0, n - 1))
    words = [f"w{i}" for i in range(n)]
    words[p] = PLACEHOLDER
    frame, answer = (
        parse(words, frame_heads.tolist()),
        parse([f"a{i}" for i in range(m)], answer_heads.tolist()),
    )
    whole = splice(frame, int(frame.starts[p]), answer)
    expected = [*words[:p], *(f"a{i}" for i in range(m)), *words[p + 1 :]]
    assert whole.words == [w.lower() for w in expected] and whole.text == " ".join(expected)
    root = int(np.nonzero(answer_heads == np.arange(m))[0][0])
    where = {i: i if i < p else i + m - 1 for i in range(n)} | {p: p + root}
    before, after = paths(frame.heads), paths(whole.heads)
    assert all(after[where[i], where[j]] == d for (i, j), d in before.items())
    inner = paths(answer_heads)
    one_tree = (answer_heads == np.arange(m)).sum() == 1
    if one_tree:
        assert all(after[p + i, p + j] == d for (i, j), d in inner.items())
    assert all(after[p + i, p + root] < UNCONNECTED for i in range(m))  # several roots hang on the first


@settings(deadline=None, max_examples=60)
@given(forests(), st.data())
def test_an_empty_answer_leaves_a_forest_without_the_placeholder(
    heads: np.ndarray, data: st.DataObject
) -> None:
    p = data.draw(st.integers(0, len(heads) - 1))
    words = [f"w{i}" for i in range(len(heads))]
    words[p] = PLACEHOLDER
    whole = splice(
        parse(words, heads.tolist()), int(parse(words, heads.tolist()).starts[p]), split_at_spaces("")
    )
    n = len(heads) - 1
    assert len(whole.heads) == n and ((whole.heads >= 0) & (whole.heads < max(n, 1))).all()
    tree = nx.Graph((i, int(h)) for i, h in enumerate(whole.heads) if i != h)
    assert tree.number_of_nodes() == 0 or nx.is_forest(tree)
