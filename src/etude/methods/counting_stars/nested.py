"""Reads many prompts with one local model so that no token is computed twice.

Prompts sorted by their tokens are the leaves of a trie, visited from left to right: between two neighbors the
model goes back to where they part and reads on from there. With `nested` placement all lengths of a seed are
beginnings of one text, and 32 lengths up to 128k cost little more than the longest alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etude.models.generation import Generated, Prefix, Scored
    from etude.models.local_lm import CausalLM


@dataclass(frozen=True)
class Reading:
    """One prompt as it comes up for reading: its number, what is already read, and the rest.

    Args:
        row: Which prompt.
        prefix: What the model has read.
        tail: Token ids of the rest, at least one.
        cached: Tokens of the prompt that an earlier prompt paid for.
        seconds: Wall time of reading what the next prompt shares.
    """

    row: int
    prefix: Prefix
    tail: list[int]
    cached: int
    seconds: float


def readings(lm: CausalLM, rows: Sequence[Sequence[int]]) -> Iterator[Reading]:
    """The prompts in the order that shares most; use each reading before asking for the next.

    Args:
        lm: The model.
        rows: Token ids of each prompt, whole.
    """
    from etude.models.generation import crop_prefix, prefill

    order = sorted(range(len(rows)), key=lambda row: list(rows[row]))
    prefix = prefill(lm, [])
    for place, row in enumerate(order):
        started = time.perf_counter()
        tokens = list(rows[row])
        known = common_length(prefix.tokens, tokens)
        crop_prefix(prefix, known)
        shared = common_length(tokens, rows[order[place + 1]]) if place + 1 < len(order) else 0
        shared = max(min(shared, len(tokens) - 1), known)  # the last token's logits are needed
        prefix = prefill(lm, tokens[known:shared], prefix)
        yield Reading(row, prefix, tokens[shared:], known, time.perf_counter() - started)


def answer_rows(
    lm: CausalLM, rows: Sequence[Sequence[int]], max_tokens: int
) -> Iterator[tuple[int, Generated, int, float]]:
    """Greedy answers to many prompts.

    Yields:
        Row number, what was written, tokens that an earlier prompt paid for, seconds.
    """
    from etude.models.generation import generate_batch

    for reading in readings(lm, rows):
        started = time.perf_counter()
        [written] = generate_batch(lm, [reading.tail], prefix=reading.prefix, max_tokens=max_tokens)
        yield reading.row, written, reading.cached, reading.seconds + time.perf_counter() - started


def score_rows(
    lm: CausalLM, rows: Sequence[Sequence[int]], options: Sequence[Sequence[Sequence[int]]]
) -> Iterator[tuple[int, list[Scored]]]:
    """Log-probabilities of given continuations of many prompts, without writing anything.

    Args:
        lm: The model.
        rows: Token ids of each prompt.
        options: For each prompt the continuations to score, each of one token or more.

    Yields:
        Row number and the scores of its options.
    """
    from etude.models.generation import score_batch

    for reading in readings(lm, rows):
        [scored] = score_batch(lm, [reading.tail], [options[reading.row]], prefix=reading.prefix)
        yield reading.row, scored


def tokens_to_read(rows: Sequence[Sequence[int]]) -> tuple[int, int]:
    """How many tokens the prompts hold, and how many of them are read: the nodes of their trie."""
    ordered = sorted(map(list, rows))
    total = sum(map(len, ordered))
    shared = sum(common_length(one, other) for one, other in pairwise(ordered))
    return total, total - shared


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Number of leading tokens that two rows share."""
    most = min(len(one), len(other))
    low, high = 0, most
    while low < high:  # comparing slices is fast, comparing items is not
        middle = (low + high + 1) // 2
        if list(one[low:middle]) == list(other[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low
