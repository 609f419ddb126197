"""From a statement to its subgraph: mentions, bridges, scores, triples (paper sections 3.1 to 3.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from etude.errors import EtudeError
from etude.methods.pipenet.bridges import three_hop, two_hop
from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.lemma_trie import ConceptTrie, open_trie
from etude.methods.pipenet.mentions import Mentions, find_mentions
from etude.methods.pipenet.parsing import Parse, Parser, parse_once, splice
from etude.methods.pipenet.questions import Form, Question, Statement, statements
from etude.methods.pipenet.subgraph import ANSWER, BRIDGE, QUESTION, Subgraph
from etude.methods.pipenet.syntax_scores import bridge_scores, matched_scores

MOST_NODES = 200

Hops = Literal[2, 3]


@dataclass(frozen=True)
class Grounder:
    """Everything that turns statements into subgraphs.

    Attributes:
        kg: The graph.
        trie: Its trie for the parser's lemmas.
        parser: Gives trees.
        hops: 2, or 3 for the inner concepts of longer paths too.
        most_nodes: Bridges with the lowest scores are left out beyond this many nodes.
        fast: Parse each question once and splice the answers in.
    """

    kg: ConceptGraph
    trie: ConceptTrie
    parser: Parser
    hops: Hops = 2
    most_nodes: int = MOST_NODES
    fast: bool = False

    @classmethod
    def make(
        cls,
        kg: ConceptGraph,
        parser: Parser,
        *,
        hops: Hops = 2,
        most_nodes: int = MOST_NODES,
        fast: bool = False,
    ) -> Grounder:
        """A grounder with the graph's trie, which is built on first use.

        Raises:
            EtudeError: Hops other than 2 and 3, or no room for nodes.
        """
        if hops not in (2, 3):
            raise EtudeError(f"{hops} hops", "Subgraphs have 2 or 3 hops.")
        if most_nodes < 1:
            raise EtudeError(f"at most {most_nodes} nodes", "Leave room for at least one (paper: 200).")
        return cls(kg, open_trie(kg, parser), parser, hops, most_nodes, fast)

    def ground(self, given: Sequence[Statement]) -> list[Subgraph]:
        """Subgraphs of statements, in order; parses are shared where texts repeat."""
        trees = self.trees(given)
        answers = parse_once(self.parser, [s.answer for s in given], {"": _NOTHING})
        return [
            self.subgraph(s, tree, self.mentions(s, tree, answer))
            for s, tree, answer in zip(given, trees, answers, strict=True)
        ]

    def trees(self, given: Sequence[Statement]) -> list[Parse]:
        """Trees of the statements: parsed in full, or spliced where the answer's place is known."""
        if not self.fast:
            return parse_once(self.parser, [s.text for s in given], {})
        cache: dict[str, Parse] = {"": _NOTHING}
        texts = [t for s in given for t in ((s.frame, s.answer) if s.frame is not None else (s.text,))]
        parse_once(self.parser, texts, cache)
        return [
            cache[s.text]
            if s.frame is None or s.start is None
            else splice(cache[s.frame], s.start, cache[s.answer])
            for s in given
        ]

    def mentions(self, statement: Statement, tree: Parse, answer: Parse) -> Mentions:
        """V_Q, V_A and where they stand."""
        return find_mentions(self.kg, self.trie, tree, answer, answer_start=statement.start)

    def subgraph(self, statement: Statement, tree: Parse, mentions: Mentions) -> Subgraph:
        """Bridges, scores and triples around the matched concepts."""
        matched = np.concatenate([mentions.question, mentions.answer])
        scores = matched_scores(tree, mentions)
        bridges = (three_hop if self.hops == 3 else two_hop)(self.kg, matched)
        handed = bridge_scores(self.kg, matched, scores, bridges)
        room = max(0, self.most_nodes - len(matched))
        if len(bridges) > room:
            best = np.sort(np.lexsort((bridges, -handed))[:room])
            bridges, handed = bridges[best], handed[best]
        nodes = np.concatenate([matched, bridges])
        edge_index, edge_type = self.kg.edges_within(nodes)
        types = np.repeat(
            [QUESTION, ANSWER, BRIDGE], [len(mentions.question), len(mentions.answer), len(bridges)]
        )
        return Subgraph(
            nodes.astype(np.int32),
            types.astype(np.int8),
            np.concatenate([scores, handed]).astype(np.float32),
            edge_index,
            edge_type,
            mentions.spans,
            statement.text,
            statement.question_id,
            statement.choice,
            {int(c): self.kg.name(int(c)) for c in nodes},
            self.kg.relations,
            mentions.fallback,
        )


_NOTHING = Parse("", np.zeros(0, np.int32), np.zeros(0, np.int32), (), np.zeros(0, np.int32))


def ground_choice(
    kg: ConceptGraph, question: str, choice: str, parser: Parser, *, form: Form = "wh", hops: Hops = 2
) -> Subgraph:
    """The subgraph of one question with one answer."""
    one = Question(id="0", question=question, choices=[choice])
    return Grounder.make(kg, parser, hops=hops).ground(statements(one, form))[0]


@dataclass(frozen=True)
class FastParseEffect:
    """What splicing trees changes, on statements parsed both ways.

    Attributes:
        statements: How many.
        same_scores: Share of statements with every matched score the same.
        mean_difference: Mean absolute difference of matched scores, in tree edges.
        kept_overlap: Mean share of the bridges kept at rate 0.9 that are kept both ways.
    """

    statements: int
    same_scores: float
    mean_difference: float
    kept_overlap: float


def fast_parse_effect(grounder: Grounder, given: Sequence[Statement]) -> FastParseEffect:
    """Ground statements with full and with spliced trees and compare scores and kept bridges."""
    from dataclasses import replace

    from etude.methods.pipenet.pruning import prune_graph

    full = replace(grounder, fast=False).ground(given)
    fast = replace(grounder, fast=True).ground(given)
    same, differences, overlaps = [], [], []
    for a, b in zip(full, fast, strict=True):
        first, second = _matched(a), _matched(b)
        shared = sorted(first.keys() & second.keys())
        gaps = [abs(first[c] - second[c]) for c in shared]
        same.append(first.keys() == second.keys() and not any(g > 1e-6 for g in gaps))
        differences += gaps
        kept = [
            set(prune_graph(g, rate=0.9).nodes[prune_graph(g, rate=0.9).types == BRIDGE].tolist())
            for g in (a, b)
        ]
        if kept[0] or kept[1]:
            overlaps.append(len(kept[0] & kept[1]) / len(kept[0] | kept[1]))
    return FastParseEffect(
        len(full),
        float(np.mean(same)) if same else 1.0,
        float(np.mean(differences)) if differences else 0.0,
        float(np.mean(overlaps)) if overlaps else 1.0,
    )


def _matched(graph: Subgraph) -> dict[int, float]:
    chosen = graph.types != BRIDGE
    return dict(zip(graph.nodes[chosen].tolist(), graph.scores[chosen].tolist(), strict=True))


@dataclass(frozen=True)
class GroundingSize:
    """What grounding gave, in means per statement.

    Attributes:
        statements: How many.
        ungrounded: Statements without any concept: the language model answers alone.
        question_concepts, answer_concepts, bridges, nodes, edges: Means.
        nodes_95: 95th percentile of nodes.
    """

    statements: int
    ungrounded: int
    question_concepts: float
    answer_concepts: float
    bridges: float
    nodes: float
    edges: float
    nodes_95: float


def grounding_size(sizes: Iterable[tuple[int, int, int, int]]) -> GroundingSize:
    """Means of (question concepts, answer concepts, bridges, edges) of every statement."""
    table = np.array(list(sizes), dtype=np.float64).reshape(-1, 4)
    if len(table) == 0:
        return GroundingSize(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    nodes = table[:, :3].sum(axis=1)
    q, a, b, e = table.mean(axis=0).tolist()
    return GroundingSize(
        len(table), int((nodes == 0).sum()), q, a, b, float(nodes.mean()), e, float(np.percentile(nodes, 95))
    )


def graph_size(graph: Subgraph) -> tuple[int, int, int, int]:
    """Question concepts, answer concepts, bridges and edges of one subgraph."""
    kinds = Counter(graph.types.tolist())
    return kinds[QUESTION], kinds[ANSWER], kinds[BRIDGE], graph.edge_index.shape[1]
