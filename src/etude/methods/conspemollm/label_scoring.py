"""Classification by scoring the label strings: one prefill a text, nothing is sampled.

What all prompts of a task share is read once. What all labels begin with is appended to the prompt. Where
the labels then differ in their next token already (`0. ...`, `1. ...`), the distribution over these digits
is the answer and no further token is read; else each label is scored as far as it differs from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.conspemollm.prompts import encode_answer
from etude.models import CausalLM
from etude.models.generation import Prefix, prefill, score_batch
from etude.models.sharing import shared_prefix
from etude.render import console

_SHARE = 16  # shared tokens from which a copy of their keys and values is worth it
_BATCH_TOKENS = 16384


def label_probabilities(
    lm: CausalLM, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Probability of each answer, among the given ones, after each prompt.

    Args:
        lm: The model.
        prompts: Token ids of each prompt.
        answers: Token ids of each label, two or more; the same for all prompts.

    Returns:
        (prompts, answers); every row sums to 1.

    Raises:
        EtudeError: Two labels have the same tokens, or the logits are not finite even in full precision.
    """
    shared, tails = answer_tails(answers)
    rows = [[*prompt, *shared] for prompt in prompts]
    scores = _scores(lm, rows, tails)
    if not np.isfinite(scores).all() and next(lm.model.parameters()).dtype != torch.float32:
        console().print(
            f"note: {lm.name} gives values that are not finite in half precision; going on in float32"
        )
        model: Any = lm.model
        model.float()
        scores = _scores(lm, rows, tails)
    if not np.isfinite(scores).all():
        raise EtudeError(
            f"{lm.name}: its logits are not finite", "Its weights are damaged, or need another number format."
        )
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def answer_tails(answers: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """What all answers begin with, and of each the least that tells it from every other one.

    That is one token each where the next one differs between all of them, and a few more for those that
    share it (`1.` and `10.`).
    """
    if len({tuple(answer) for answer in answers}) < len(answers):
        raise EtudeError("two classes have the same tokens", "Give the classes different names.")
    same = shared_prefix(answers)
    rest = [list(answer[same:]) for answer in answers]
    tails = []
    for at, tail in enumerate(rest):
        others = rest[:at] + rest[at + 1 :]
        alike = (k for k in range(1, len(tail)) if not any(other[:k] == tail[:k] for other in others))
        tails.append(tail[: next(alike, len(tail))])
    return list(answers[0][:same]), tails


def encoded_answers(lm: CausalLM, labels: Sequence[str]) -> list[list[int]]:
    """Token ids of labels."""
    return [encode_answer(lm.tokenizer, label) for label in labels]


def _scores(
    lm: CausalLM, rows: Sequence[Sequence[int]], tails: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    held = shared_prefix(rows) if len(rows) > 1 else 0
    prefix: Prefix | None = prefill(lm, rows[0][:held]) if held >= _SHARE else None
    held = held if prefix is not None else 0
    order = sorted(range(len(rows)), key=lambda row: (-len(rows[row]), row))
    found = np.zeros((len(rows), len(tails)))
    start = 0
    while start < len(order):  # as many rows as the token budget of a batch holds, longest first
        size = max(1, min(32, _BATCH_TOKENS // len(rows[order[start]])))
        chosen = order[start : start + size]
        start += size
        scored = score_batch(
            lm,
            [rows[i][held:] for i in chosen],
            [list(tails)] * len(chosen),
            prefix=prefix,
            max_rows=max(size, 32),
        )
        for row, options in zip(chosen, scored, strict=True):
            found[row] = [option.total for option in options]
    return found


def listed_probabilities(
    lm: CausalLM, prompts: Sequence[Sequence[int]], labels: Sequence[str], separator: str, none: str
) -> tuple[list[tuple[int, ...]], NDArray[np.float64]]:
    """A multi-label answer, label by label: at each step the model chooses among the labels that may follow,
    in ascending order, and the end.

    Args:
        lm: The model.
        prompts: Token ids of each prompt.
        labels: The label strings.
        separator: Between two labels of an answer.
        none: The answer without any label.

    Returns:
        The labels of each answer, and for each label the probability with which it was (or would have been)
        named at the last step that could name it, (prompts, labels).
    """
    end = [int(lm.tokenizer.eos_token_id or 0)]
    chosen: list[list[int]] = [[] for _ in prompts]
    so_far = [list(prompt) for prompt in prompts]
    found = np.zeros((len(prompts), len(labels)))
    live = list(range(len(prompts)))
    while live:
        by_last: dict[int, list[int]] = {}
        for row in live:
            by_last.setdefault(chosen[row][-1] if chosen[row] else -1, []).append(row)
        live = []
        for last, rows in sorted(by_last.items()):
            options = list(range(last + 1, len(labels)))
            joint = separator if last >= 0 else ""
            stop = end if last >= 0 else encode_answer(lm.tokenizer, none)
            if not options:
                continue
            given = [encode_answer(lm.tokenizer, joint + labels[at]) for at in options] + [stop]
            scores = label_probabilities(lm, [so_far[row] for row in rows], given)
            for row, share in zip(rows, scores, strict=True):
                best = int(share.argmax())
                reach = len(options) if best == len(options) else best + 1
                found[row, options[:reach]] = share[:reach]
                if best < len(options):
                    chosen[row].append(options[best])
                    so_far[row] += given[best]
                    live.append(row)
    return [tuple(row) for row in chosen], found
