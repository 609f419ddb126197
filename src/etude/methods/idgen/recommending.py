"""The verb `recommend`: the next items for a history of item ids or raw texts, or for a file of histories."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.idgen.histories import read_histories
from etude.methods.idgen.items import read_items
from etude.methods.idgen.recommender import GenerativeRecommender, Recommended
from etude.methods.idgen.unseen_items import describe, name_catalogue
from etude.render import table

if TYPE_CHECKING:
    from rich.console import RenderableType

_TEXT = "text:"


@dataclass(frozen=True)
class RecommendedList:
    """What one user is offered.

    Args:
        user_id: Empty for a history on the command line.
        items: Best first.
        short: Whether fewer than k items were left.
    """

    user_id: str
    items: list[Recommended]
    short: bool


@dataclass(frozen=True)
class RecommendResult:
    """Lists, and how raw texts were read.

    Args:
        lists: One per user.
        read_as: Raw text to the id that it was read as.
        titles: Title of each recommended item, where the catalogue has one.
        out: The file written, if any.
    """

    lists: list[RecommendedList]
    read_as: dict[str, str]
    titles: dict[str, str]
    out: str | None = None

    def __rich__(self) -> RenderableType:
        """The first lists as tables."""
        from rich.console import Group

        parts: list[Any] = [f"{text!r} is read as: {words}" for text, words in self.read_as.items()]
        for one in self.lists[:3]:
            rows = [
                [place, item.item_id, item.textual_id, item.logprob, self.titles.get(item.item_id, "")]
                for place, item in enumerate(one.items, start=1)
            ]
            parts.append(
                table(["", "item", "textual id", "log-probability", "title"], rows, title=one.user_id)
            )
            if one.short:
                parts.append("Fewer items than wanted were left.")
        if self.out:
            parts.append(f"{len(self.lists)} lists in {self.out}")
        return Group(*parts)


@verb
def recommend(
    run: Path,
    *,
    history: str | None = None,
    sequences: Path | None = None,
    items: Path | None = None,
    ids: Path | None = None,
    k: int = 10,
    beams: int = 20,
    filter_seen: bool = False,
    user: str = "",
    out: Path | None = None,
) -> RecommendResult:
    """Recommend the next items; unseen items may stand in a history as raw text.

    Example: etude idgen recommend run --history 'B00A1, "steel drill bits, 10 pieces", B00A7' --k 5

    Args:
        run: Folder that `etude idgen train` wrote.
        history: Item ids and raw texts, oldest first, comma-separated; a text with commas stands in double
            quotes. What holds a blank, or begins with text:, is a text.
        sequences: A file of histories, instead of --history; every user gets a list.
        items: More items to recommend, which training did not have: they get ids from their texts.
        ids: The ids of the training, to check that they are those.
        k: Items wanted.
        beams: Beams of the search, raised to k.
        filter_seen: Leave out the items of the history.
        user: Whose history it is, where the templates name users.
        out: JSONL to write: user_id, items: [{item_id, textual_id, logprob}], short.

    Raises:
        EtudeError: No recommender there, other ids than those of the training, an unknown item, or k above
            the number of items.
    """
    if (history is None) == (sequences is None):
        raise EtudeError("recommend for whom?", "Give either --history or --sequences.")
    recommender = GenerativeRecommender.load(run, ids)
    catalogue = {item.item_id: item for item in read_items(run / "items.jsonl")}
    if items is not None:
        new = {item.item_id: item for item in read_items(items) if item.item_id not in recommender.number}
        if new:
            named = name_catalogue(new, recommender.backbone, taken=list(recommender.ids.values()))
            recommender = replace(recommender, backbone=named.backbone, ids={**recommender.ids, **named.ids})
            catalogue |= new
    texts = [item.line for item in catalogue.values() if item.line]
    read_as: dict[str, str] = {}
    if sequences is not None:
        users = read_histories(sequences, fewest=1).users
        asked = [(one.user_id, list(one.items)) for one in users]
        unknown = sorted({item for _, one in asked for item in one} - recommender.number.keys())
        if unknown:
            raise EtudeError(
                f"{sequences}: {len(unknown)} unknown items: {', '.join(unknown[:5])}",
                "Give their rows as --items.",
            )
    else:
        entries = parse_history(history or "")
        for entry in entries:
            if entry not in recommender.number:
                read_as[entry] = _describe(entry, recommender, texts)
        recommender = replace(recommender, extra={**recommender.extra, **read_as})
        asked = [(user, entries)]
    found = recommender.recommend(
        [one for _, one in asked],
        k=k,
        beams=beams,
        filter_seen=filter_seen,
        users=[name for name, _ in asked],
    )
    lists = [
        RecommendedList(name, offered, len(offered) < k)
        for (name, _), offered in zip(asked, found, strict=True)
    ]
    if out is not None:
        write_records(out, (asdict(one) for one in lists))
    offered_items = {item.item_id for one in lists for item in one.items}
    titles = {name: catalogue[name].title for name in offered_items if name in catalogue}
    return RecommendResult(lists, read_as, titles, None if out is None else str(out))


def parse_history(text: str) -> list[str]:
    """Entries of a history; commas separate, double quotes protect.

    Raises:
        EtudeError: There is none.
    """
    entries = [one.strip() for row in csv.reader([text], skipinitialspace=True) for one in row]
    entries = [one for one in entries if one]
    if not entries:
        raise EtudeError("an empty history", "Give at least one item id or text.")
    return entries


def _describe(entry: str, recommender: GenerativeRecommender, texts: Sequence[str]) -> str:
    if not entry.startswith(_TEXT) and " " not in entry:
        raise EtudeError(
            f"no item {entry!r} in the catalogue of the training",
            f"Give its text instead ({_TEXT}… for a single word), or the item's row as --items.",
        )
    return describe(entry.removeprefix(_TEXT), recommender, texts)
