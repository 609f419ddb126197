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
    from etude.methods.idgen.histories import Histories, History, read_histories
    from etude.methods.idgen.items import Item, items_of, read_items
    from etude.methods.idgen.schemes import SCHEMES, Catalogue, IdScheme, name_items, scheme
    from etude.methods.idgen.textual_ids import read_ids
    from etude.methods.idgen.trie import TokenTrie

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Catalogue": "schemes",
        "Histories": "histories",
        "History": "histories",
        "IdScheme": "schemes",
        "Item": "items",
        "SCHEMES": "schemes",
        "TokenTrie": "trie",
        "items_of": "items",
        "name_items": "schemes",
        "read_histories": "histories",
        "read_ids": "textual_ids",
        "read_items": "items",
        "scheme": "schemes",
    },
)
