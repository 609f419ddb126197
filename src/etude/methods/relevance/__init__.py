# ruff: noqa: F401
"""Relevance labels by language models, and whether they can be trusted.

Choose a model and a prompt by agreement with a few gold labels, label the rest, see whether systems rank as
they do under gold, and keep watching. Paper: Thomas, Spielman, Craswell, Mitra: Large language models can
accurately predict searcher preferences, arXiv 2309.10621 (SIGIR 2024).

    from etude.methods.relevance import agree, label, rank
    label(docs="d.jsonl", topics="t.jsonl", pairs="pool.qrels", model="smollm2", out="labels.qrels")
    agree("gold.qrels", "labels.qrels")
    rank(runs="runs/*.trec", gold="gold.qrels", labels="labels.qrels", unjudged="condensed")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.relevance.agreement import Agreement, agreement
    from etude.methods.relevance.circularity import circularity
    from etude.methods.relevance.collection import Pair
    from etude.methods.relevance.comparing import agree, ensemble, monitor, rank
    from etude.methods.relevance.irds import build
    from etude.methods.relevance.labels import Ensemble, Label, Labeller
    from etude.methods.relevance.llm_labeller import LLMLabeller
    from etude.methods.relevance.making import label, prompts
    from etude.methods.relevance.prompt_study import select, study
    from etude.methods.relevance.rank_overlap import rbo
    from etude.methods.relevance.score_labellers import BM25Labeller, CrossEncoderLabeller, MiniLMLabeller
    from etude.methods.relevance.system_ranking import system_ranking
    from etude.methods.relevance.trials import attack, calibrate, cost
    from etude.methods.relevance.wording import RelevancePrompt, umbrela

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Agreement": "agreement",
        "BM25Labeller": "score_labellers",
        "CrossEncoderLabeller": "score_labellers",
        "Ensemble": "labels",
        "LLMLabeller": "llm_labeller",
        "Label": "labels",
        "Labeller": "labels",
        "MiniLMLabeller": "score_labellers",
        "Pair": "collection",
        "RelevancePrompt": "wording",
        "agree": "comparing",
        "agreement": "agreement",
        "attack": "trials",
        "build": "irds",
        "calibrate": "trials",
        "circularity": "circularity",
        "cost": "trials",
        "ensemble": "comparing",
        "label": "making",
        "monitor": "comparing",
        "prompts": "making",
        "rank": "comparing",
        "rbo": "rank_overlap",
        "select": "prompt_study",
        "study": "prompt_study",
        "system_ranking": "system_ranking",
        "umbrela": "wording",
    },
)
