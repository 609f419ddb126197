"""Bridges: concepts between the matched ones, two or three hops apart (paper section 3.2)."""

from __future__ import annotations

import numpy as np

from etude.methods.pipenet.concept_graph import ConceptGraph, Ids


def two_hop(kg: ConceptGraph, matched: Ids) -> Ids:
    """Concepts adjacent to at least two of the matched ones: columns counted twice in their rows.

    Args:
        kg: The graph.
        matched: Distinct ids.

    Returns:
        Ascending ids, none of them matched.
    """
    places, _ = kg.rows(matched)
    found, counts = np.unique(kg.indices[places], return_counts=True)
    return np.asarray(np.setdiff1d(found[counts >= 2], matched), dtype=np.int64)


def three_hop(kg: ConceptGraph, matched: Ids) -> Ids:
    """Also the inner concepts of paths s - x - y - t between two matched concepts s and t.

    An edge x - y between neighbors of matched concepts lies on such a path unless one and the same matched
    concept is the only one that either touches.

    Args:
        kg: The graph.
        matched: Distinct ids.

    Returns:
        Ascending ids, none of them matched; every one is a neighbor of a matched concept.
    """
    places, lengths = kg.rows(matched)
    owners = np.repeat(np.arange(len(matched)), lengths)
    ring, first, counts = np.unique(kg.indices[places], return_index=True, return_counts=True)
    outside = ~np.isin(ring, matched)
    inner: Ids = np.asarray(ring[outside], dtype=np.int64)
    counts = counts[outside]
    only = np.where(counts == 1, owners[first[outside]], -1)  # the one matched neighbor, -1 where several
    if len(inner) == 0:
        return inner
    steps, degrees = kg.rows(inner)
    ends = kg.indices[steps]
    at = np.minimum(np.searchsorted(inner, ends), len(inner) - 1)
    inside = inner[at] == ends
    x, y = np.repeat(np.arange(len(inner)), degrees)[inside], at[inside]
    on_path = (only[x] != only[y]) | (only[x] < 0)
    marked = counts >= 2
    marked[x[on_path]] = True
    return inner[marked]
