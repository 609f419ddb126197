"""What a language model is asked about relations, and how its answers are read. The wording is ours.

Selection: which of the candidates are analogous to a relation. Meta-relation: what both relations are, in
general; an answer that says too little, or nothing, drops the pair.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import json_repair

from etude.methods.analogykb.analogy_questions import Pair, as_text
from etude.methods.analogykb.relation_profiles import description
from etude.models import Conversation

TOO_GENERAL = frozenset(
    [
        "has",
        "have",
        "is",
        "are",
        "be",
        "of",
        "relation",
        "relationship",
        "related",
        "is related to",
        "related to",
        "has relation",
        "is associated with",
        "associated with",
        "association",
        "connection",
        "is connected to",
        "connected to",
        "has a relation to",
        "thing",
        "something",
        "entity",
        "concept",
        "link",
        "is linked to",
        "attribute",
        "property",
        "general",
        "other",
        "analogy",
        "analogous",
    ]
)
"""Meta-relations that say nothing, in lower case."""

_SYSTEM = (
    "You compare relations of a knowledge graph. Two relations are analogous when the pairs of one "
    "can be mapped "
    "onto the pairs of the other, as CEO and company onto head of state and country. Answer in JSON only."
)


@dataclass(frozen=True)
class Asked:
    """A relation as a model sees it: its name and example pairs."""

    name: str
    pairs: Sequence[Pair]

    def text(self) -> str:
        """Name, words of the name, examples."""
        shown = "; ".join(as_text(pair) for pair in self.pairs)
        return f"{self.name} ({description(self.name)}): {shown}"


def selection_prompt(relation: Asked, others: Sequence[Asked], unknown: Sequence[str] = ()) -> Conversation:
    """Which of the others are analogous to a relation?

    Args:
        relation: The one.
        others: The candidates.
        unknown: Names of an earlier answer that are no candidates; the model is told.
    """
    listed = "\n".join(f"- {other.text()}" for other in others)
    again = f"\nUse only names from this list; not: {', '.join(unknown)}." if unknown else ""
    return [
        {"role": "system", "content": _SYSTEM},
        {
            "role": "user",
            "content": f"Relation: {relation.text()}\n\nCandidates:\n{listed}\n\nName the candidates "
            f"that are "
            f'analogous to {relation.name}, none if there are none.{again}\nAnswer: {{"analogous": [names]}}',
        },
    ]


def meta_prompt(one: Asked, other: Asked) -> Conversation:
    """What higher-level relation do both belong to?"""
    return [
        {"role": "system", "content": _SYSTEM},
        {
            "role": "user",
            "content": f"Relation 1: {one.text()}\nRelation 2: {other.text()}\n\nName in a few words the "
            "higher-level relation that both are cases of (for CEO and head of state: leads), or "
            "null if there is "
            'none that says something.\nAnswer: {"meta": words or null}',
        },
    ]


@dataclass(frozen=True)
class Named:
    """A selection as it was read.

    Args:
        known: Candidates that were named.
        unknown: Names that are no candidates.
        readable: Whether the answer was JSON of the asked form.
    """

    known: tuple[str, ...]
    unknown: tuple[str, ...]
    readable: bool


def read_selection(text: str, names: Sequence[str]) -> Named:
    """Read an answer to `selection_prompt`; names are compared without casing, spaces and underscores."""
    value = _json_of(text)
    found = value.get("analogous") if isinstance(value, dict) else value
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        return Named((), (), False)
    by_fold = {_fold(name): name for name in names}
    known = dict.fromkeys(by_fold[_fold(name)] for name in found if _fold(name) in by_fold)
    unknown = dict.fromkeys(
        name.strip()[:60] for name in found if _fold(name) not in by_fold and name.strip()
    )
    return Named(tuple(known), tuple(unknown), True)


def read_meta(text: str) -> tuple[str | None, bool]:
    """Read an answer to `meta_prompt`: the meta-relation or None, and whether the answer was readable."""
    value = _json_of(text)
    if not isinstance(value, dict) or "meta" not in value:
        return None, False
    meta = value["meta"]
    if meta is None or (isinstance(meta, str) and meta.strip().lower() in ("", "null", "none", "n/a")):
        return None, True
    return (" ".join(meta.split())[:80], True) if isinstance(meta, str) else (None, False)


def is_too_general(meta: str) -> bool:
    """Whether a meta-relation says nothing."""
    return re.sub(r"[^a-z ]", " ", meta.lower()).strip() in TOO_GENERAL


def _fold(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name).casefold()


def _json_of(text: str) -> Any:
    """The JSON in an answer, mended where it is almost JSON; None when there is none."""
    start = min((i for i in (text.find("{"), text.find("[")) if i >= 0), default=-1)
    if start < 0:
        return None
    try:
        return json.loads(text[start:])
    except (ValueError, RecursionError):
        try:
            found = json_repair.loads(text[start:])
        except (ValueError, RecursionError):
            return None
        if isinstance(found, list) and found and isinstance(found[0], dict):
            return found[0]  # JSON, then words
        return found
