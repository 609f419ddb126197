"""Eighteen cards, one module per method: what it is for, its paper, its verbs, its claim. Plain data."""

from collections.abc import Mapping

from etude.catalogue import (
    analogykb,
    bioelqa,
    conspemollm,
    counting_stars,
    easygen,
    geoeval,
    idgen,
    pipenet,
    relevance,
    self_explanations,
    semcsr,
    signround,
    speech_translation,
    stg_llm,
    teenytinyllama,
    tmpt,
    toolemu,
    word_sensitivity,
)
from etude.catalogue.method_card import Card
from etude.errors import EtudeError

__all__ = ["CARDS", "Card", "card"]

_MODULES = (
    signround,
    teenytinyllama,
    idgen,
    semcsr,
    counting_stars,
    geoeval,
    conspemollm,
    tmpt,
    bioelqa,
    pipenet,
    analogykb,
    speech_translation,
    easygen,
    stg_llm,
    word_sensitivity,
    self_explanations,
    toolemu,
    relevance,
)
CARDS: Mapping[str, Card] = {module.CARD.name: module.CARD for module in _MODULES}
"""Method name to card, in the order in which they are listed."""


def card(name: str) -> Card:
    """The card of a method.

    Raises:
        EtudeError: There is no such method; the hint names the nearest.
    """
    if name in CARDS:
        return CARDS[name]
    import difflib

    near = difflib.get_close_matches(name.replace("_", "-"), CARDS, n=1)
    raise EtudeError(
        f"there is no method {name!r}",
        f"Did you mean {near[0]!r}?" if near else "See the list with: etude list",
    )
