"""Exact token counts of a text spliced from pieces, without re-encoding the whole of it.

A haystack is tokenized once. Splicing a star into it changes the tokens only near the joins, so after every
piece only the last few tokens are encoded again, together with the new piece. The two tokenizations are
trusted where they agree: same boundary, same next `AGREE` ids. If they never agree, the window grows, at last
to the whole text.

    spliced = Spliced.empty(tokenizer).add_haystack(haystack, 0, 1000).add("The little penguin counted 7 ★")
    spliced.count    # what encoding the text as one string gives
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW = 16
"""Tokens encoded again on each side of a join, at first; it doubles until the tokenizations agree."""
AGREE = 4
KEPT = 256
"""Tokens of the end of the text that are kept at hand; more than any star sentence has."""


def encode(tokenizer: Any, text: str) -> tuple[list[int], list[int]]:
    """Token ids of a text and the character at which each token ends.

    Args:
        tokenizer: A `tokenizers.Tokenizer`, or a fast tokenizer of transformers.
        text: Any text; no special tokens are added.
    """
    encoding = getattr(tokenizer, "backend_tokenizer", tokenizer).encode(text, add_special_tokens=False)
    # the running maximum mends tokenizers whose offsets step back inside a character of several tokens
    return encoding.ids, list(accumulate((end for _, end in encoding.offsets), max))


class TokenizedHaystack:
    """A haystack's tokens and where each begins.

    Args:
        text: The haystack.
        tokenizer: A `tokenizers.Tokenizer` or a fast tokenizer of transformers.

    Attributes:
        ids: Token ids, (n,).
        bounds: Character at which token t begins, (n + 1,); `bounds[n]` is where the last one ends.
        clean: Tokens t between which and their predecessor the text can be cut: not inside a character, (m,).
    """

    def __init__(self, text: str, tokenizer: Any) -> None:
        encoding = getattr(tokenizer, "backend_tokenizer", tokenizer).encode(text, add_special_tokens=False)
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        self.text = text
        self.tokenizer = tokenizer
        self.ids = np.array(encoding.ids, dtype=np.int64)
        self.bounds = np.concatenate([[0], np.maximum.accumulate(offsets[:, 1])])
        inside = np.concatenate([offsets[:, 0] < self.bounds[:-1], [False]])
        self.clean = np.flatnonzero(~inside)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def paragraphs(self) -> NDArray[np.int64]:
        """The clean cuts that open a paragraph, ascending, (p,); the beginning of the text is the first."""
        opened = np.array([0, *(match.end() for match in re.finditer(r"\n\n+", self.text))], dtype=np.int64)
        tokens = np.minimum(np.searchsorted(self.bounds, opened), len(self))
        exact = tokens[self.bounds[tokens] == opened]
        return np.unique(exact[self.clean[np.searchsorted(self.clean, exact)] == exact])

    def slice(self, first: int, last: int) -> str:
        """The text of tokens `[first, last)`."""
        return self.text[self.bounds[first] : self.bounds[last]]

    def cut_at_or_before(self, token: int) -> int:
        """The last clean cut at or before a token."""
        return int(self.clean[max(int(np.searchsorted(self.clean, token, side="right")) - 1, 0)])


@dataclass(frozen=True)
class Spliced:
    """A text made of pieces and the exact number of its tokens. Adding gives a new one.

    Args:
        tokenizer: What counts.
        pieces: The text, in pieces.
        before: Tokens before the tail.
        ids: Token ids of the tail.
        ends: Character within `tail` at which each of these tokens ends.
        tail: Text of the tail.
    """

    tokenizer: Any
    pieces: tuple[str, ...] = ()
    before: int = 0
    ids: Sequence[int] = ()
    ends: Sequence[int] = ()
    tail: str = field(default="", repr=False)

    @classmethod
    def empty(cls, tokenizer: Any) -> Spliced:
        """The text of no characters."""
        return cls(tokenizer)

    @property
    def count(self) -> int:
        """Tokens of the whole text, exactly."""
        return self.before + len(self.ids)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    def add(self, piece: str) -> Spliced:
        """The text with a piece behind it."""
        if not piece:
            return self
        window = WINDOW
        while window < len(self.ids):
            kept = len(self.ids) - window  # tokens of the tail that are not encoded again
            start = self.ends[kept - 1] if kept else 0
            again, ends = encode(self.tokenizer, self.tail[start:] + piece)
            met = _meet(self.ids[kept:], [end - start for end in self.ends[kept:]], again, ends)
            if met is not None:
                ours, theirs = met
                ids = [*self.ids[: kept + ours], *again[theirs:]]
                new_ends = [*self.ends[: kept + ours], *(end + start for end in ends[theirs:])]
                return self._with(piece, self.before, ids, new_ends, self.tail + piece)
            window *= 2
        if self.before:  # the tail was not enough: start over from the whole text
            text = self.text + piece
            return self._with(piece, 0, *encode(self.tokenizer, text), text)
        return self._with(piece, 0, *encode(self.tokenizer, self.tail + piece), self.tail + piece)

    def add_haystack(self, haystack: TokenizedHaystack, first: int, last: int) -> Spliced:
        """The text with the haystack's tokens `[first, last)` behind it; both must be clean cuts."""
        reach = WINDOW
        while first + reach + WINDOW < last:
            middle = haystack.cut_at_or_before(first + reach)
            joined = self.add(haystack.slice(first, middle))
            # look for the place, after the join, from which the haystack's own tokens hold
            offset = len(joined.tail) - (int(haystack.bounds[middle]) - int(haystack.bounds[first]))
            theirs = range(first + 1, middle - AGREE)
            for token in theirs:
                if haystack.bounds[token] == haystack.bounds[token + 1]:
                    continue  # inside a character
                place = offset + int(haystack.bounds[token]) - int(haystack.bounds[first])
                index = _boundary(joined.ends, place)
                if index is not None and list(joined.ids[index : index + AGREE]) == list(
                    haystack.ids[token : token + AGREE]
                ):
                    stop = haystack.cut_at_or_before(last - WINDOW)
                    jumped = self._jump(haystack, joined.before + index + stop - token, first, stop)
                    return jumped.add(
                        haystack.slice(stop, last)
                    )  # a text's last tokens differ when more text follows
            reach *= 2
        return self.add(haystack.slice(first, last))

    def _jump(self, haystack: TokenizedHaystack, count: int, first: int, last: int) -> Spliced:
        kept = haystack.cut_at_or_before(max(last - KEPT, first))
        base = int(haystack.bounds[kept])
        return Spliced(
            self.tokenizer,
            (*self.pieces, haystack.slice(first, last)),
            count - (last - kept),
            haystack.ids[kept:last].tolist(),
            (haystack.bounds[kept + 1 : last + 1] - base).tolist(),
            haystack.slice(kept, last),
        )

    def _with(self, piece: str, before: int, ids: Sequence[int], ends: Sequence[int], tail: str) -> Spliced:
        spare = len(ids) - KEPT
        while 0 < spare < len(ids) and ends[spare - 1] == ends[spare]:
            spare += 1  # never part the tokens of one character
        if spare > 0:
            base = ends[spare - 1]
            before, ids, ends, tail = (
                before + spare,
                ids[spare:],
                [end - base for end in ends[spare:]],
                tail[base:],
            )
        return Spliced(self.tokenizer, (*self.pieces, piece), before, ids, ends, tail)


def _meet(
    old: Sequence[int], old_ends: Sequence[int], new: Sequence[int], new_ends: Sequence[int]
) -> tuple[int, int] | None:
    """First pair of token indices from which the next `AGREE` ids are the same, at the same character."""
    for index in range(len(old) - AGREE - 1):
        place = old_ends[index - 1] if index else 0
        if place == old_ends[index]:
            continue  # inside a character
        other = _boundary(new_ends, place)
        if other is not None and list(old[index : index + AGREE]) == list(new[other : other + AGREE]):
            return index, other
    return None


def _boundary(ends: Sequence[int], place: int) -> int | None:
    """The token that begins at a character, or None if a token covers it."""
    if place == 0:
        return 0
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if ends[middle] < place:
            low = middle + 1
        else:
            high = middle
    if low == len(ends) or ends[low] != place:
        return None
    while low + 1 < len(ends) and ends[low + 1] == place:
        low += 1
    return low + 1
