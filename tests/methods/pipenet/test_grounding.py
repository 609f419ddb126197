"""Mentions, bridges and scores against pairwise definitions, on networkx."""

from functools import cache
from itertools import combinations, permutations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.pipenet.bridges import three_hop, two_hop
from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.demo import SAMPLE
from etude.methods.pipenet.graph_building import build_graph
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.grounding import Grounder, ground_choice
from etude.methods.pipenet.lemma_trie import build_trie
from etude.methods.pipenet.mentions import Mentions, concept_spans, find_mentions
from etude.methods.pipenet.parsing import Parse, StoredParser, split_at_spaces
from etude.methods.pipenet.questions import Question, slot, statements
from etude.methods.pipenet.relations import qagnn17
from etude.methods.pipenet.subgraph import ANSWER, BRIDGE
from etude.methods.pipenet.syntax_scores import bridge_scores, matched_scores

PARSES = SAMPLE / "parses.jsonl"
QUESTIONS = SAMPLE / "questions.jsonl"


class Spaces(StoredParser):
    """A parser that splits at spaces; what a text's lemmas and heads are can be told."""

    def __init__(self, lemmas: dict[str, str] | None = None) -> None:
        self.key = "spaces"
        self._lemmas = lemmas or {}

    def parse(self, texts):
        for text in texts:
            p = split_at_spaces(text)
            heads = np.maximum(np.arange(len(p.starts)) - 1, 0).astype(np.int32)  # a chain
            yield Parse(text, p.starts, p.ends, tuple(self._lemmas.get(w, w) for w in p.words), heads)

    lemmatize = parse


def as_networkx(kg: ConceptGraph) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(range(len(kg)))
    graph.add_edges_from((u, int(v)) for u in range(len(kg)) for v in kg.neighbors(u))
    return graph


@cache
def sample_triples(kg: ConceptGraph) -> set[tuple[int | None, int, int | None]]:
    rows = set()
    for line in (SAMPLE / "triples.tsv").read_text().splitlines()[1:]:
        head, rel, tail = line.split("\t")
        merged, turned = qagnn17().table[rel]
        head, tail = (tail, head) if turned else (head, tail)
        rows.add((kg.find(head), kg.relations.index(merged), kg.find(tail)))
    return rows


@pytest.fixture(scope="module")
def plain(kg: ConceptGraph) -> nx.Graph:
    return as_networkx(kg)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 160), min_size=1, max_size=7, unique=True))
def test_two_hop_bridges_are_the_common_neighbors_of_any_two_matched(kg, plain, matched) -> None:
    pairwise = set()
    for a, b in combinations(matched, 2):
        pairwise |= set(plain[a]) & set(plain[b])
    assert two_hop(kg, np.array(sorted(matched))).tolist() == sorted(pairwise - set(matched))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 160), min_size=1, max_size=4, unique=True))
def test_three_hop_adds_the_inner_concepts_of_paths_of_length_three(kg, plain, matched) -> None:
    expected = set(two_hop(kg, np.array(sorted(matched))).tolist())
    for s, t in permutations(matched, 2):
        for x in plain[s]:
            for y in plain[t]:
                if x != y and plain.has_edge(x, y) and not {x, y} & set(matched):
                    expected |= {x, y}
    assert three_hop(kg, np.array(sorted(matched))).tolist() == sorted(expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 160), min_size=1, max_size=9, unique=True))
def test_edges_within_are_the_triples_between_the_nodes(kg, matched) -> None:
    nodes = np.array(matched)
    ends, relation = kg.edges_within(nodes)
    found = {(int(nodes[h]), int(r), int(nodes[t])) for (h, t), r in zip(ends.T, relation, strict=True)}
    assert found == {(h, r, t) for h, r, t in sample_triples(kg) if h in matched and t in matched}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 160), min_size=2, max_size=7, unique=True), st.data())
def test_a_bridge_has_the_mean_score_of_all_its_matched_neighbors(kg, plain, matched, data) -> None:
    matched = sorted(matched)
    scores = np.array([-float(data.draw(st.integers(0, 9))) for _ in matched])
    bridges = two_hop(kg, np.array(matched))
    found = bridge_scores(kg, np.array(matched), scores, bridges)
    for bridge, value in zip(bridges.tolist(), found.tolist(), strict=True):
        of = [s for m, s in zip(matched, scores.tolist(), strict=True) if plain.has_edge(bridge, m)]
        assert value == pytest.approx(sum(of) / len(of))


def chain(text: str) -> Parse:
    return next(iter(Spaces().parse([text])))


def mentions(question: list[int], answer: list[int], spans: dict[int, list[tuple[int, int]]]) -> Mentions:
    return Mentions(np.array(question, dtype=np.int64), np.array(answer, dtype=np.int64), spans)


def test_a_matched_score_is_minus_the_mean_distance_to_the_answer() -> None:
    tree = chain("a b c d e")  # tokens at 0, 2, 4, 6, 8; each hangs on the one before
    found = matched_scores(tree, mentions([1], [7, 8], {1: [(0, 1)], 7: [(4, 5)], 8: [(8, 9)]}))
    assert found.tolist() == [-(2 + 4) / 2, -(0 + 2) / 2, -(2 + 0) / 2]


def test_an_answer_concept_that_is_not_in_the_statement_has_zero_and_does_not_count() -> None:
    found = matched_scores(chain("a b c"), mentions([1], [7, 8], {1: [(0, 1)], 7: [(4, 5)]}))
    assert found.tolist() == [-2.0, 0.0, 0.0]


def test_without_an_answer_in_the_statement_all_matched_spans_count() -> None:
    found = matched_scores(chain("a b c"), mentions([1, 2], [7], {1: [(0, 1)], 2: [(4, 5)]}))
    assert found.tolist() == [-(0 + 2) / 2, -(2 + 0) / 2, 0.0]


def test_a_concept_that_occurs_twice_is_as_near_as_its_nearest_place() -> None:
    found = matched_scores(chain("a b c d"), mentions([1], [7], {1: [(0, 1), (4, 5)], 7: [(6, 7)]}))
    assert found.tolist() == [-1.0, 0.0]


def test_places_are_characters_so_other_tokens_find_them() -> None:
    """The matcher saw `self-esteem` as one word, the parser as three tokens."""
    starts = np.array([0, 4, 5, 12], dtype=np.int32)
    ends = np.array([4, 5, 11, 16], dtype=np.int32)
    tree = Parse("self-esteem rise", starts, ends, ("self", "-", "esteem", "rise"), np.array([2, 2, 3, 3]))
    found = matched_scores(tree, mentions([1], [2], {1: [(0, 11)], 2: [(12, 16)]}))
    assert found.tolist() == [-1.0, 0.0]


def test_two_trees_are_a_hundred_apart() -> None:
    p = split_at_spaces("a b")
    forest = Parse(p.text, p.starts, p.ends, p.lemmas, np.array([0, 1], dtype=np.int32))
    assert matched_scores(forest, mentions([1], [2], {1: [(0, 1)], 2: [(2, 3)]})).tolist() == [-100.0, 0.0]


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> ConceptGraph:
    folder = tmp_path_factory.mktemp("towns")
    names = "measure measured measures measuring new_york york big_apple the_bank river_bank self-esteem"
    rows = [f"{name}\tisa\tthing_of_note" for name in names.split()] + ["he\tisa\tpronoun", "and\tisa\tword"]
    (folder / "t.tsv").write_text("head\trel\ttail\n" + "\n".join(rows) + "\n")
    build_graph(folder / "t.tsv", folder / "kg", qagnn17())
    return ConceptGraph.open(folder / "kg")


def test_lemmas_match_and_a_span_keeps_its_three_shortest_concepts_and_the_exact_one(towns) -> None:
    parser = Spaces({"measured": "measure", "measures": "measure", "measuring": "measure"})
    trie = build_trie([towns.name(i) for i in range(len(towns))], parser)
    (text,) = parser.parse(["he measuring New York"])
    found = {towns.name(c): spans for c, spans in concept_spans(towns, trie, text).items()}
    assert found == {
        "measure": [(3, 12)],
        "measured": [(3, 12)],
        "measures": [(3, 12)],
        "measuring": [(3, 12)],  # the exact match, not among the three shortest
        "new_york": [(13, 21)],
        "york": [(17, 21)],
    }


def test_stop_words_and_pronouns_are_not_grounded_until_nothing_else_is(towns) -> None:
    parser = Spaces()
    trie = build_trie([towns.name(i) for i in range(len(towns))], parser)
    nothing = split_at_spaces("")
    found = find_mentions(towns, trie, chain("he and and"), nothing)
    assert found.fallback == ("question",)
    assert [towns.name(c) for c in found.question.tolist()] == ["and", "he"]
    assert found.spans[towns.find("and")] == [(3, 6), (7, 10)]
    other = find_mentions(towns, trie, chain("he and york"), nothing)
    assert other.fallback == () and [towns.name(c) for c in other.question.tolist()] == ["york"]


def test_an_answer_concept_that_is_also_in_the_question_is_the_answers(kg: ConceptGraph) -> None:
    g = ground_choice(kg, "Is the candle near the _____ tonight", "candle", Spaces())
    candle = kg.find("candle")
    assert g.types[g.nodes.tolist().index(candle)] == ANSWER
    assert len(g.spans[candle]) == 2


def test_an_empty_answer_grounds_the_question_alone(kg: ConceptGraph) -> None:
    g = ground_choice(kg, "Who would light a candle at night", "", Spaces())
    assert ANSWER not in g.types and len(g.nodes) > 0


def test_text_of_another_language_grounds_nothing(kg: ConceptGraph) -> None:
    g = ground_choice(kg, "Где лежит книга ?", "стол", Spaces())
    assert len(g.nodes) == 0 and g.edge_index.shape == (2, 0)


def test_more_bridges_than_there_is_room_for_go_from_the_lowest_score(kg: ConceptGraph) -> None:
    parser = StoredParser(PARSES)
    from etude.methods.pipenet.questions import read_questions

    given = [s for q in read_questions(QUESTIONS) for s in statements(q)]
    full = Grounder.make(kg, parser).ground(given)
    tight = Grounder.make(kg, parser, most_nodes=9).ground(given)
    assert any(len(g.nodes) > 9 for g in full)
    for whole, cut in zip(full, tight, strict=True):
        matched = int((whole.types != BRIDGE).sum())
        assert len(cut.nodes) == min(len(whole.nodes), max(9, matched))
        kept, gone = np.isin(whole.nodes, cut.nodes), ~np.isin(whole.nodes, cut.nodes)
        bridges = kept & (whole.types == BRIDGE)
        if bridges.any() and gone.any():
            assert whole.scores[bridges].min() >= whole.scores[gone].max()


def test_a_store_gives_back_what_was_grounded(kg: ConceptGraph, store: GraphStore) -> None:
    from etude.methods.pipenet.questions import read_questions

    given = [s for q in read_questions(QUESTIONS) for s in statements(q)]
    for fresh, kept in zip(Grounder.make(kg, StoredParser(PARSES)).ground(given), store, strict=True):
        for name in ("nodes", "types", "scores", "edge_index", "edge_type"):
            assert np.array_equal(getattr(fresh, name), getattr(kept, name)), name
        assert fresh.spans == kept.spans and fresh.statement == kept.statement
        assert {int(c): store.names[int(c)] for c in fresh.nodes} == fresh.names


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("It serves at a what?", ("It serves at a ", ".")),
        ("What do people do at work?", ("", " do people do at work.")),
        ("The ___ is wet.", ("The ", " is wet.")),
        ("He said what he saw. Where did he go?", ("He said what he saw. ", " did he go.")),
        ("Name a bird", ("Name a bird ", "")),
    ],
)
def test_the_answer_takes_the_place_of_the_question_word(question: str, expected: tuple[str, str]) -> None:
    assert slot(question) == expected


def test_a_users_own_statements_win() -> None:
    q = Question(id="1", question="Which?", choices=["a", "b"], statements=["A is.", "B is."])
    assert [s.text for s in statements(q)] == ["A is.", "B is."]
    assert statements(q)[0].frame is None
