"""Which bridges stay, for every criterion, against plain sorting."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.pruned_view import PrunedView
from etude.methods.pipenet.pruning import bridges_kept, prune_graph
from etude.methods.pipenet.structural_scorer import shared_accuracy, structural_score
from etude.methods.pipenet.subgraph import BRIDGE, Subgraph


@given(st.integers(0, 500), st.integers(0, 100))
def test_the_number_of_bridges_kept_is_exact(bridges: int, percent: int) -> None:
    assert bridges_kept(bridges, percent / 100) == math.floor((1 - Fraction(percent, 100)) * bridges)


def bridge_ids(graph: Subgraph) -> list[int]:
    return graph.nodes[graph.types == BRIDGE].tolist()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 47), st.sampled_from([0.0, 0.1, 0.5, 0.7, 0.9, 1.0]))
def test_the_best_scores_stay_and_ties_go_to_the_lower_id(store, place: int, rate: float) -> None:
    g = store[place]
    ranked = sorted(zip((-g.scores).tolist(), g.nodes.tolist(), g.types.tolist(), strict=True))
    order = [c for _, c, kind in ranked if kind == BRIDGE]
    kept = prune_graph(g, rate=rate)
    assert bridge_ids(kept) == sorted(order[: bridges_kept(len(order), rate)])
    assert kept.nodes[kept.types != BRIDGE].tolist() == g.nodes[g.types != BRIDGE].tolist()
    far = prune_graph(g, rate=rate, by="farthest")
    ranked = sorted(zip(g.scores.tolist(), g.nodes.tolist(), g.types.tolist(), strict=True))
    order = [c for _, c, kind in ranked if kind == BRIDGE]
    assert bridge_ids(far) == sorted(order[: bridges_kept(len(order), rate)])


def test_triples_stay_where_both_ends_do(store: GraphStore) -> None:
    for g in store:
        kept = prune_graph(g, rate=0.5)
        old = {
            (int(g.nodes[h]), int(r), int(g.nodes[t]))
            for (h, t), r in zip(g.edge_index.T, g.edge_type, strict=True)
        }
        new = {
            (int(kept.nodes[h]), int(r), int(kept.nodes[t]))
            for (h, t), r in zip(kept.edge_index.T, kept.edge_type, strict=True)
        }
        alive = set(kept.nodes.tolist())
        assert new == {e for e in old if e[0] in alive and e[2] in alive}


def test_removing_all_bridges_leaves_the_matched_concepts(store: GraphStore) -> None:
    kept = prune_graph(store[0], rate=1.0)
    assert BRIDGE not in kept.types and len(kept.nodes) > 0


def test_random_pruning_depends_on_seed_and_statement_alone(store: GraphStore) -> None:
    large = max(store, key=lambda g: len(bridge_ids(g)))
    draws = [tuple(bridge_ids(prune_graph(large, rate=0.5, by="random", seed=s))) for s in range(8)]
    again = [tuple(bridge_ids(prune_graph(large, rate=0.5, by="random", seed=s))) for s in range(8)]
    assert draws == again and len(set(draws)) > 1


class Told:
    """Similarities and degrees that are the concept id."""

    def similarity(self, graph: Subgraph) -> np.ndarray:
        return graph.nodes.astype(float)

    degrees = similarity


def test_embedding_keeps_the_similar_and_degree_the_rare(store: GraphStore) -> None:
    large = max(store, key=lambda g: len(bridge_ids(g)))
    ids = sorted(bridge_ids(large))
    n = bridges_kept(len(ids), 0.5)
    assert bridge_ids(prune_graph(large, rate=0.5, by="embedding", ranking=Told())) == ids[-n:]
    assert bridge_ids(prune_graph(large, rate=0.5, by="degree", ranking=Told())) == ids[:n]


@pytest.mark.parametrize("rate", [-0.1, 1.01, float("nan")])
def test_a_rate_outside_zero_and_one_is_refused(store: GraphStore, rate: float) -> None:
    with pytest.raises(EtudeError, match="prune rate"):
        prune_graph(store[0], rate=rate)
    with pytest.raises(EtudeError, match="prune rate"):
        PrunedView(store, rate=rate)


def test_an_unknown_criterion_is_refused(store: GraphStore) -> None:
    with pytest.raises(EtudeError, match="no criterion 'nearest'"):
        prune_graph(store[0], rate=0.5, by="nearest")


def test_the_structural_score_is_its_formula() -> None:
    g = Subgraph(
        nodes=np.array([4, 9, 2, 5], dtype=np.int32),
        types=np.array([0, 1, 2, 2], dtype=np.int8),
        scores=np.zeros(4, dtype=np.float32),
        edge_index=np.array([[0, 1, 0], [1, 0, 2]], dtype=np.int32),  # one pair, two triples
        edge_type=np.array([0, 3, 1], dtype=np.int8),
    )
    expected = 2 * 1 + 1 / math.log(2 + 10) + 1 / math.log(2 + 30)
    assert structural_score(g, {2: 10, 5: 30}) == pytest.approx(expected)


def test_ties_are_shared() -> None:
    assert shared_accuracy([1.0, 3.0, 3.0], 1) == 0.5
    assert shared_accuracy([1.0, 3.0, 3.0], 0) == 0.0
    assert shared_accuracy([0.0, 0.0, 0.0, 0.0], 2) == 0.25
