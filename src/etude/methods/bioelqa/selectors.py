"""The face of a selector, and selectors by name: from a question to a probability for each of its options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from etude.errors import EtudeError
from etude.methods.bioelqa.questions import Question
from etude.runs import content_hash, read_json, write_json

SelectorName = Literal["features", "encoder", "seq2seq", "causal", "prompted"]
SELECTORS: tuple[str, ...] = get_args(SelectorName)
_KIND = "selector.json"


class Selector(Protocol):
    """Chooses among the options of a question."""

    name: str
    reads_context: bool

    @property
    def identity(self) -> dict[str, Any]:
        """What determines it before training, as JSON."""

    def fit(self, questions: Sequence[Question], *, out: Path, seed: int = 0) -> dict[str, Any]:
        """Learn from questions whose gold is marked; a killed training goes on from its last epoch.

        Args:
            questions: In the order in which they are shown.
            out: Folder for checkpoints.
            seed: Of weights, order and dropout.

        Returns:
            How it went, as JSON.
        """

    def probabilities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """For each question a probability for each of its options, in the question's order."""

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an existing folder."""


def selector_class(name: str) -> Any:
    """The class of a selector.

    Raises:
        EtudeError: There is no such selector.
    """
    if name == "features":
        from etude.methods.bioelqa.feature_selector import FeatureSelector

        return FeatureSelector
    if name == "encoder":
        from etude.methods.bioelqa.encoder_selector import EncoderSelector

        return EncoderSelector
    if name == "seq2seq":
        from etude.methods.bioelqa.seq2seq_selector import Seq2SeqSelector

        return Seq2SeqSelector
    if name == "causal":
        from etude.methods.bioelqa.causal_selector import CausalSelector

        return CausalSelector
    if name == "prompted":
        from etude.methods.bioelqa.prompted_selector import PromptedSelector

        return PromptedSelector
    raise EtudeError(f"selector {name!r}", f"Choose {', '.join(SELECTORS)}.")


def save_selector(selector: Selector, folder: Path) -> None:
    """Write a selector with its kind."""
    folder.mkdir(parents=True, exist_ok=True)
    selector.save(folder)
    write_json(folder / _KIND, {"kind": selector.name})


def load_selector(folder: Path) -> Selector:
    """Read what `save_selector` wrote."""
    kind = read_json(folder / _KIND)["kind"]
    loaded: Selector = selector_class(kind).load(folder)
    return loaded


def answer(selector: Selector, questions: Sequence[Question], *, orders: int = 1) -> list[np.ndarray]:
    """Probabilities averaged over several orders of the options, mapped back to the question's own order.

    Questions come with their options by rank, which no letter may tell: the first order is a random one that
    belongs to the mention. Order r shifts it by r·n/orders places, so that an option stands in different
    parts of the list.

    Args:
        selector: What answers.
        questions: Any.
        orders: How many orders; 4 is enough against letter bias.
    """
    if orders < 1:
        raise EtudeError(f"orders {orders}", "At least 1.")
    sums = [np.zeros(len(question.options)) for question in questions]
    asked, back = [], []
    for place, question in enumerate(questions):
        count = len(question.options)
        first = np.random.default_rng(int(content_hash(question.mention)[:8], 16)).permutation(count)
        shifts = dict.fromkeys(order * count // orders for order in range(orders)) if count else {0: None}
        for shift in shifts:
            order = [int(first[(i + shift) % count]) for i in range(count)]
            asked.append(question.reordered(order))
            back.append((place, order, len(shifts)))
    for (place, order, orders_made), found in zip(back, selector.probabilities(asked), strict=True):
        for shown_at, option in enumerate(order):
            sums[place][option] += float(found[shown_at]) / orders_made
    return sums
