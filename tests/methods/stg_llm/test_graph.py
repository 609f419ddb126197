"""Edges and orders of nodes."""

from pathlib import Path

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.stg_llm.graph import Graph, bandwidth, cuthill_mckee, read_edges


def test_costs_become_gaussian_weights_cut_at_a_tenth(tmp_path: Path) -> None:
    path = tmp_path / "edges.csv"
    path.write_text("from,to,cost\na,b,1\nb,c,2\nc,a,9\n")
    graph = read_edges(path, ["a", "b", "c"])
    spread = np.std([1, 2, 9])
    np.testing.assert_allclose(graph.weight, np.exp(-np.square(np.array([1, 2]) / spread)))
    assert graph.source.tolist() == [0, 1]  # exp(-(9/σ)²) lies below 0.1


def test_nodes_in_edges_but_not_in_values_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "edges.csv"
    path.write_text("from,to,weight\na,b,1\nx,b,1\na,y,1\n")
    with pytest.raises(EtudeError, match="does not have: x, y"):
        read_edges(path, ["a", "b"])


def test_a_broken_edge_table_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "edges.csv"
    with pytest.raises(EtudeError, match="no such file"):
        read_edges(path, ["a"])
    path.write_text("from,weight\na,1\n")
    with pytest.raises(EtudeError, match="the columns are from, weight"):
        read_edges(path, ["a"])
    path.write_text("from,to,weight\na,a,heavy\n")
    with pytest.raises(EtudeError, match=r"edges.csv:2: weight is 'heavy'"):
        read_edges(path, ["a"])


def test_reverse_cuthill_mckee_brings_a_shuffled_path_back_together() -> None:
    shuffled = np.random.default_rng(0).permutation(30)
    graph = Graph(shuffled[:-1], shuffled[1:], np.ones(29))
    assert bandwidth(graph, np.arange(30)) > 1
    order = cuthill_mckee(graph, 30)
    assert sorted(order) == list(range(30)) and bandwidth(graph, order) == 1
