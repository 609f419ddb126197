"""Scores: how near a matched concept stands to the answer in the tree, handed to bridges (paper eq. 2-3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etude.methods.pipenet.concept_graph import ConceptGraph, Ids
from etude.methods.pipenet.mentions import Mentions
from etude.methods.pipenet.parsing import Parse
from etude.methods.pipenet.tree_distance import span_distances


def matched_scores(tree: Parse, mentions: Mentions) -> NDArray[np.float64]:
    """score(c) = -mean over the answer's concepts a of D(span(c), span(a)).

    The mean runs over the answer concepts that stand in the statement; without one, over all matched
    concepts that do. A concept that does not stand in the statement has 0. A concept with several places has
    the tokens of all of them.

    Args:
        tree: Its tokens may differ from those the concepts were found with.
        mentions: The concepts.

    Returns:
        Scores of `mentions.question`, then of `mentions.answer`.
    """
    concepts = np.concatenate([mentions.question, mentions.answer])
    tokens = []
    for concept in concepts.tolist():
        places = [tree.tokens_in(start, end) for start, end in mentions.spans.get(concept, ())]
        tokens.append(np.unique(np.concatenate(places)) if places else np.zeros(0, dtype=np.int64))
    stands = np.array([len(t) > 0 for t in tokens], dtype=bool)
    is_answer = np.arange(len(concepts)) >= len(mentions.question)
    targets = stands & is_answer
    if not targets.any():
        targets = stands
    scores = np.zeros(len(concepts))
    if targets.any():
        distances = span_distances(tree.heads, tokens)
        scores[stands] = 0.0 - distances[np.ix_(stands, targets)].mean(axis=1)
    return scores


def bridge_scores(
    kg: ConceptGraph, matched: Ids, scores: NDArray[np.float64], bridges: Ids
) -> NDArray[np.float64]:
    """score(x) = mean of the scores of all matched neighbors of x: one sparse product.

    Args:
        kg: The graph.
        matched: Concepts with a score, (m,).
        scores: Theirs, (m,).
        bridges: Ascending ids, each a neighbor of at least one of `matched`, (b,).

    Returns:
        (b,).
    """
    places, lengths = kg.rows(matched)
    neighbors = kg.indices[places]
    at = np.searchsorted(bridges, neighbors)
    hit = (
        (at < len(bridges)) & (bridges[np.minimum(at, len(bridges) - 1)] == neighbors)
        if len(bridges)
        else at < 0
    )
    sums = np.bincount(at[hit], weights=np.repeat(scores, lengths)[hit], minlength=len(bridges))
    return np.asarray(sums / np.bincount(at[hit], minlength=len(bridges)))
