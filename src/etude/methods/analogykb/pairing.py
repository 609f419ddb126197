"""`relate`: which relations of a knowledge base are analogous to each other, by a language model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.analogykb.instruments import MOCK, register_mock
from etude.methods.analogykb.kb_files import RELATION_PAIRS, write_relation_pairs
from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.methods.analogykb.relation_pairs import (
    META_TOKENS,
    SELECTION_TOKENS,
    Tally,
    asked_relations,
    pair_relations,
    select_analogous,
)
from etude.methods.analogykb.relation_profiles import candidates as nearest_relations
from etude.methods.analogykb.relation_profiles import relation_profiles
from etude.methods.analogykb.relation_prompts import Asked, selection_prompt
from etude.models import chat_model
from etude.render import console

if TYPE_CHECKING:
    from rich.console import RenderableType

ANSWERS = "relate.sqlite"
_CHARACTERS_A_TOKEN = 4  # a rough rule, for estimates only


@dataclass(frozen=True)
class RelateResult:
    """Analogous relations that were found.

    Args:
        out: The file; empty for an estimate.
        relations: Relations asked about.
        prompts: Prompts sent, or to be sent.
        tokens: Estimated tokens in and out of the first round.
        cost: Estimated price in the currency of `--price`, or None.
        named: Pairs of relations that were named at all.
        kept: Those that passed both filters and wait for review.
        dropped: Reason to count.
        asked_again: Prompts sent a second time.
        unreadable: Answers that were not JSON even then.
        unknown: Names that are no relation, and how often they were given.
        rows: The pairs that wait for review.
    """

    out: str
    relations: int
    prompts: int
    tokens: tuple[int, int]
    cost: float | None
    named: int = 0
    kept: int = 0
    dropped: dict[str, int] | None = None
    asked_again: int = 0
    unreadable: int = 0
    unknown: dict[str, int] | None = None
    rows: tuple[dict[str, Any], ...] = ()

    def __rich__(self) -> RenderableType:
        """The pairs, and what happened to the others."""
        from rich.console import Group

        from etude.render import TableBlock, Text, show

        price = "" if self.cost is None else f", about {self.cost:.2f} by the given price"
        estimate = (
            f"{self.relations} relations, {self.prompts} prompts, some {sum(self.tokens):,} tokens{price}"
        )
        if not self.out:
            return show(Text(f"Estimate: {estimate}; up to as many again for answers that cannot be read."))
        dropped = ", ".join(f"{why}: {count}" for why, count in (self.dropped or {}).items()) or "none"
        unknown = ", ".join(f"{name} ({count})" for name, count in (self.unknown or {}).items()) or "none"
        rows = [(r["rel_a"], r["rel_b"], r["meta"]) for r in self.rows]
        return Group(
            show(
                TableBlock(
                    ("relation", "analogous to", "what both are"), rows, f"{self.kept} pairs wait for review"
                )
            ),
            show(
                Text(f"{estimate}. Named: {self.named}. Dropped: {dropped}. Asked again: {self.asked_again}.")
            ),
            show(Text(f"Unreadable answers: {self.unreadable}. Names that are no relation: {unknown}.")),
            show(Text(f"The file: {self.out}. Next: etude analogykb review {Path(self.out).parent}")),
        )


@verb
def relate(
    kb: Path,
    *,
    model: str,
    candidates: int = 20,
    encoder: str = "minilm",
    base_url: str | None = None,
    max_connections: int = 8,
    price: str | None = None,
    estimate: bool = False,
    out: Path | None = None,
) -> RelateResult:
    """Find pairs of analogous relations: a pre-filter, a model's choice, two filters; then people review.

    Answers are kept in KB/relate.sqlite as they come, so that a killed run goes on and a repeated one asks
    nothing again. Pairs that people have reviewed keep what they said.

    Args:
        kb: A knowledge base (what mine wrote).
        model: A chat model: smollm2, a folder, openai/MODEL, inspect/PROVIDER/MODEL; or mock, which names the
            nearest candidates without any model, to try the steps.
        candidates: Relations asked about for each, the nearest by profile.
        encoder: Of the profiles.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Calls under way at once.
        price: Of a million tokens in and out, as IN/OUT, for the estimate.
        estimate: Only say what it would cost.
        out: The file; KB/relation_pairs.parquet by default, which is the one that review and questions read.

    Raises:
        EtudeError: The folder is not a knowledge base, or the model cannot be reached.
    """
    base = AnalogyKB(kb)
    relations = asked_relations(base)
    if len(relations) < 2 or candidates < 1:
        raise EtudeError(f"{kb}: {len(relations)} relations, {candidates} candidates", "Both must be larger.")
    near = _candidates(base, encoder, candidates)
    sent, tokens = _sizes(relations, near)
    cost = None if price is None else _cost(price, tokens)
    told = f"{sent} prompts, some {sum(tokens):,} tokens" + ("" if cost is None else f", about {cost:.2f}")
    if estimate:
        return RelateResult("", len(relations), sent, tokens, cost)
    console().print(f"relate: {told}")
    if model == MOCK:
        model = register_mock()
    chat = chat_model(model, base_url=base_url, store=kb / ANSWERS, max_connections=max_connections)
    tally = Tally()
    selected = select_analogous(chat, relations, near, tally)
    rows = pair_relations(chat, relations, selected, tally)
    path = out or kb / RELATION_PAIRS
    rows = keep_reviews(rows, base.relation_pairs if out is None else [])
    write_relation_pairs(path, rows)
    waiting = tuple(row for row in rows if row["accepted"] is not False)
    return RelateResult(
        str(path), len(relations), tally.asked + tally.asked_again, tokens, cost, len(rows), len(waiting),
        dict(Counter(row["note"] for row in rows if row["accepted"] is False)), tally.asked_again,
        tally.unreadable, dict(Counter(tally.unknown)), waiting,
    )  # fmt: skip


def keep_reviews(rows: list[dict[str, Any]], earlier: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """New rows, with what people said of the same pairs before; what they reviewed stays."""
    said = {(row["rel_a"], row["rel_b"]): row for row in earlier if row["reviewer"]}
    merged = {(row["rel_a"], row["rel_b"]): row for row in rows} | said
    return [merged[key] for key in sorted(merged)]


def _candidates(base: AnalogyKB, encoder: str, count: int) -> list[list[int]]:
    return nearest_relations(relation_profiles(base, encoder), count)


def _sizes(relations: Sequence[Asked], near: Sequence[Sequence[int]]) -> tuple[int, tuple[int, int]]:
    """Prompts and estimated tokens in and out, with one meta prompt for each relation."""
    texts = [
        sum(len(str(m["content"])) for m in selection_prompt(relation, [relations[j] for j in given]))
        for relation, given in zip(relations, near, strict=True)
    ]
    into = (sum(texts) + 600 * len(texts)) // _CHARACTERS_A_TOKEN
    return 2 * len(texts), (into, len(texts) * (SELECTION_TOKENS + META_TOKENS) // 4)


def _cost(price: str, tokens: tuple[int, int]) -> float:
    try:
        into, out = (float(part) for part in price.split("/"))
    except ValueError as error:
        raise EtudeError(
            f"--price {price!r} is not IN/OUT", "Write e.g. 2.5/10, per million tokens."
        ) from error
    return (tokens[0] * into + tokens[1] * out) / 1e6
