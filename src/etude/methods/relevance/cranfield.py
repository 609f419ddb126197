"""The end-to-end experiment on Cranfield: a pool, labels from scorers, and 28 systems ranked by both.

The pool is the top 100 of BM25 and of MiniLM together with every judged document: negatives from the top
30 of BM25 alone would make BM25 look worse than chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.data import read_records
from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.methods.relevance.collection import Document, Pair, read_documents, read_topics
from etude.methods.relevance.sampling import stratified
from etude.methods.relevance.score_labellers import BM25Scorer, EncoderScorer, Scorer
from etude.methods.relevance.thresholds import fit_thresholds, split_queries
from etude.methods.relevance.trec import Qrels, SystemRun, read_qrels
from etude.models import model_directory, model_revision
from etude.runs import atomic_path, content_hash

GRADES = {1: 2, 2: 2, 3: 1, 4: 1, -1: 0}
"""Cranfield's codes, of which 1 is best, to ascending grades."""
FILES = ("cranfield_docs.jsonl", "cranfield_topics.jsonl", "cranfield.qrels", "dl20_llm_labels.csv")
POOL = 100
DEPTH = 100
SAMPLE = 1500
BM25_VARIANTS = tuple((k1, b) for k1 in (0.6, 0.9, 1.2, 1.5, 2.0) for b in (0.3, 0.5, 0.75, 0.9))
NOISE = (0.5, 1.0, 2.0, 4.0)
"""Deviations of the noise added to BM25's standardized scores, for systems that are known to be worse."""


@dataclass(frozen=True)
class Judged:
    """Labels of one scorer on one seed.

    Args:
        gold: Of the sampled pairs of test queries.
        labels: Thresholded, of the same pairs.
        scores: What they were cut from.
        all_gold: Of the whole pool of test queries (unjudged is 0, as Cranfield has it).
        all_labels: Of the same pairs.
    """

    gold: Qrels
    labels: dict[tuple[str, str], float]
    scores: dict[tuple[str, str], float]
    all_gold: Qrels
    all_labels: Qrels


class Cranfield:
    """Documents, topics, gold, pool and systems; what is heavy is made once, at first use.

    Args:
        folder: Holds the three files.
        encoder: The sentence encoder's name.

    Raises:
        EtudeError: A file is missing.
    """

    def __init__(self, folder: Path, encoder: str = "minilm") -> None:
        for name in FILES[:3]:
            if not (folder / name).is_file():
                raise EtudeError(f"{folder}: no {name}", "etude show relevance says what the folder holds.")
        self.folder = folder
        self.encoder_name = encoder
        self.texts = {d: t for d, t in read_documents(folder / FILES[0]).items() if t}
        self.topics = read_topics(folder / FILES[1])
        self.gold = {
            pair: grade
            for pair, grade in read_qrels(folder / FILES[2], GRADES).items()
            if pair[0] in self.topics and pair[1] in self.texts
        }
        self.ids = list(self.texts)
        self.queries = sorted({qid for qid, _ in self.gold})

    @cached_property
    def encoder(self) -> EncoderScorer:
        """The encoder with the vectors of all texts, kept in the cache for a claim that was killed."""
        scorer = EncoderScorer(self.encoder_name)
        texts = [*self.texts.values(), *(self.topics[qid].query for qid in self.queries)]
        revision = model_revision(model_directory(self.encoder_name))
        path = cache_root() / "relevance" / f"{content_hash([revision, texts])[:24]}.npy"
        if not path.exists():
            vectors = scorer.vectors(texts)
            with atomic_path(path) as temporary:
                np.save(temporary, vectors, allow_pickle=False)
        scorer.remember(texts, np.load(path, allow_pickle=False))
        return scorer

    @cached_property
    def bm25(self) -> BM25Scorer:
        """BM25 over all documents."""
        return BM25Scorer(self.texts)

    @cached_property
    def cosines(self) -> NDArray[np.float64]:
        """Cosine of every query and document, (queries, documents)."""
        queries = self.encoder.vectors([self.topics[qid].query for qid in self.queries])
        documents = self.encoder.vectors(list(self.texts.values()))
        return np.asarray(queries @ documents.T, dtype=np.float64)

    @cached_property
    def bm25_scores(self) -> NDArray[np.float64]:
        """BM25 of every query and document, (queries, documents)."""
        return self._bm25(self.bm25)

    @cached_property
    def pool(self) -> Qrels:
        """Every pooled pair with its grade; what nobody judged is 0."""
        found: Qrels = {}
        for row, qid in enumerate(self.queries):
            for scores in (self.bm25_scores[row], self.cosines[row]):
                for place in np.argsort(-scores, kind="stable")[:POOL]:
                    found.setdefault((qid, self.ids[place]), 0)
        return found | self.gold

    def pairs(self, wanted: Qrels) -> list[Pair]:
        """Pairs with their texts."""
        return [Pair(q, d, self.topics[q].query, self.texts[d]) for q, d in sorted(wanted)]

    def judge(self, scorer: Scorer, seed: int, sample: int = SAMPLE) -> Judged:
        """Fit a scorer's thresholds on half of the queries, label the others.

        Args:
            scorer: Who labels.
            seed: Of the sample and of the split.
            sample: Pairs of the sample, equally of every grade.
        """
        fit, _ = split_queries(self.queries, 0.5, seed)
        drawn = stratified(self.pool, sample, seed)
        drawn_pairs = self.pairs(drawn)
        scores = scorer.scores(drawn_pairs)
        grades = np.array([drawn[p.qid, p.docid] for p in drawn_pairs])
        dev = np.array([p.qid in fit for p in drawn_pairs])
        cut = fit_thresholds(scores[dev], grades[dev].tolist(), 2)
        whole = {pair: grade for pair, grade in self.pool.items() if pair[0] not in fit}
        every = self.pairs(whole)
        found = np.searchsorted(cut, scorer.scores(every), side="right")
        labels = {(p.qid, p.docid): int(grade) for p, grade in zip(every, found, strict=True)}
        kept = {pair: grade for pair, grade in drawn.items() if pair[0] not in fit}
        by_pair = {(p.qid, p.docid): float(s) for p, s in zip(drawn_pairs, scores, strict=True)}
        return Judged(
            kept,
            {pair: float(labels[pair]) for pair in kept},
            {pair: by_pair[pair] for pair in kept},
            whole,
            labels,
        )

    def systems(self, seed: int) -> list[SystemRun]:
        """28 runs: 20 of BM25, title only, MiniLM, two hybrids, four with noise (drawn by the seed)."""
        tables = dict(self._tables)
        standard = standardized(self.bm25_scores)
        generator = np.random.default_rng(seed)
        for noise in NOISE:
            tables[f"noisy-{noise}"] = standard + noise * generator.standard_normal(standard.shape)
        return [self._run(name, table) for name, table in tables.items()]

    @cached_property
    def _tables(self) -> dict[str, NDArray[np.float64]]:
        """Scores of the systems in which nothing is random."""
        standard, cosines = standardized(self.bm25_scores), standardized(self.cosines)
        tables = {
            f"bm25-k{k1}-b{b}": self._bm25(BM25Scorer(self.texts, k1=k1, b=b)) for k1, b in BM25_VARIANTS
        }
        return tables | {
            "title-only": self._bm25(BM25Scorer(self._titles)),
            "minilm": self.cosines,
            "hybrid-half": standard + cosines,
            "hybrid-quarter": 3 * standard + cosines,
        }

    @cached_property
    def _titles(self) -> dict[str, str]:
        titles = {d.docid: d.title for d in read_records(self.folder / FILES[0], Document)}
        return {docid: titles.get(docid, "") or "untitled" for docid in self.ids}

    def _bm25(self, scorer: BM25Scorer) -> NDArray[np.float64]:
        return np.stack([scorer.ranking(self.topics[qid].query) for qid in self.queries])

    def _run(self, name: str, table: NDArray[np.float64]) -> SystemRun:
        scores: dict[str, dict[str, float]] = {}
        for row, qid in enumerate(self.queries):
            best = np.argsort(-table[row], kind="stable")[:DEPTH]
            scores[qid] = {self.ids[place]: float(table[row, place]) for place in best}
        return SystemRun(name, scores)


class RandomScorer:
    """Scores that know nothing.

    Args:
        seed: Of the numbers.
    """

    name = "random"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def scores(self, pairs: Any) -> NDArray[np.float64]:
        """One number for each pair: the same pair has the same one, whatever else is asked."""
        return np.array([int(content_hash([self.seed, p.qid, p.docid])[:12], 16) / 16**12 for p in pairs])


def standardized(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row in deviations from its mean."""
    spread = scores.std(1, keepdims=True)
    centered = scores - scores.mean(1, keepdims=True)
    return np.asarray(centered / np.where(spread > 0, spread, 1), dtype=np.float64)
