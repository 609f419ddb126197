"""The retrieval behind a question: candidates from the vocabulary, clues from the solved training cases, and
what must not be seen when the question is itself a training case.

Leave-one-out: a training question sees neither its own mention as a learned name of the vocabulary nor any
training case with the same mention. Masking: it also sees no training mention of its own gold id, neither as
a learned name nor as a case, as if that id had never been trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from etude.methods.bioelqa.normalization import normalize
from etude.methods.bioelqa.questions import NONE_NAME, Clue, Option, Question
from etude.methods.bioelqa.retrievers import Retriever
from etude.methods.bioelqa.vocabulary import Vocabulary

_CACHE = 200_000  # questions kept, one for each different mention


@dataclass(frozen=True)
class Case:
    """A solved training case: a normalized mention and its id, and how often training had it."""

    mention: str
    id: str
    count: int = field(default=1, compare=False)


class CaseBase:
    """Vocabulary, training cases and a fitted retriever.

    Args:
        retriever: Already fitted on `vocabulary.names`.
        vocabulary: With learned names, or without.
        cases: Training cases, each (mention, id) once.
        vectors: Encoded `vocabulary.names.texts`, if they are at hand.
    """

    def __init__(
        self, retriever: Retriever, vocabulary: Vocabulary, cases: Sequence[Case], vectors: Any = None
    ) -> None:
        self.retriever, self.vocabulary = retriever, vocabulary
        self.cases = tuple(dict.fromkeys(case for case in cases if case.id in vocabulary and case.mention))
        names = vocabulary.names
        encoded = retriever.encode(names.texts) if vectors is None else vectors
        self.index = retriever.index(encoded, names.owners)
        self._keys = None
        if self.cases:
            keys = retriever.encode([case.mention for case in self.cases])
            self._keys = retriever.index(keys, np.arange(len(self.cases)))
        self._kept: dict[tuple[str, int, int, bool], Question] = {}

    @cached_property
    def cases_of_mention(self) -> Mapping[str, tuple[int, ...]]:
        """Mention to its cases."""
        return _places(case.mention for case in self.cases)

    @cached_property
    def cases_of_id(self) -> Mapping[str, tuple[int, ...]]:
        """Id to its cases."""
        return _places(case.id for case in self.cases)

    def occurrences(self, id: str) -> int:
        """How many training mentions an id has."""
        return sum(self.cases[place].count for place in self.cases_of_id.get(id, ()))

    def questions(
        self, mentions: Sequence[str], *, n_options: int, n_clues: int, abstain: bool = False
    ) -> list[Question]:
        """Questions about new mentions (normalized); a mention that comes again is not looked up again."""
        keys = [(mention, n_options, n_clues, abstain) for mention in mentions]
        missing = [key for key in dict.fromkeys(keys) if key not in self._kept]
        if len(self._kept) + len(missing) > _CACHE:
            self._kept.clear()
            missing = list(dict.fromkeys(keys))
        asked = [key[0] for key in missing]
        found = self._ask(asked, n_options, n_clues, abstain, None, None)
        self._kept.update(zip(missing, found, strict=True))
        return [self._kept[key] for key in keys]

    def training_questions(
        self, cases: Sequence[Case], *, n_options: int, n_clues: int, masked: bool, abstain: bool = False
    ) -> list[Question]:
        """Questions about the training cases themselves, without the gold marked.

        Args:
            cases: Training cases.
            n_options: Candidates of each.
            n_clues: Clues of each.
            masked: Hide every training mention of the gold id, not only this one's.
            abstain: Whether "none of these" is offered.
        """
        names = self.vocabulary.names
        hidden_names, hidden_cases = [], []
        for case in cases:
            out = set(names.learned_rows.get(case.mention, ()))
            held = set(self.cases_of_mention.get(case.mention, ()))
            if masked:
                out |= set(names.learned_rows_of_owner.get(self.vocabulary.place[case.id], ()))
                held |= set(self.cases_of_id.get(case.id, ()))
            hidden_names.append(np.array(sorted(out), dtype=np.int64))
            hidden_cases.append(np.array(sorted(held), dtype=np.int64))
        mentions = [case.mention for case in cases]
        return self._ask(mentions, n_options, n_clues, abstain, hidden_names, hidden_cases)

    def option(self, id: str, mention: str) -> Option:
        """An id as an option for a mention, for `--inject-gold`."""
        entity = self.vocabulary[id]
        vectors = self.retriever.encode([normalize(entity.name), mention])
        score = float(np.asarray(_dot(vectors[:1], vectors[1:])).ravel()[0])
        return Option(id, entity.name, normalize(entity.name), score)

    def _ask(
        self,
        mentions: Sequence[str],
        n_options: int,
        n_clues: int,
        abstain: bool,
        hidden_names: list[np.ndarray] | None,
        hidden_cases: list[np.ndarray] | None,
    ) -> list[Question]:
        if not mentions:
            return []
        names, entities = self.vocabulary.names, self.vocabulary.entities
        vectors = self.retriever.encode(mentions)
        tops = self.index.top(vectors, n_options, hidden_names)
        near = None
        if self._keys is not None and n_clues:
            near = self._keys.top(vectors, n_clues, hidden_cases)
        asked = []
        for i, (mention, top) in enumerate(zip(mentions, tops, strict=True)):
            options = [
                Option(entities[o].id, entities[o].name, names.texts[r], float(s), bool(names.learned[r]))
                for o, s, r in zip(top.owners, top.scores, top.rows, strict=True)
            ]
            if abstain:
                options.append(Option(None, NONE_NAME))
            clues = () if near is None else tuple(map(self._clue, near[i].owners, near[i].scores))
            asked.append(Question(mention, tuple(options), clues))
        return asked

    def _clue(self, place: int, score: float) -> Clue:
        case = self.cases[place]
        return Clue(case.mention, case.id, self.vocabulary[case.id].name, float(score))


def _places(values: Any) -> dict[Any, tuple[int, ...]]:
    found: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        found.setdefault(value, []).append(place)
    return {value: tuple(places) for value, places in found.items()}


def _dot(first: Any, second: Any) -> Any:
    product = first @ second.T
    return product.toarray() if hasattr(product, "toarray") else product
