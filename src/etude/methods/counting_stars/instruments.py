"""Models of known quality, to test the test: each reads prompts through the same path as a real model.

    instrument/oracle             lists every star
    instrument/window-2000        sees only the last 2,000 tokens (words or characters when it has no
    tokenizer) instrument/middle-loss        misses every star at depth 0.4 to 0.6 instrument/lossy-0.7
    keeps each star with probability 0.7 instrument/distractor-reader  lists the mistaken numbers only
    instrument/both-reader        lists both numbers of every star: 0.5 by our rule; the published rule cuts
    the list at M
                                  items, half of the stars, and so gives 0.25
    instrument/guesser-32-1600    lists 32 random numbers from 1 to 1600, without reading
    instrument/memoriser-32       lists the published numbers for 32 stars, without reading

Randomness comes from the prompt's hash: the same prompt gets the same answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from etude.errors import EtudeError
from etude.methods.counting_stars.accounting import encode
from etude.methods.counting_stars.official import OFFICIAL_STARS, official_counts
from etude.methods.counting_stars.templates import QUESTION_MARK, Mention, find_stars, wording

Reader: TypeAlias = Callable[[str], list[int]]
"""From a context to the numbers an instrument lists."""

PREFIX = "instrument/"
MIDDLE = (0.4, 0.6)


class Instrument:
    """A model of known quality.

    Args:
        name: Which one, with or without the prefix `instrument/`.
        tokenizer: What `window-k` counts tokens with; without it, it counts words (or characters of Chinese
            text).

    Raises:
        EtudeError: There is no such instrument.
    """

    context_length: int | None = None

    def __init__(self, name: str, tokenizer: Any = None) -> None:
        self.name = PREFIX + name.removeprefix(PREFIX)
        self._read = _reader(name.removeprefix(PREFIX), tokenizer)

    def answer(self, prompt: str) -> str:
        """The JSON answer to a prompt: context, four newlines, question."""
        context, _, question = prompt.rpartition(QUESTION_MARK)
        key = wording("zh" if wording("zh").key in question else "en").key
        return json.dumps({key: self._read(context)}, ensure_ascii=False)


def needs_tokenizer(name: str) -> bool:
    """Whether an instrument counts tokens."""
    return name.removeprefix(PREFIX).startswith("window-")


def known_instruments() -> tuple[str, ...]:
    """The name of each instrument, with example parameters."""
    return tuple(f"{PREFIX}{example}" for example, _, _ in _INSTRUMENTS)


def _oracle() -> Reader:
    return lambda context: [mention.count for mention in find_stars(context)]


def _window(size: str, tokenizer: Any) -> Reader:
    def read(context: str) -> list[int]:
        return [
            mention.count for mention in find_stars(context[_window_start(context, int(size), tokenizer) :])
        ]

    return read


def _window_start(context: str, size: int, tokenizer: Any) -> int:
    """The character at which the last `size` tokens, words or characters begin."""
    if tokenizer is not None:
        ends = encode(tokenizer, context)[1]
        return ends[len(ends) - size - 1] if len(ends) > size else 0
    if wording("zh").key in context:
        return max(len(context) - size, 0)
    spaces = [match.start() for match in re.finditer(" ", context)]  # words as the paper counts them
    return spaces[len(spaces) - size] + 1 if len(spaces) >= size else 0


def _middle_loss() -> Reader:
    def read(context: str) -> list[int]:
        low, high = (edge * len(context) for edge in MIDDLE)
        return [star.count for star in find_stars(context) if not low <= (star.start + star.end) / 2 <= high]

    return read


def _lossy(share: str) -> Reader:
    def read(context: str) -> list[int]:
        stars = find_stars(context)
        kept = _random(context, "lossy").random(len(stars)) < float(share)
        return [star.count for star, keep in zip(stars, kept, strict=True) if keep]

    return read


def _distractor_reader() -> Reader:
    return lambda context: [star.wrong for star in find_stars(context) if star.wrong is not None]


def _both_reader() -> Reader:
    def pair(star: Mention) -> Sequence[int]:
        return [star.count] if star.wrong is None else [star.wrong, star.count]

    return lambda context: [number for star in find_stars(context) for number in pair(star)]


def _guesser(listed: str, highest: str) -> Reader:
    def read(context: str) -> list[int]:
        numbers = _random(context, "guesser").permutation(int(highest))[: int(listed)] + 1
        return [int(number) for number in numbers]

    return read


def _memoriser(stars: str) -> Reader:
    if int(stars) not in OFFICIAL_STARS:
        raise EtudeError(
            f"instrument memoriser-{stars}: no published list of {stars} numbers",
            f"Choose one of {', '.join(map(str, OFFICIAL_STARS))}.",
        )
    return lambda context: official_counts(int(stars))


_INSTRUMENTS: list[tuple[str, str, Callable[..., Reader]]] = [
    ("oracle", r"oracle", _oracle),
    ("window-2000", r"window-(\d+)", _window),
    ("middle-loss", r"middle-loss", _middle_loss),
    ("lossy-0.7", r"lossy-(0(?:\.\d+)?|1(?:\.0+)?)", _lossy),
    ("distractor-reader", r"distractor-reader", _distractor_reader),
    ("both-reader", r"both-reader", _both_reader),
    ("guesser-32-1600", r"guesser-(\d+)-(\d+)", _guesser),
    ("memoriser-32", r"memoriser-(\d+)", _memoriser),
]


def _reader(name: str, tokenizer: Any) -> Reader:
    for _, pattern, make in _INSTRUMENTS:
        match = re.fullmatch(pattern, name)
        if match:
            return make(*match.groups(), tokenizer) if make is _window else make(*match.groups())
    raise EtudeError(f"no instrument {name!r}", f"Choose one of {', '.join(known_instruments())}.")


def _random(context: str, purpose: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{purpose}\n{context}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
