"""Contrastive decoding with a causal model: two instruction streams in one forward pass of 2B rows.

- The heads (task line and demonstrations) of both kinds are read once, for all sentences of all batches.
- A sentence is read once after each head; what each of its two sentences needs, its own stream and the
  opposite one, are then two copies of keys and values that are there already.
- Pairs that have ended leave the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from etude.errors import EtudeError
from etude.methods.semcsr.contrast import contrast
from etude.models import CausalLM, kv_cache
from etude.models.generation import end_tokens

_ROOM = 16


@dataclass
class Heads:
    """What the prompts of each kind begin with, read once: a cache with one row for each head.

    Args:
        cache: Keys and values, (heads, ...), padded on the left to the longest head.
        lengths: Tokens of each head, (heads,).
        columns: Columns of the cache.
    """

    cache: Cache
    lengths: Tensor
    columns: int


@torch.inference_mode()
def read_heads(lm: CausalLM, heads: Sequence[Sequence[int]]) -> Heads:
    """Read the heads together; an empty head is allowed only if all are empty."""
    width = max(map(len, heads))
    lengths = torch.tensor([len(head) for head in heads], device=lm.device)
    found = Heads(kv_cache.new_cache(lm.model.config), lengths, width)
    if width:
        pads = (width - lengths)[:, None]
        columns = torch.arange(width, device=lm.device)[None]
        _forward(lm, _padded(heads, width, lm), found.cache, columns >= pads, (columns - pads).clamp(min=0))
    return found


@torch.inference_mode()
def write_pairs(
    lm: CausalLM,
    heads: Heads,
    head_of: Sequence[int],
    tails: Sequence[Sequence[int]],
    opposite: Sequence[int],
    *,
    omega: float,
    plausibility: float,
    max_tokens: int,
    stop: Sequence[str],
) -> list[str | None]:
    """Continue every row, each against its opposite.

    Args:
        lm: The model.
        heads: What rows begin with.
        head_of: The head of each row, (rows,).
        tails: Token ids of each row behind its head, at least one.
        opposite: For each row the row that holds the same sentence under the opposite instruction.
        omega: Weight of the opposite.
        plausibility: See `contrast`.
        max_tokens: The most new tokens of a row.
        stop: A row ends before the first of these.

    Returns:
        Text of each row up to its end; None where it did not end in `max_tokens`.

    Raises:
        EtudeError: The rows do not fit the model's context.
    """
    count, width = len(tails), max(map(len, tails))
    columns = heads.columns + width
    _refuse_too_long(lm, columns + max_tokens)
    chosen = torch.tensor(list(head_of), device=lm.device)
    tail_lengths = torch.tensor([len(tail) for tail in tails], device=lm.device)
    cache = (
        kv_cache.fork(heads.cache, chosen, room=width + _ROOM)
        if heads.columns
        else kv_cache.new_cache(lm.model.config)
    )
    held = torch.arange(heads.columns, device=lm.device)[None] >= heads.columns - heads.lengths[chosen, None]
    pads = (width - tail_lengths)[:, None]
    places = torch.arange(width, device=lm.device)[None]
    mask = torch.cat([held, places >= pads], 1)  # (rows, columns)
    position = heads.lengths[chosen, None] + (places - pads).clamp(min=0)  # (rows, width)
    logits = _forward(lm, _padded(tails, width, lm), cache, mask, position)

    # From here on: row i is the stream of row i, row count + i that of its opposite, with the same new words.
    streams = torch.cat([torch.arange(count), torch.tensor(list(opposite))]).to(lm.device)
    cache = kv_cache.fork(cache, streams, room=max_tokens)
    mask, logits = mask[streams], logits[streams]
    position = (heads.lengths[chosen] + tail_lengths)[streams, None]  # (2 rows, 1): of the next token
    ends, written = end_tokens(lm), [list[int]() for _ in range(count)]
    found: list[str | None] = [None] * count
    live = list(range(count))  # rows behind the first half of the streams
    for _ in range(max_tokens):
        wanted, others = logits.chunk(2)
        scores = contrast(wanted, others, omega, plausibility)
        tokens = scores.argmax(-1).tolist()
        going = []
        for at, (row, token) in enumerate(zip(live, tokens, strict=True)):
            text, ended = _append(lm, written[row], token, ends, stop)
            if ended:
                found[row] = text
            else:
                going.append(at)
        if not going:
            break
        if len(going) < len(live):
            pairs = torch.tensor(going, device=lm.device)
            kept = torch.cat([pairs, pairs + len(live)])
            cache = kv_cache.fork(cache, kept, room=_ROOM)
            mask, position = mask[kept], position[kept]
            live, tokens = [live[at] for at in going], [tokens[at] for at in going]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        logits = _forward(lm, torch.tensor([tokens * 2], device=lm.device).T, cache, mask, position)
        position = position + 1
    return found


def _append(
    lm: CausalLM, written: list[int], token: int, ends: set[int], stop: Sequence[str]
) -> tuple[str, bool]:
    """Note a row's next token; its text so far, and whether it ends here."""
    ended = token in ends
    if not ended:
        written.append(token)
    text = str(lm.tokenizer.decode(written, skip_special_tokens=True))
    at = min((place for place in (text.find(mark) for mark in stop) if place >= 0), default=None)
    return (text if at is None else text[:at]), ended or at is not None


def _padded(rows: Sequence[Sequence[int]], width: int, lm: CausalLM) -> Tensor:
    return torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=lm.device)


def _forward(lm: CausalLM, ids: Tensor, cache: Cache, mask: Tensor, position: Tensor) -> Tensor:
    """Logits after the last column, (rows, vocabulary); the cache takes all columns."""
    output = lm.model(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=position,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: Tensor = output.logits[:, -1]
    return logits


def _refuse_too_long(lm: CausalLM, columns: int) -> None:
    config = lm.model.config.get_text_config(decoder=True)
    window = getattr(config, "sliding_window", None) if kv_cache.has_sliding_window(lm.model.config) else None
    limits = [limit for limit in (lm.context_length, window) if limit]
    if limits and columns > min(limits):
        raise EtudeError(
            f"a prompt and its answer need {columns} tokens, {lm.name} reads {min(limits)}",
            "Shorten the sentences (--max-length) or the prompts.",
        )
