"""Which concepts a statement names, where, and which of them are the answer's (paper section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from etude.methods.pipenet.concept_graph import ConceptGraph, Ids
from etude.methods.pipenet.lemma_trie import ConceptTrie
from etude.methods.pipenet.parsing import Parse

SHORTEST = 3

Spans = dict[int, list[tuple[int, int]]]


@dataclass(frozen=True, eq=False)
class Mentions:
    """The concepts a statement is grounded on.

    Attributes:
        question: V_Q: concepts of the statement that are not the answer's, ascending.
        answer: V_A: concepts of the answer's text, ascending.
        spans: Concept to the characters of its places in the statement; an answer concept may have none.
        fallback: Sides that were empty and then grounded word by word.
    """

    question: Ids
    answer: Ids
    spans: Spans
    fallback: tuple[str, ...] = ()


def find_mentions(
    kg: ConceptGraph, trie: ConceptTrie, statement: Parse, answer: Parse, *, answer_start: int | None = None
) -> Mentions:
    """Ground a statement.

    Places are characters, so the tokens of a matcher and of a parser need not agree.

    Args:
        kg: The graph.
        trie: Its trie.
        statement: The statement's tokens and lemmas.
        answer: The same of the answer alone.
        answer_start: Where the answer begins in the statement, if known: the fallback of the question's side
            then leaves its words out.
    """
    spans = concept_spans(kg, trie, statement)
    in_answer = concept_spans(kg, trie, answer)
    fallback = []
    if not in_answer and len(answer.starts):
        in_answer = _word_by_word(kg, answer)
        if in_answer:
            fallback.append("answer")
            for concept, places in _word_by_word(kg, statement).items():
                if concept in in_answer:
                    spans.setdefault(concept, places)
    question = sorted(set(spans) - set(in_answer))
    if not question:
        end = -1 if answer_start is None else answer_start + len(answer.text)
        begin = -1 if answer_start is None else answer_start
        words = _word_by_word(kg, statement, without=(begin, end))
        question = sorted(set(words) - set(in_answer))
        if question:
            fallback.append("question")
            spans |= {concept: words[concept] for concept in question}
    return Mentions(
        np.array(question, dtype=np.int64),
        np.array(sorted(in_answer), dtype=np.int64),
        spans,
        tuple(fallback),
    )


def concept_spans(kg: ConceptGraph, trie: ConceptTrie, parse: Parse) -> Spans:
    """Concepts and their places; of each place the three shortest concepts and the exact match."""
    found: Spans = {}
    by_place: dict[tuple[int, int], list[Ids]] = {}
    for first, last, concepts in trie.matches(parse):
        by_place.setdefault((first, last), []).append(concepts)
    words = parse.words
    for (first, last), groups in sorted(by_place.items()):
        concepts = np.unique(np.concatenate(groups))
        lengths = kg.name_lengths(concepts)
        order = np.lexsort((concepts, lengths))
        chosen = set(concepts[order[:SHORTEST]].tolist())
        exact = kg.find("_".join(words[first:last])) if len(concepts) > SHORTEST else None
        if exact is not None and exact in concepts:
            chosen.add(exact)
        span = (int(parse.starts[first]), int(parse.ends[last - 1]))
        for concept in sorted(chosen):
            found.setdefault(concept, []).append(span)
    return found


def _word_by_word(kg: ConceptGraph, parse: Parse, without: tuple[int, int] = (-1, -1)) -> Spans:
    """Concepts that are one lemma of the text, stop words included."""
    found: Spans = {}
    for lemma, start, end in zip(parse.lemmas, parse.starts.tolist(), parse.ends.tolist(), strict=True):
        inside = without[0] <= start < without[1]
        concept = None if inside else kg.find(lemma)
        if concept is not None:
            found.setdefault(concept, []).append((start, end))
    return found
