"""The layer is the message passing of PyTorch Geometric: same states, same attention, same gradients."""

import math

import pytest
import torch
from torch import Tensor

pytest.importorskip("torch_geometric")
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import degree, softmax

from etude.methods.pipenet.attention_layer import GraphAttention
from etude.methods.pipenet.graph_batch import batch_graphs
from etude.methods.pipenet.graph_store import GraphStore


class EdgeByEdge(MessagePassing):
    """The paper's equations on every edge j -> i, with a layer's weights."""

    def __init__(self, layer: GraphAttention) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.layer = layer

    def forward(self, h: Tensor, edge_index: Tensor, r: Tensor) -> Tensor:
        return self.layer.mix(self.propagate(edge_index, x=h, r=r, ends=edge_index.T))

    def message(self, x_i: Tensor, x_j: Tensor, r: Tensor, ends: Tensor) -> Tensor:
        layer, shape = self.layer, (-1, self.layer.heads, self.layer.dim // self.layer.heads)
        key = layer.key(torch.cat([x_i, r], dim=1)).view(shape)
        sent = layer.message(torch.cat([x_j, r], dim=1)).view(shape)
        scores = (layer.query(x_j).view(shape) * key).sum(-1) / math.sqrt(shape[2])
        if layer.attention == "target":
            alpha = softmax(scores, ends[:, 1])
        else:
            alpha = softmax(scores, ends[:, 0]) * degree(ends[:, 0])[ends[:, 0]][:, None]
        self.alpha = alpha
        return (sent * alpha[:, :, None]).reshape(-1, layer.dim)


@pytest.mark.parametrize("attention", ["target", "source"])
def test_states_attention_and_gradients_agree(store: GraphStore, attention: str) -> None:
    torch.manual_seed(2)
    batch = batch_graphs([store[0], store[5], store[9]], None, 17)
    layer = GraphAttention(8, 4, attention)
    reference = EdgeByEdge(layer)
    r = torch.randn(5, 8, requires_grad=True)
    place = torch.randint(0, 5, (len(batch.kind),))
    h = torch.randn(len(batch.types), 8, requires_grad=True)
    expected = reference(h, torch.stack([batch.source, batch.target]), r[place])
    found, alpha = layer(h, batch, r, place)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alpha, reference.alpha, atol=1e-5, rtol=1e-4)
    weights = torch.randn_like(expected)
    wanted = [h, r, *layer.parameters()]
    slow = torch.autograd.grad((expected * weights).sum(), wanted)
    fast = torch.autograd.grad((found * weights).sum(), wanted)
    for ours, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)
