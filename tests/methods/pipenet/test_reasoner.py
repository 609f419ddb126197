"""The layer against PyTorch Geometric, and shortcuts against the long way."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.pipenet.attention_layer import CountedBatchNorm, EdgeEncoder
from etude.methods.pipenet.graph_batch import GraphBatch, batch_graphs, by_budget, edge_relations
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.reasoner import Reasoner, ReasonerSettings, choice_logits
from etude.methods.pipenet.subgraph import CONTEXT, Subgraph

RELATIONS = 17
EMPTY = Subgraph(
    np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(0, np.float32), np.zeros((2, 0), np.int32),
    np.zeros(0, np.int8),
)  # fmt: skip


@pytest.fixture(scope="module")
def batch(store: GraphStore) -> GraphBatch:
    return batch_graphs([store[0], EMPTY, store[5], store[9]], None, RELATIONS)


def edge_features(batch: GraphBatch) -> Tensor:
    """One-hot relation ⊕ type of source ⊕ type of target, edge by edge: the 47 inputs of the spec."""
    relation = F.one_hot(batch.kind // 16, edge_relations(RELATIONS))
    ends = (F.one_hot(batch.types[batch.source], 4), F.one_hot(batch.types[batch.target], 4))
    return torch.cat([relation, *ends], dim=1).float()


def test_an_edge_has_thirty_nine_relations_and_forty_seven_features(batch: GraphBatch) -> None:
    assert edge_relations(17) == 38 + 1
    assert edge_features(batch).shape == (len(batch.kind), 47)


def test_edges_come_with_reverses_links_and_self_loops(store: GraphStore) -> None:
    g = store[3]
    one = batch_graphs([g], None, RELATIONS)
    assert len(one.kind) == g.messages
    edges = set(zip(one.source.tolist(), (one.kind // 16).tolist(), one.target.tolist(), strict=True))
    n = len(g.nodes)
    expected = {(i, 38, i) for i in range(n + 1)}
    for (head, tail), relation in zip(g.edge_index.T.tolist(), g.edge_type.tolist(), strict=True):
        expected |= {(head + 1, relation + 2, tail + 1), (tail + 1, relation + 2 + 19, head + 1)}
    for i, kind in enumerate(g.types.tolist()):
        if kind < 2:
            expected |= {(0, kind, i + 1), (i + 1, kind + 19, 0)}
    assert edges == expected and bool((one.target.diff() >= 0).all())


def test_counted_rows_are_normalized_as_if_repeated() -> None:
    torch.manual_seed(0)
    x, counts = torch.randn(6, 5, requires_grad=True), torch.tensor([1, 4, 2, 7, 1, 3])
    ours, reference = CountedBatchNorm(5), nn.BatchNorm1d(5)
    repeated = x.detach().repeat_interleave(counts, dim=0).requires_grad_()
    found, expected = ours.forward_counted(x, counts), reference(repeated)
    first = torch.cumsum(counts, 0) - counts
    torch.testing.assert_close(found, expected[first])
    torch.testing.assert_close(ours.running_mean, reference.running_mean)
    torch.testing.assert_close(ours.running_var, reference.running_var)
    weight = torch.randn(6, 5)
    (found * weight).sum().backward()
    (expected * (weight / counts[:, None]).repeat_interleave(counts, dim=0)).sum().backward()
    summed = torch.zeros(6, 5).index_add_(0, torch.arange(6).repeat_interleave(counts), repeated.grad)
    torch.testing.assert_close(x.grad, summed, atol=1e-5, rtol=1e-4)
    ours.eval(), reference.eval()
    torch.testing.assert_close(ours.forward_counted(x, counts), reference(x))


def test_edge_states_per_kind_are_the_mlp_of_every_edge(batch: GraphBatch) -> None:
    torch.manual_seed(1)
    encoder = EdgeEncoder(edge_relations(RELATIONS), 8)
    reference = nn.Sequential(encoder.first, nn.BatchNorm1d(8), nn.ReLU(), encoder.second)
    expected = reference(edge_features(batch))
    states, place = encoder(batch.kind)
    torch.testing.assert_close(states[place], expected, atol=1e-5, rtol=1e-4)


def logits_of(reasoner: Reasoner, graphs: list[Subgraph], statement: Tensor, features: Tensor) -> Tensor:
    return reasoner(statement, features, batch_graphs(graphs, None, RELATIONS))[0]


def test_a_graph_has_the_same_logit_alone_and_beside_others(store: GraphStore) -> None:
    torch.manual_seed(3)
    reasoner = Reasoner(ReasonerSettings(RELATIONS, 6, 5, dim=8, layers=2)).eval()
    graphs = [store[0], EMPTY, store[7]]
    statement = torch.randn(3, 5)
    features = [torch.randn(len(g.nodes), 6) for g in graphs]
    together = logits_of(reasoner, graphs, statement, torch.cat(features))
    alone = [logits_of(reasoner, [g], statement[i : i + 1], features[i]) for i, g in enumerate(graphs)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_the_order_of_nodes_does_not_matter(store: GraphStore) -> None:
    torch.manual_seed(4)
    reasoner = Reasoner(ReasonerSettings(RELATIONS, 6, 5, dim=8, layers=2)).eval()
    g, statement = store[0], torch.randn(1, 5)
    features = torch.randn(len(g.nodes), 6)
    order = np.random.default_rng(0).permutation(len(g.nodes))
    place = np.argsort(order)
    turned = Subgraph(
        g.nodes[order], g.types[order], g.scores[order], place[g.edge_index].astype(np.int32), g.edge_type
    )
    torch.testing.assert_close(
        logits_of(reasoner, [g], statement, features),
        logits_of(reasoner, [turned], statement, features[order]),
        atol=1e-5,
        rtol=1e-4,
    )


def test_without_layers_the_graph_does_not_matter(store: GraphStore) -> None:
    reasoner = Reasoner(ReasonerSettings(RELATIONS, 6, 5, dim=8, layers=0)).eval()
    statement = torch.randn(2, 5)
    found = logits_of(reasoner, [store[0], EMPTY], statement, torch.randn(len(store[0].nodes), 6))
    torch.testing.assert_close(found, reasoner.score(statement).squeeze(1))


def test_ragged_choices_become_a_table_with_gaps() -> None:
    owner = torch.tensor([0, 0, 0, 1, 2, 2])
    table = choice_logits(torch.arange(6.0), owner, 3)
    inf = math.inf
    assert table.tolist() == [[0, 1, 2], [3, -inf, -inf], [4, 5, -inf]]
    assert torch.isfinite(F.cross_entropy(table, torch.tensor([2, 0, 1])))


def test_batches_keep_the_budget_and_the_order() -> None:
    assert list(by_budget([3, 4, 9, 1, 1], 7)) == [[0, 1], [2], [3, 4]]
    with pytest.raises(EtudeError, match="edge budget of 0"):
        list(by_budget([1], 0))


@pytest.mark.parametrize("wrong", [{"dim": 10, "heads": 4}, {"attention": "both"}, {"dropout": 1.0}])
def test_impossible_shapes_are_refused(wrong: dict) -> None:
    with pytest.raises(EtudeError):
        ReasonerSettings(RELATIONS, 6, 5, **wrong)


def test_exports_have_all_nodes_and_triples(store: GraphStore) -> None:
    pytest.importorskip("torch_geometric")
    g = store[0]
    data, graph = g.to_pyg(), g.to_networkx()
    assert data.num_nodes == graph.number_of_nodes() == len(g.nodes)
    assert data.num_edges == graph.number_of_edges() == g.edge_index.shape[1]
    head, tail = g.edge_index[:, 0]
    names = g.name(int(g.nodes[head])), g.name(int(g.nodes[tail]))
    assert store.relations[int(g.edge_type[0])] in {d["relation"] for d in graph[names[0]][names[1]].values()}
    assert len(g.to_text(max_edges=3).splitlines()) == 3
    assert CONTEXT not in data.node_type.tolist()
