"""Both searches against brute force: the same owners, scores, order of ties, with names hidden or not."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.bioelqa.dense_search import DenseIndex
from etude.methods.bioelqa.ngram_retriever import CharNgram
from etude.methods.bioelqa.sparse_search import SparseIndex


def brute_force(scores, owners, n, hidden=()):
    best = {}
    for row, (owner, score) in enumerate(zip(owners, scores, strict=True)):
        if row not in set(hidden) and score > best.get(int(owner), -np.inf):
            best[int(owner)] = float(score)
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:n]


def random_rows(generator, rows, columns, common):
    """Sparse non-negative unit rows; the first columns are in almost every row."""
    dense = generator.random((rows, columns)) * (generator.random((rows, columns)) < 0.1)
    dense[:, :common] = generator.random((rows, common)) * 0.5
    dense = np.round(dense, 1)  # ties
    norms = np.linalg.norm(dense, axis=1, keepdims=True)
    return sp.csr_matrix((dense / np.where(norms > 0, norms, 1)).astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    names=st.integers(1, 120),
    n=st.integers(1, 12),
    block=st.integers(1, 60),
    hide=st.booleans(),
)
def test_the_blocked_sparse_search_gives_what_the_whole_product_gives(seed, names, n, block, hide):
    generator = np.random.default_rng(seed)
    vectors, queries = random_rows(generator, names, 30, 3), random_rows(generator, 7, 30, 3)
    owners = np.sort(generator.integers(0, max(1, names // 2), names))
    hidden = [generator.choice(names, min(names, 5), replace=False) if hide else [] for _ in range(7)]
    found = SparseIndex(vectors, owners, block=block).top(queries, n, hidden)
    whole = (queries @ vectors.T).toarray()
    for row, top in enumerate(found):
        positive = np.where(whole[row] > 0, whole[row], -np.inf)
        expected = [(o, s) for o, s in brute_force(positive, owners, n, hidden[row]) if s > 0]
        assert np.allclose(top.scores, [s for _, s in expected], atol=1e-6)
        assert all(owners[name] == owner for owner, name in zip(top.owners, top.rows, strict=True))
        assert not set(top.rows) & set(hidden[row])
        for place, (owner, score) in enumerate(expected):
            near = [s for o, s in expected if o != owner and abs(s - score) < 1e-6]
            if not near and (len(expected) < n or score > expected[-1][1] + 1e-6):
                assert top.owners[place] == owner


def test_equal_names_of_several_ids_stand_in_the_order_of_the_ids_whatever_the_batch():
    names = ["cold", "cold", "cold sore", "common cold"] * 40
    owners = np.repeat(np.arange(80), 2)
    retriever = CharNgram()
    retriever.fit(names)
    index = retriever.index(retriever.encode(names), owners)
    queries = retriever.encode(["cold", "a cold sore", "", "zzz"] * 50)
    together, alone = index.top(queries, 10), [index.top(queries[i], 10)[0] for i in range(4)]
    for place, top in enumerate(together):
        assert top.owners.tolist() == alone[place % 4].owners.tolist()
        assert top.scores.tolist() == alone[place % 4].scores.tolist()
    assert together[0].owners.tolist() == list(range(0, 20, 2)) and np.ptp(together[0].scores) == 0
    assert not len(together[2].owners) and not len(together[3].owners)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), names=st.integers(1, 90), n=st.integers(1, 12), block=st.integers(1, 40))
def test_the_blocked_dense_search_gives_what_one_product_gives(seed, names, n, block):
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-2, 3, (names, 6)).astype(np.float32)
    queries = generator.integers(-2, 3, (5, 6)).astype(np.float32)
    owners = np.sort(generator.integers(0, max(1, names // 3), names))
    hidden = [generator.choice(names, min(names - 1, 3), replace=False) for _ in range(5)]
    found = DenseIndex(vectors, owners, block=block, device="cpu").top(queries, n, hidden)
    for row, top in enumerate(found):
        expected = brute_force(queries[row] @ vectors.T, owners, n, hidden[row])
        assert list(zip(top.owners.tolist(), top.scores.tolist(), strict=True)) == expected
        assert not set(top.rows) & set(hidden[row])


def test_a_saved_retriever_gives_the_same_vectors(tmp_path):
    retriever = CharNgram()
    retriever.fit(["heart attack", "stroke", "kidney stone"])
    retriever.save(tmp_path)
    texts = ["heart stroke", "stone"]
    assert (CharNgram.load(tmp_path).encode(texts) != retriever.encode(texts)).nnz == 0


def test_names_that_are_not_grouped_by_owner_are_refused():
    with pytest.raises(ValueError, match="grouped"):
        DenseIndex(np.zeros((3, 2), np.float32), np.array([0, 1, 0]))
