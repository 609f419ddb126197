"""A trie over word ids that finds every concept of a graph in a text, by its words or its lemmas.

It is flat arrays in the cache, memory-mapped: a child is found by a binary search for (node, word). Concepts
of one to four words take part, unless all their words are stop words, one end is a pronoun, or they say
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etude.data.store import cache_root, locked
from etude.errors import EtudeError
from etude.methods.pipenet.concept_graph import ConceptGraph, Ids
from etude.methods.pipenet.parsing import Parse, Parser
from etude.render import console
from etude.runs import atomic_path, content_hash, write_text

FORMAT = 1
MOST_WORDS = 4
_PRONOUNS = """i me my mine we us our ours you your yours he him his she her hers it its they them their
    theirs who whom whose one someone something"""
_SAYS_NOTHING = """actually could everybody everyone everything likely maybe nobody nothing often perhaps
    possibly probably really somebody somewhere sometimes thing things usually want want_to would"""
PRONOUNS = frozenset(_PRONOUNS.split())
SAYS_NOTHING = frozenset(_SAYS_NOTHING.split())


@dataclass(frozen=True, eq=False)
class ConceptTrie:
    """Words of concepts as paths; a path's end knows the concepts.

    Attributes:
        words: Word to id.
        keys: node * len(words) + word of every edge, ascending, (edges,).
        children: The node each leads to, (edges,).
        ends: Start of each node's concepts, (nodes + 1,).
        concepts: Concept ids, ordered by node, (paths,).
    """

    words: dict[str, int] = field(repr=False)
    keys: NDArray[np.int64] = field(repr=False)
    children: NDArray[np.int32] = field(repr=False)
    ends: NDArray[np.int64] = field(repr=False)
    concepts: NDArray[np.int32] = field(repr=False)

    def matches(self, parse: Parse) -> list[tuple[int, int, Ids]]:
        """Every place where concepts stand: first token, last token + 1, concept ids (paper section 3.1).

        Args:
            parse: Tokens with lemmas; a token stands for its word and for its lemma.
        """
        n, width = len(parse.starts), len(self.words)
        if n == 0 or len(self.keys) == 0:
            return []
        forms = np.array(
            [
                [self.words.get(w, -1), self.words.get(m, -1)]
                for w, m in zip(parse.words, parse.lemmas, strict=True)
            ],
            dtype=np.int64,
        )
        forms[forms[:, 0] == forms[:, 1], 1] = -1
        start, end, node = np.arange(n), np.arange(n), np.zeros(n, dtype=np.int64)
        found: list[tuple[int, int, Ids]] = []
        while len(start):
            word = forms[end]  # (paths, 2)
            wanted = node[:, None] * width + word
            place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
            path, form = np.nonzero((word >= 0) & (self.keys[place] == wanted))
            start, end = start[path], end[path] + 1
            node = self.children[place[path, form]].astype(np.int64)
            for k in np.nonzero(self.ends[node + 1] > self.ends[node])[0]:
                here = self.concepts[self.ends[node[k]] : self.ends[node[k] + 1]]
                found.append((int(start[k]), int(end[k]), np.asarray(here, dtype=np.int64)))
            inside = end < n
            start, end, node = start[inside], end[inside], node[inside]
        return found


def stop_words() -> frozenset[str]:
    """Words that ground nothing by themselves: scikit-learn's English list."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


def groundable(name: str, stops: frozenset[str]) -> bool:
    """Whether a concept takes part in matching."""
    words = name.split("_")
    return (
        len(words) <= MOST_WORDS
        and all(words)
        and name not in SAYS_NOTHING
        and words[0] not in PRONOUNS
        and words[-1] not in PRONOUNS
        and not all(word in stops for word in words)
    )


def build_trie(names: Sequence[str], parser: Parser, ids: Sequence[int] | None = None) -> ConceptTrie:
    """A trie of the groundable names, each along its words and along its lemmas.

    Args:
        names: Concepts, words joined by `_`.
        parser: Gives tokens and lemmas of each name.
        ids: Concept ids; places in `names` by default.
    """
    stops = stop_words()
    chosen = [
        (i, name) for i, name in zip(ids or range(len(names)), names, strict=True) if groundable(name, stops)
    ]
    words: dict[str, int] = {}
    edges: dict[tuple[int, int], int] = {}
    concepts: list[tuple[int, int]] = []
    parses = parser.lemmatize(name.replace("_", " ") for _, name in chosen)
    for (concept, _), parse in zip(chosen, parses, strict=True):
        for path in {tuple(parse.words), parse.lemmas}:
            node = 0
            for word in path:
                node = edges.setdefault((node, words.setdefault(word, len(words))), len(edges) + 1)
            if node:
                concepts.append((node, concept))
    concepts = sorted(set(concepts))
    keys = np.array([node * len(words) + word for node, word in edges], dtype=np.int64)
    order = np.argsort(keys)
    at = np.array([node for node, _ in concepts], dtype=np.int64)
    return ConceptTrie(
        words,
        keys[order],
        np.array(list(edges.values()), dtype=np.int32)[order],
        np.searchsorted(at, np.arange(len(edges) + 2)).astype(np.int64),
        np.array([concept for _, concept in concepts], dtype=np.int32),
    )


def open_trie(kg: ConceptGraph, parser: Parser) -> ConceptTrie:
    """The trie of a graph for a parser; built once, then memory-mapped from the cache."""
    key = content_hash({"kg": kg.hash, "parser": parser.key, "format": FORMAT})[:24]
    folder = cache_root() / "pipenet" / "tries" / key
    with locked(f"pipenet-trie-{key}"):
        if not folder.is_dir():
            console().print(f"pipenet: lemmas of {len(kg):,} concepts (once for this graph and parser)")
            _save(build_trie([kg.name(i) for i in range(len(kg))], parser), folder)
    words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")
    arrays = [
        np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("keys", "children", "ends", "concepts")
    ]
    return ConceptTrie({word: i for i, word in enumerate(words)}, *arrays)


def _save(trie: ConceptTrie, folder: Path) -> None:
    if not trie.words:
        raise EtudeError("no concept of the graph can be grounded", "Its names must be words joined by _.")
    with atomic_path(folder) as fresh:
        fresh.mkdir()
        write_text(fresh / "words.txt", "\n".join(trie.words))
        for name in ("keys", "children", "ends", "concepts"):
            np.save(fresh / f"{name}.npy", getattr(trie, name), allow_pickle=False)
