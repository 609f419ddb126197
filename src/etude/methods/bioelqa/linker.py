"""The whole method as one object: fit on a corpus and a vocabulary, link mentions, save, load.

linker = BioELQA(n_options=10, n_clues=3, clue_mask=0.3)
linker.fit(read_pubtator("train.txt"), Vocabulary.from_tsv("vocab.tsv"))
linker.link(["heart attack"])[0].id
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods.bioelqa.case_base import Case, CaseBase
from etude.methods.bioelqa.mentions import MentionRow, Preprocessing, training_cases
from etude.methods.bioelqa.ngram_retriever import CharNgram
from etude.methods.bioelqa.pubtator import Corpus, Document
from etude.methods.bioelqa.questions import Question, symbols_for
from etude.methods.bioelqa.retrievers import Retriever
from etude.methods.bioelqa.selectors import Selector, answer
from etude.methods.bioelqa.training_questions import QuestionSettings, make_training_questions
from etude.methods.bioelqa.vocabulary import Vocabulary


@dataclass(frozen=True)
class ShownOption:
    """An option as it was shown: symbol, id (None for "none of these"), name, and what was made of it."""

    symbol: str
    id: str | None
    name: str
    retriever_score: float
    probability: float


@dataclass(frozen=True)
class ShownClue:
    """A clue as it was shown."""

    mention: str
    id: str
    name: str
    score: float


@dataclass(frozen=True)
class Link:
    """A mention's link.

    Args:
        mention: As given.
        id: Its id; None when the linker abstained or found nothing. Of a composite mention, ids with |.
        name: The name of that id.
        score: The chosen option's probability; of a composite mention the smallest.
        abstained: Whether no id is given.
        options: What was to choose from (of a composite mention, for all its parts).
        clues: The solved cases beside them.
    """

    mention: str
    id: str | None
    name: str | None
    score: float
    abstained: bool
    options: tuple[ShownOption, ...] = ()
    clues: tuple[ShownClue, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class BioELQA:
    """Entity linking as multiple choice.

    Args:
        retriever: Finds candidates and clues; `CharNgram()` by default.
        selector: Chooses; `FeatureSelector()` by default. `False`: the retriever's first choice is taken.
        n_options: N, candidates shown.
        n_clues: k, solved cases shown.
        clue_mask: p, share of training questions in which the gold id is hidden as if never trained on.
        variants: Copies of each training question, each in its own order.
        inject_gold: Put a missing gold in place of the last option in training.
        abstain: Offer "none of these".
        learn_names: Add training mentions to the vocabulary as names.
        preprocessing: What is done to mentions.
        orders: Orders of the options over which an answer is averaged.
        min_score: Abstain below this probability.
    """

    def __init__(
        self,
        retriever: Retriever | None = None,
        selector: Selector | bool | None = None,
        *,
        n_options: int = 10,
        n_clues: int = 3,
        clue_mask: float = 0.3,
        variants: int = 4,
        inject_gold: bool = False,
        abstain: bool = False,
        learn_names: bool = True,
        preprocessing: Preprocessing | None = None,
        orders: int = 1,
        min_score: float = 0.0,
    ) -> None:
        self.settings = QuestionSettings(n_options, n_clues, clue_mask, variants, inject_gold, abstain)
        self.retriever: Retriever = retriever if retriever is not None else CharNgram()
        self.selector = _selector(selector)
        self.learn_names = learn_names
        self.preprocessing = preprocessing or Preprocessing()
        self.orders, self.min_score = orders, min_score
        self.base: CaseBase | None = None
        self.left_out: dict[str, int] = {}
        self.training: dict[str, Any] = {}
        self.trained_documents: frozenset[str] = frozenset()

    def fit(
        self,
        corpus: Corpus | Sequence[Document],
        vocabulary: Vocabulary,
        *,
        out: Path | str | None = None,
        seed: int = 0,
    ) -> BioELQA:
        """Learn from a corpus.

        Args:
            corpus: Documents with mentions.
            vocabulary: Without learned names.
            out: Folder for checkpoints; without one a killed training starts anew.
            seed: Of masking, orders and the selector.

        Raises:
            EtudeError: No mention has an id of the vocabulary.
        """
        cases, self.left_out = training_cases(corpus, vocabulary, self.preprocessing)
        self.trained_documents = frozenset(document.id for document in corpus)
        return self.fit_cases(cases, vocabulary, out=out, seed=seed)

    def fit_cases(
        self,
        cases: Sequence[Case],
        vocabulary: Vocabulary,
        *,
        out: Path | str | None = None,
        seed: int = 0,
        vectors: Any = None,
        limit: int | None = None,
    ) -> BioELQA:
        """Learn from solved cases; see `fit`.

        Args:
            cases: Normalized mentions with ids.
            vocabulary: Without learned names.
            out: Folder for checkpoints.
            seed: As in `fit`.
            vectors: The vocabulary's names, encoded, if they are at hand (dense retrievers).
            limit: Train the selector on at most so many questions, drawn by the seed.
        """
        if not cases:
            raise EtudeError(
                "no training mention has an id of the vocabulary",
                "Check that the corpus and the vocabulary use the same ids.",
            )
        self.base = prepare_base(self.retriever, vocabulary, cases, self.learn_names, vectors)
        if self.selector is None:
            return self
        questions, dropped = make_training_questions(self.base, self.settings, seed=seed)
        if limit is not None and limit < len(questions):
            kept = np.random.default_rng(seed).permutation(len(questions))[:limit]
            questions = [questions[i] for i in sorted(kept)]
        with tempfile.TemporaryDirectory(prefix="etude-bioelqa-") as scratch:
            facts = self.selector.fit(questions, out=Path(out or scratch), seed=seed)
        self.training = {"cases": len(self.base.cases), "questions": len(questions), "dropped": dropped}
        self.training |= facts
        return self

    def link(self, mentions: Sequence[str], context: str | Sequence[str] | None = None) -> list[Link]:
        """Link mentions given as texts.

        Args:
            mentions: As written.
            context: Text around them, for abbreviations (and prompted selectors): one for all, or one each.

        Raises:
            EtudeError: The linker was not fitted, or the contexts do not fit.
        """
        texts = [context or ""] * len(mentions) if isinstance(context, str | None) else list(context)
        if len(texts) != len(mentions):
            raise EtudeError(f"{len(mentions)} mentions and {len(texts)} contexts", "Give one each.")
        rows = [
            MentionRow.model_construct(mention=mention, context=text)
            for mention, text in zip(mentions, texts, strict=True)
        ]
        return self.link_rows(rows)

    def predict(self, mentions: Sequence[str]) -> list[str | None]:
        """The id of each mention, None where the linker abstains."""
        return [link.id for link in self.link(mentions)]

    def link_rows(self, rows: Sequence[MentionRow], texts: Mapping[str, str] | None = None) -> list[Link]:
        """Link rows; a composite mention gets one id for each of its parts.

        Args:
            rows: The mentions.
            texts: Document id to its text, for abbreviations; else a row's own context is used.
        """
        names = [self.preprocessing.names(row, (texts or {}).get(row.doc, row.context)) for row in rows]
        asked, owners = [], []
        for place, (row, parts) in enumerate(zip(rows, names, strict=True)):
            for part in parts:
                asked.append((part, row.context))
                owners.append(place)
        questions = self._questions(asked)
        answers = self._answers(questions)
        found: list[list[Link]] = [[] for _ in rows]
        for place, question, shares in zip(owners, questions, answers, strict=True):
            found[place].append(self._link(rows[place].mention, question, shares))
        return [links[0] if len(links) == 1 else _joined(links) for links in found]

    def questions(self, mentions: Sequence[str]) -> list[Question]:
        """The questions asked about normalized mentions."""
        if self.base is None:
            raise EtudeError("the linker has not been fitted", "Call fit, or load a trained one.")
        how = self.settings
        return self.base.questions(
            mentions, n_options=how.n_options, n_clues=how.n_clues, abstain=how.abstain
        )

    def _questions(self, asked: Sequence[tuple[str, str]]) -> list[Question]:
        found = self.questions([mention for mention, _ in asked])
        if self.selector is None or not self.selector.reads_context:
            return found
        return [
            replace(question, context=context) for question, (_, context) in zip(found, asked, strict=True)
        ]

    def _answers(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """Probabilities; a question that came before (same mention, same context) is answered once."""
        if self.selector is None:
            return [_retriever_shares(question) for question in questions]
        unique = list(dict.fromkeys(questions))
        shares = answer(self.selector, unique, orders=self.orders)
        known = dict(zip(unique, shares, strict=True))
        return [known[question] for question in questions]

    def _link(self, mention: str, question: Question, shares: np.ndarray) -> Link:
        symbols = symbols_for(len(question.options), "letters" if len(question.options) <= 26 else "numbers")
        options = tuple(
            ShownOption(symbol, option.id, option.name, round(option.score, 6), round(float(share), 6))
            for symbol, option, share in zip(symbols, question.options, shares, strict=True)
        )
        clues = tuple(ShownClue(c.mention, c.id, c.name, round(c.score, 6)) for c in question.clues)
        if not options or not any(map(str.isalnum, mention)):  # no letter or digit: nothing to link by
            return Link(mention, None, None, 0.0, True, options, clues)
        chosen = question.options[int(np.argmax(shares))]
        score = round(float(np.max(shares)), 6)
        if chosen.id is None or score < self.min_score:
            return Link(mention, None, None, score, True, options, clues)
        return Link(mention, chosen.id, chosen.name, score, False, options, clues)


def prepare_base(
    retriever: Retriever,
    vocabulary: Vocabulary,
    cases: Sequence[Case],
    learn_names: bool,
    vectors: Any = None,
) -> CaseBase:
    """Fit the retriever on all names and encode them; vectors that are at hand are not made again."""
    pairs = [(case.mention, case.id) for case in cases] if learn_names else []
    grown = vocabulary.with_mentions(pairs) if pairs else vocabulary
    table = grown.names
    retriever.fit(table.texts)
    if isinstance(vectors, np.ndarray) and len(vectors) == int((~table.learned).sum()):
        new = np.flatnonzero(table.learned)
        whole = np.empty((len(table.texts), vectors.shape[1]), dtype=np.float32)
        whole[~table.learned] = vectors
        whole[new] = retriever.encode([table.texts[row] for row in new])
        vectors = whole
    else:
        vectors = None
    return CaseBase(retriever, grown, cases, vectors)


def _selector(given: Selector | bool | None) -> Selector | None:
    if given is None or given is True:
        from etude.methods.bioelqa.feature_selector import FeatureSelector

        return FeatureSelector()
    return None if given is False else given


def _retriever_shares(question: Question) -> np.ndarray:
    """Without a selector: the retriever's scores, so that the first candidate is chosen."""
    return np.array([option.score for option in question.options])


def _joined(links: Sequence[Link]) -> Link:
    ids = [link.id for link in links]
    known = [link for link in links if link.id is not None]
    return Link(
        mention=links[0].mention,
        id="|".join(dict.fromkeys(id for id in ids if id is not None)) or None,
        name=" | ".join(dict.fromkeys(link.name or "" for link in known)) or None,
        score=min(link.score for link in links),
        abstained=not known,
        options=tuple(option for link in links for option in link.options),
        clues=tuple(clue for link in links for clue in link.clues),
    )
