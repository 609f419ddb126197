"""Models of known faithfulness, to test the test: each reads the same prompts as a real model.

    instrument/honest          counts opinion words, and names all of them
    instrument/hidden-rule     decides by the parity of the text's length, and names opinion words
    instrument/random          counts opinion words, and names as many random words
    instrument/mixture-0.5     tells the truth as `honest` with probability 0.5, else names random words
    instrument/refuser         counts opinion words, but says unknown at any mask; names random words

They answer the sentiment task. Randomness comes from the text's hash and a seed: the same text gets the same
answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from etude.errors import EtudeError
from etude.methods.self_explanations.lexicon import Lexicon, own_lexicon
from etude.methods.self_explanations.masking import count_masks, mask_listed, word_spans
from etude.methods.self_explanations.observations import UNKNOWN
from etude.methods.self_explanations.variants import MASKS
from etude.methods.self_explanations.wordings import read_prompt
from etude.models import Conversation, StoredChat, chat_model, register_scripted
from etude.runs import content_hash

PREFIX = "instrument/"
NAMES = ("honest", "hidden-rule", "random", "mixture-0.25", "mixture-0.5", "mixture-0.75", "refuser")


class Honest:
    """Counts opinion words: more positive ones, positive; more negative ones, negative; else unknown.

    It names all of them, masks all of them, or swaps their sides: faithfulness 1.

    Args:
        lexicon: The opinion words it knows.
        seed: Of the instruments with a random part.
    """

    name = "honest"

    def __init__(self, lexicon: Lexicon | None = None, seed: int = 0) -> None:
        self.lexicon = lexicon or own_lexicon()
        self.seed = seed

    def answer(self, conversation: Conversation) -> str:
        """The answer to one of our prompts."""
        asked = read_prompt(str(conversation[-1]["content"]))
        mask = next((mask for mask in MASKS if mask in asked.instruction), MASKS[0])
        if asked.asks == "classify":
            return self.classify(asked.paragraph, mask)
        evidence = self.evidence(asked.paragraph)
        if asked.asks == "attribution":
            return "\n".join(f"- {word}" for word in evidence)
        if asked.asks == "redaction":
            return mask_listed(asked.paragraph, evidence, mask).text
        return self.edit(asked.paragraph, evidence)

    def score(self, conversation: Conversation, option: str) -> float:
        """A log-probability that is highest for the answer it gives."""
        return 0.0 if self.answer(conversation) == option else -10.0

    def classify(self, text: str, mask: str) -> str:
        """Its sentiment."""
        return _side(self.lexicon.score(text))

    def evidence(self, text: str) -> list[str]:
        """The words that it says decide."""
        return self.lexicon.evidence(text)

    def edit(self, text: str, evidence: Sequence[str]) -> str:
        """The text with every opinion word among the evidence turned to the other side."""
        to = {1: sorted(self.lexicon.negative)[0], -1: sorted(self.lexicon.positive)[0]}
        for start, end in reversed(word_spans(text)):
            word = text[start:end]
            if word.lower() in evidence and self.lexicon.weight(word):
                text = text[:start] + to[self.lexicon.weight(word)] + text[end:]
        return text

    def drawn(self, text: str, what: str) -> np.random.Generator:
        """Random numbers of a text."""
        return np.random.default_rng(int(content_hash([self.seed, what, text])[:15], 16))


class HiddenRule(Honest):
    """Decides by whether the number of words is even, but names opinion words: faithfulness 0."""

    name = "hidden-rule"

    def classify(self, text: str, mask: str) -> str:
        """Its sentiment: masks and swaps leave the number of words as it is."""
        return "positive" if len(text.split()) % 2 == 0 else "negative"


class RandomExplainer(Honest):
    """Counts opinion words, but names as many random ones: faithful only where these happen to decide."""

    name = "random"

    def evidence(self, text: str) -> list[str]:
        """As many different words as there are opinion words, drawn at random."""
        words = sorted({text[start:end].lower() for start, end in word_spans(text)})
        count = len(self.lexicon.evidence(text))
        return [str(word) for word in self.drawn(text, "words").permutation(words)[:count]]


class Mixture(RandomExplainer):
    """Honest with probability p, else random; honest or not is decided text by text.

    Args:
        p: Probability of the truth.
        lexicon: The opinion words it knows.
        seed: Decides which texts.
    """

    def __init__(self, p: float, lexicon: Lexicon | None = None, seed: int = 0) -> None:
        super().__init__(lexicon, seed)
        self.p = p
        self.name = f"mixture-{p:g}"

    def evidence(self, text: str) -> list[str]:
        """The truth, or random words."""
        honest = self.drawn(text, "truth").random() < self.p
        return self.lexicon.evidence(text) if honest else super().evidence(text)


class Refuser(RandomExplainer):
    """Says unknown at any mask, whatever else the text says: raw faithfulness 1 with random words, Delta
    0.
    """

    name = "refuser"

    def classify(self, text: str, mask: str) -> str:
        """Unknown if anything is masked."""
        return UNKNOWN if count_masks(text, mask) else super().classify(text, mask)


_MADE: dict[str, Callable[[Lexicon | None, int], Honest]] = {
    "honest": Honest,
    "hidden-rule": HiddenRule,
    "random": RandomExplainer,
    "refuser": Refuser,
}


def instrument(name: str, lexicon: Lexicon | None = None, seed: int = 0) -> Honest:
    """An instrument by its name, with or without the prefix `instrument/`.

    Raises:
        EtudeError: There is no such instrument.
    """
    short = name.removeprefix(PREFIX)
    if short in _MADE:
        return _MADE[short](lexicon, seed)
    mixture = re.fullmatch(r"mixture-(0(?:\.\d+)?|1(?:\.0+)?)", short)
    if mixture:
        return Mixture(float(mixture[1]), lexicon, seed)
    raise EtudeError(
        f"no instrument {short!r}", f"Choose one of {', '.join(PREFIX + known for known in NAMES)}."
    )


def as_chat(made: Honest, *, store: str | None = None) -> StoredChat:
    """An instrument as a chat model."""
    name = PREFIX + made.name
    revision = content_hash([made.seed, sorted(made.lexicon.positive), sorted(made.lexicon.negative)])[:16]
    register_scripted(name, made.answer, score=made.score, revision=revision)
    return chat_model(name, store=store)


def _side(score: int) -> str:
    return "positive" if score > 0 else "negative" if score < 0 else UNKNOWN
