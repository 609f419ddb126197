# ruff: noqa: F401
"""Analogies mined from a knowledge graph: pair lists, analogous relations, questions, scorers.

Triples become term pairs by relation; a language model, two filters and people find analogous relations;
questions made from both train a scorer, and public tests measure it. Paper: Yuan, Chen, Sun, Liang, Xiao,
Yang: ANALOGYKB, arXiv 2305.05994 (ACL 2024).

    from etude.methods.analogykb import AnalogyKB, PairScorer
    kb = AnalogyKB.mine("triples.parquet", out="kb")
    train = kb.questions(n=6000, exclude=["test.jsonl"])
    scorer = PairScorer("minilm").fit(train)
    scorer.evaluate("test.jsonl")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.analogykb.analogy_questions import AnalogyQuestion, read_questions
    from etude.methods.analogykb.browsing import browse, query
    from etude.methods.analogykb.building import mine
    from etude.methods.analogykb.knowledge_base import AnalogyKB
    from etude.methods.analogykb.measuring import evaluate
    from etude.methods.analogykb.pair_scorer import PairScorer
    from etude.methods.analogykb.pairing import relate
    from etude.methods.analogykb.question_making import questions
    from etude.methods.analogykb.reviewing import review
    from etude.methods.analogykb.scorer_training import train

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "AnalogyKB": "knowledge_base",
        "AnalogyQuestion": "analogy_questions",
        "PairScorer": "pair_scorer",
        "browse": "browsing",
        "evaluate": "measuring",
        "mine": "building",
        "query": "browsing",
        "questions": "question_making",
        "read_questions": "analogy_questions",
        "relate": "pairing",
        "review": "reviewing",
        "train": "scorer_training",
    },
)
