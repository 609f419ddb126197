"""Analogous relations: candidates, a model's selection, symmetry, meta-relations; rows for people to review.

Filter 1 keeps a pair of relations only if the model names each for the other. Filter 2 asks for the
higher-level relation of both and drops the pair if there is none, or one too general (paper, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.methods.analogykb.relation_prompts import (
    Asked,
    Named,
    is_too_general,
    meta_prompt,
    read_meta,
    read_selection,
    selection_prompt,
)
from etude.models import ChatModel

COLUMNS = ("rel_a", "rel_b", "meta", "llm_votes", "symmetric", "accepted", "reviewer", "note")
SELECTION_TOKENS, META_TOKENS = 256, 64
EXAMPLES = 5  # pairs shown of each relation

ONE_SIDED, NO_META, GENERAL = "named from one side only", "no meta-relation", "meta-relation too general"


@dataclass
class Tally:
    """What happened to answers: counts by kind."""

    asked: int = 0
    asked_again: int = 0
    unreadable: int = 0
    unknown: list[str] = field(default_factory=list)


def asked_relations(kb: AnalogyKB) -> list[Asked]:
    """Every relation with its best-known pairs."""
    return [Asked(rel, kb.pairs(rel, EXAMPLES)) for rel in kb.table.relations]


def select_analogous(
    chat: ChatModel, relations: Sequence[Asked], near: Sequence[Sequence[int]], tally: Tally
) -> dict[str, set[str]]:
    """For each relation the candidates that the model names as analogous.

    An answer that cannot be read, or that names what is not there, is asked for once more.

    Args:
        chat: The model.
        relations: All relations.
        near: Candidates of each, by number.
        tally: Is added to.
    """
    chosen = [i for i, given in enumerate(near) if given]
    others = {i: [relations[j] for j in near[i]] for i in chosen}
    names = {i: [other.name for other in others[i]] for i in chosen}
    prompts = {i: selection_prompt(relations[i], others[i]) for i in chosen}
    replies = chat.generate([prompts[i] for i in chosen], max_tokens=SELECTION_TOKENS)
    found: dict[int, Named] = {
        i: read_selection(reply.text, names[i]) for i, reply in zip(chosen, replies, strict=True)
    }
    tally.asked += len(chosen)
    again = [i for i in chosen if found[i].unknown or not found[i].readable]
    tally.asked_again += len(again)
    for i in again:
        tally.unknown += found[i].unknown
    second = [
        selection_prompt(relations[i], others[i], found[i].unknown or ("anything else, and only JSON",))
        for i in again
    ]
    for i, reply in zip(
        again, chat.generate(second, max_tokens=SELECTION_TOKENS) if second else [], strict=True
    ):
        better = read_selection(reply.text, names[i])
        tally.unknown += better.unknown
        tally.unreadable += not better.readable and not found[i].readable
        if better.readable:
            found[i] = better
    return {relations[i].name: set(found[i].known) for i in chosen}


def pair_relations(
    chat: ChatModel, relations: Sequence[Asked], selected: dict[str, set[str]], tally: Tally
) -> list[dict[str, Any]]:
    """Rows of `relation_pairs.parquet`: every pair that was named, with what the two filters say.

    `accepted` is False where a filter dropped the pair and None where people have to say.
    """
    by_name = {relation.name: relation for relation in relations}
    votes: dict[tuple[str, str], int] = {}
    for one, named in selected.items():
        for other in named:
            low, high = sorted((one, other))
            votes[low, high] = votes.get((low, high), 0) + 1
    both = sorted(pair for pair, count in votes.items() if count == 2)
    replies = chat.generate([meta_prompt(by_name[a], by_name[b]) for a, b in both], max_tokens=META_TOKENS)
    tally.asked += len(both)
    metas: dict[tuple[str, str], str | None] = {}
    for pair, reply in zip(both, replies, strict=True):
        metas[pair], readable = read_meta(reply.text)
        tally.unreadable += not readable
    rows = []
    for (a, b), count in sorted(votes.items()):
        meta = metas.get((a, b))
        note = ""
        if count < 2:
            note = ONE_SIDED
        elif meta is None:
            note = NO_META
        elif is_too_general(meta):
            note = GENERAL
        rows.append(
            {"rel_a": a, "rel_b": b, "meta": meta, "llm_votes": count, "symmetric": count == 2,
             "accepted": False if note else None, "reviewer": None, "note": note}
        )  # fmt: skip
    return rows
