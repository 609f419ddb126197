# ruff: noqa: F401
"""Recommend with textual item ids: a language model writes each item's id and reads histories as words.

`ids` is useful alone: short unique names for any catalogue. Paper: Tan, Xu, Hua, Ge, Li, Zhang: IDGenRec:
LLM-RecSys Alignment with Textual ID Learning, arXiv 2403.19021 (SIGIR 2024).

    from etude.methods.idgen import evaluate, ids, recommend, train
    ids("items.jsonl", generator="keywords", out="ids.tsv")
    train("sequences.jsonl", items="items.jsonl", ids="ids.tsv", out="run")
    evaluate("run"); recommend("run", history="B00A1,B00A7")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.idgen.alternation import Alternator
    from etude.methods.idgen.backbones import build_backbone, load_backbone
    from etude.methods.idgen.checking import CheckResult, check
    from etude.methods.idgen.constrained_beams import constrained_beam_search
    from etude.methods.idgen.decoders import tree_decoder
    from etude.methods.idgen.diverse_beams import diverse_beam_search
    from etude.methods.idgen.evaluation import EvaluateResult, evaluate
    from etude.methods.idgen.histories import Histories, History, read_histories
    from etude.methods.idgen.items import Item, items_of, read_items
    from etude.methods.idgen.leave_one_out import SeqSplit
    from etude.methods.idgen.naming import IdsResult, ids
    from etude.methods.idgen.rank_metrics import rank_metrics
    from etude.methods.idgen.recommender import GenerativeRecommender, Recommended
    from etude.methods.idgen.recommending import RecommendResult, recommend
    from etude.methods.idgen.sasrec import tuned_sasrec
    from etude.methods.idgen.schemes import SCHEMES, Catalogue, IdScheme, name_items, scheme
    from etude.methods.idgen.soft_ids import write_soft_ids
    from etude.methods.idgen.textual_ids import ids_hash, read_ids, write_ids
    from etude.methods.idgen.training_runs import TrainResult, train
    from etude.methods.idgen.trie import TokenTrie
    from etude.methods.idgen.unique_ids import IdGenerator
    from etude.methods.idgen.zero_shot import ZeroshotResult, zeroshot

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Alternator": "alternation",
        "Catalogue": "schemes",
        "CheckResult": "checking",
        "EvaluateResult": "evaluation",
        "GenerativeRecommender": "recommender",
        "Histories": "histories",
        "History": "histories",
        "IdGenerator": "unique_ids",
        "IdScheme": "schemes",
        "IdsResult": "naming",
        "Item": "items",
        "RecommendResult": "recommending",
        "Recommended": "recommender",
        "SCHEMES": "schemes",
        "SeqSplit": "leave_one_out",
        "TokenTrie": "trie",
        "TrainResult": "training_runs",
        "ZeroshotResult": "zero_shot",
        "build_backbone": "backbones",
        "check": "checking",
        "constrained_beam_search": "constrained_beams",
        "diverse_beam_search": "diverse_beams",
        "evaluate": "evaluation",
        "ids": "naming",
        "ids_hash": "textual_ids",
        "items_of": "items",
        "load_backbone": "backbones",
        "name_items": "schemes",
        "rank_metrics": "rank_metrics",
        "read_histories": "histories",
        "read_ids": "textual_ids",
        "read_items": "items",
        "recommend": "recommending",
        "scheme": "schemes",
        "train": "training_runs",
        "tree_decoder": "decoders",
        "tuned_sasrec": "sasrec",
        "write_ids": "textual_ids",
        "write_soft_ids": "soft_ids",
        "zeroshot": "zero_shot",
    },
)
