"""Reading, continuing and scoring many token rows with one local model.

- What all rows share is read once (`prefill`) and forked, never read again; long texts are read in chunks,
  and no logits over the vocabulary are kept for them.
- Rows of similar length share a batch, padded on the left; a row that ends leaves the batch.
- A row's random numbers depend on its own seed, not on its neighbors. (Logits still differ in the last bits
  between batch shapes, as everywhere: an exact tie may then fall the other way.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from etude.models import kv_cache
from etude.models.decoding import PLAIN, Decoding, penalize, restrict
from etude.models.local_lm import CausalLM

CHUNK = 512  # tokens read in one forward pass
ROWS = 32  # rows decoded together
CACHE_BYTES = 2 << 30  # memory for the keys and values of one batch
LOGIT_BYTES = 256 << 20  # memory for the logits of one scoring step


@dataclass
class Prefix:
    """What a model has read so far: one row of keys and values, and the tokens they belong to."""

    cache: Cache
    tokens: list[int]

    def __len__(self) -> int:
        """Tokens read."""
        return len(self.tokens)


@dataclass(frozen=True)
class Generated:
    """One continuation.

    Args:
        text: The new text, without special tokens, cut before a stop string.
        tokens: The new token ids, without the end token.
        stop_reason: `stop` (end token or stop string) or `length`.
    """

    text: str
    tokens: list[int]
    stop_reason: Literal["stop", "length"]


@dataclass(frozen=True)
class Scored:
    """A given continuation under the model.

    Args:
        logprobs: Natural log-probability of each token given all before it.
        greedy: Whether each token is the model's most likely one.
    """

    logprobs: list[float]
    greedy: list[bool]

    @property
    def total(self) -> float:
        """Log-probability of the whole continuation."""
        return sum(self.logprobs)


@torch.inference_mode()
def prefill(
    lm: CausalLM, tokens: Sequence[int], prefix: Prefix | None = None, *, chunk: int = CHUNK
) -> Prefix:
    """Read tokens, after `prefix` if given (which is extended in place).

    Args:
        lm: The model.
        tokens: Token ids.
        prefix: What was read before.
        chunk: Tokens per forward pass.

    Returns:
        The prefix with the tokens appended.
    """
    if prefix is None:  # an empty prefix is a prefix too
        prefix = Prefix(kv_cache.new_cache(lm.model.config), [])
    for start in range(0, len(tokens), chunk):
        part = list(tokens[start : start + chunk])
        _forward(lm, torch.tensor([part], device=lm.device), prefix.cache, None, None, keep=1)
        prefix.tokens.extend(part)
    return prefix


def crop_prefix(prefix: Prefix, length: int) -> None:
    """Forget all tokens of `prefix` after the first `length`, in place."""
    kv_cache.crop(prefix.cache, length)
    del prefix.tokens[length:]


def generate_batch(
    lm: CausalLM,
    tails: Sequence[Sequence[int]],
    *,
    prefix: Prefix | None = None,
    max_tokens: int,
    temperature: float = 0.0,
    stop: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    decoding: Decoding = PLAIN,
    max_rows: int = ROWS,
) -> list[Generated]:
    """Continue many token rows; see `generate_rows`, which gives each row as soon as it is finished."""
    found = dict(
        generate_rows(
            lm,
            tails,
            prefix=prefix,
            max_tokens=max_tokens,
            temperature=temperature,
            stop=stop,
            seeds=seeds,
            decoding=decoding,
            max_rows=max_rows,
        )
    )
    return [found[i] for i in range(len(tails))]


def generate_rows(
    lm: CausalLM,
    tails: Sequence[Sequence[int]],
    *,
    prefix: Prefix | None = None,
    max_tokens: int,
    temperature: float = 0.0,
    stop: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    decoding: Decoding = PLAIN,
    max_rows: int = ROWS,
) -> Iterator[tuple[int, Generated]]:
    """Continue many token rows.

    Args:
        lm: The model.
        tails: Token ids of each row, after the prefix.
        prefix: What all rows begin with; as it was when this ends.
        max_tokens: The most new tokens of a row; fewer where the model's context ends.
        temperature: 0 takes the most likely token; else logits are divided by it and sampled.
        stop: A row ends before the first of these strings.
        seeds: One per row; used only when sampling.
        decoding: Nucleus, top-k and penalties.
        max_rows: The most rows decoded together; fewer when their keys and values would not fit.

    Yields:
        Row number and continuation, in the order of finishing.
    """
    tails, prefix, owned = _with_a_token_each(tails, prefix)
    seeds = list(seeds) if seeds is not None else [0] * len(tails)
    held = len(prefix) if prefix else 0
    for chosen in _batches(lm, [len(tail) for tail in tails], held, max_tokens, max_rows):
        batch = _Batch(lm, [tails[i] for i in chosen], prefix, room=max_tokens)
        room = (lm.context_length or sys.maxsize) - held
        limits = [min(max_tokens, room - len(tails[i])) for i in chosen]
        watch = _Watch(lm, limits, tuple(stop))
        before = prefix.tokens if prefix and decoding.looks_back else []
        read = [[*before, *tails[i]] for i in chosen]
        choose = _Chooser(temperature, [seeds[i] for i in chosen], decoding, read, watch.written)
        live = list(range(len(chosen)))  # rows of this batch still being written
        while live:
            tokens = choose(batch.logits, live)
            keep = []
            for place, (row, token) in enumerate(zip(live, tokens, strict=True)):
                done = watch.add(row, token)
                if done is None:
                    keep.append(place)
                else:
                    yield chosen[row], done
            if keep:
                batch.advance(tokens, keep)
            live = [live[place] for place in keep]
        batch.release()
    if owned and prefix is not None:
        prefill(lm, owned, prefix)


def score_batch(
    lm: CausalLM,
    contexts: Sequence[Sequence[int]],
    options: Sequence[Sequence[Sequence[int]]],
    *,
    prefix: Prefix | None = None,
    max_rows: int = ROWS,
) -> list[list[Scored]]:
    """Score given continuations, reading each context once; see `score_rows`."""
    found = dict(score_rows(lm, contexts, options, prefix=prefix, max_rows=max_rows))
    return [found[i] for i in range(len(contexts))]


def score_rows(
    lm: CausalLM,
    contexts: Sequence[Sequence[int]],
    options: Sequence[Sequence[Sequence[int]]],
    *,
    prefix: Prefix | None = None,
    max_rows: int = ROWS,
) -> Iterator[tuple[int, list[Scored]]]:
    """Score given continuations of many contexts.

    Args:
        lm: The model.
        contexts: Token ids of each context, after the prefix.
        options: For each context, the continuations to score, each of one token or more.
        prefix: What all contexts begin with; as it was when this ends.
        max_rows: The most rows in one forward pass.

    Yields:
        Row number and the scores of its options.
    """
    contexts, prefix, owned = _with_a_token_each(contexts, prefix)
    held = len(prefix) if prefix else 0
    longest = max((len(option) for row in options for option in row), default=0)
    for chosen in _batches(lm, [len(context) for context in contexts], held, longest, max_rows):
        batch = _Batch(lm, [contexts[i] for i in chosen], prefix, room=longest if len(chosen) == 1 else 0)
        scored = _score_options(batch, [options[i] for i in chosen], max_rows)
        batch.release()
        yield from zip(chosen, scored, strict=True)
    if owned and prefix is not None:
        prefill(lm, owned, prefix)


class _Batch:
    """Rows that are read and written together: their cache, mask, positions and next-token logits."""

    @torch.inference_mode()
    def __init__(
        self, lm: CausalLM, tails: Sequence[Sequence[int]], prefix: Prefix | None, *, room: int
    ) -> None:
        self.lm = lm
        self.prefix = prefix
        self.held = len(prefix) if prefix else 0
        width = max(map(len, tails))
        pads = torch.tensor([width - len(tail) for tail in tails], device=lm.device)  # (batch,)
        ids = torch.tensor([[0] * (width - len(tail)) + list(tail) for tail in tails], device=lm.device)
        self.borrowed = prefix is not None and len(tails) == 1
        if prefix is None:
            self.cache = kv_cache.new_cache(lm.model.config)
        elif self.borrowed:  # one row may write behind the prefix itself and be taken back
            self.cache = prefix.cache
        else:
            rows = torch.zeros(len(tails), dtype=torch.long, device=lm.device)
            self.cache = kv_cache.fork(prefix.cache, rows, room=width + room)
        self.pads = pads
        self.slots = list(range(len(tails)))  # cache rows of the rows still being written
        self.length = self.held  # columns in the cache
        for start in range(0, width, CHUNK):
            self.logits = self.read(ids[:, start : start + CHUNK], keep=1)[:, -1]  # (batch, vocabulary)

    def read(self, ids: Tensor, *, keep: int) -> Tensor:
        """Append token ids, (batch, columns), and return the logits of the last `keep` columns."""
        columns = torch.arange(self.length, self.length + ids.shape[1], device=ids.device)
        positions = (columns[None] - self.pads[:, None]).clamp(min=0)  # (batch, columns)
        self.length += ids.shape[1]
        return _forward(self.lm, ids, self.cache, self.mask(self.length), positions, keep=keep)

    def mask(self, length: int) -> Tensor | None:
        """1 where a column holds a token of the row, (batch, length); None when all do."""
        if not bool(self.pads.any()):
            return None
        columns = torch.arange(length, device=self.pads.device)[None]
        padded = (columns >= self.held) & (columns < self.held + self.pads[:, None])
        return (~padded).long()

    @torch.inference_mode()
    def advance(self, tokens: Sequence[int], keep: Sequence[int]) -> None:
        """Go on with the rows in `keep` (places among `tokens`), appending their tokens.

        Rows that ended stay in the cache, unused, until half of it is: each time they leave, all is copied.
        """
        self.slots = [self.slots[place] for place in keep]
        if len(self.slots) <= len(self.pads) // 2:
            chosen = torch.tensor(self.slots, device=self.pads.device)
            self.cache = kv_cache.fork(self.cache, chosen, room=max(16, self.length // 8))
            self.pads, self.slots = self.pads[chosen], list(range(len(keep)))
        column = torch.zeros(len(self.pads), 1, dtype=torch.long, device=self.pads.device)
        column[self.slots, 0] = torch.tensor([tokens[place] for place in keep], device=self.pads.device)
        self.logits = self.read(column, keep=1)[self.slots, -1]  # (live rows, vocabulary)

    def release(self) -> None:
        """Give back a borrowed prefix as it was."""
        if self.borrowed and self.prefix is not None:
            kv_cache.crop(self.prefix.cache, self.held)


class _Chooser:
    """Next tokens from logits: the most likely, or sampled with each row's own numbers (Gumbel-max)."""

    def __init__(
        self,
        temperature: float,
        seeds: Sequence[int],
        decoding: Decoding,
        read: Sequence[Sequence[int]],
        written: Sequence[Sequence[int]],
    ) -> None:
        self.temperature = temperature
        self.decoding, self.read, self.written = decoding, read, written
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds] if temperature > 0 else []

    def __call__(self, logits: Tensor, rows: Sequence[int]) -> list[int]:
        """Token ids for `logits`, (rows, vocabulary)."""
        if self.decoding.looks_back:
            logits = torch.stack(
                [
                    penalize(logits[place].float(), self.decoding, self.read[row], self.written[row])
                    for place, row in enumerate(rows)
                ]
            )
        if self.temperature > 0:
            draws = torch.stack(
                [torch.empty(logits.shape[1]).exponential_(generator=self.generators[row]) for row in rows]
            )
            logits = restrict(logits.float().cpu() / self.temperature, self.decoding) - draws.log()
        return [int(token) for token in logits.argmax(-1)]


class _Watch:
    """Follows the rows of a batch and says when one ends."""

    def __init__(self, lm: CausalLM, limits: list[int], stop: tuple[str, ...]) -> None:
        self.tokenizer = lm.tokenizer
        self.ends = end_tokens(lm)
        self.limits = limits
        self.stop = stop
        self.written: list[list[int]] = [[] for _ in limits]

    def add(self, row: int, token: int) -> Generated | None:
        """Note a row's next token; its continuation if it ends here."""
        written = self.written[row]
        if token in self.ends:
            return Generated(self.text(written), written, "stop")
        written.append(token)
        if self.stop:
            text = self.text(written)
            found = [at for at in (text.find(mark) for mark in self.stop) if at >= 0]
            if found:
                return Generated(text[: min(found)], written, "stop")
        if len(written) >= self.limits[row]:
            return Generated(self.text(written), written, "length")
        return None

    def text(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))


def end_tokens(lm: CausalLM) -> set[int]:
    """Token ids that end an answer: those of the model's generation settings and of its tokenizer."""
    configured = getattr(lm.model.generation_config, "eos_token_id", None)
    found = set(configured if isinstance(configured, list) else [configured]) | {lm.tokenizer.eos_token_id}
    return {int(token) for token in found if token is not None}


def _forward(
    lm: CausalLM, ids: Tensor, cache: Cache, mask: Tensor | None, positions: Tensor | None, *, keep: int
) -> Tensor:
    """Logits of the last `keep` columns, (batch, keep, vocabulary); the cache takes all columns."""
    output = lm.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=keep,
    )
    logits: Tensor = output.logits
    return logits[:, -keep:]


@torch.inference_mode()
def _score_options(
    batch: _Batch, options: Sequence[Sequence[Sequence[int]]], max_rows: int
) -> list[list[Scored]]:
    """Scores of each row's options, given a batch that has read the contexts."""
    first = batch.logits.float().log_softmax(-1)  # (batch, vocabulary)
    best = first.argmax(-1).tolist()
    found = [
        [Scored([float(first[row, option[0]])], [best[row] == option[0]]) for option in given]
        for row, given in enumerate(options)
    ]
    longer = [
        (row, at) for row, given in enumerate(options) for at in range(len(given)) if len(given[at]) > 1
    ]
    longer.sort(key=lambda item: -len(options[item[0]][item[1]]))
    for start in range(0, len(longer), max_rows):
        part = longer[start : start + max_rows]
        rest = _score_rest(batch, [row for row, _ in part], [options[row][at] for row, at in part])
        for (row, at), more in zip(part, rest, strict=True):
            head = found[row][at]
            found[row][at] = Scored(head.logprobs + more.logprobs, head.greedy + more.greedy)
    return found


def _score_rest(batch: _Batch, rows: list[int], options: Sequence[Sequence[int]]) -> list[Scored]:
    """Scores of all tokens but the first of one option for each of the rows (padded on the right)."""
    width = max(map(len, options)) - 1
    device = batch.pads.device
    ids = torch.tensor(
        [[*option[:-1], *[0] * (width + 1 - len(option))] for option in options], device=device
    )
    targets = torch.tensor(
        [[*option[1:], *[0] * (width + 1 - len(option))] for option in options], device=device
    )
    length, pads, cache = batch.length, batch.pads, batch.cache
    chosen = torch.tensor(rows, device=device)
    alone = len(rows) == 1 and len(pads) == 1
    if not alone:  # one row may write behind its own context and be taken back
        batch.cache, batch.pads = kv_cache.fork(cache, chosen, room=width), pads[chosen]
    step = max(1, min(CHUNK, LOGIT_BYTES // (4 * len(rows) * batch.logits.shape[-1])))
    logprobs, greedy = [], []
    for start in range(0, width, step):
        part = ids[:, start : start + step]
        logits = batch.read(part, keep=part.shape[1]).float()  # (rows, step, vocabulary)
        wanted = targets[:, start : start + step]
        chosen_logits = logits.gather(-1, wanted[..., None])[..., 0]
        logprobs.append(chosen_logits - logits.logsumexp(-1))
        greedy.append(logits.argmax(-1) == wanted)
    batch.length, batch.pads, batch.cache = length, pads, cache
    kv_cache.crop(cache, length)
    values, hits = torch.cat(logprobs, 1).tolist(), torch.cat(greedy, 1).tolist()
    return [
        Scored(v[: len(option) - 1], h[: len(option) - 1])
        for v, h, option in zip(values, hits, options, strict=True)
    ]


def _with_a_token_each(
    rows: Sequence[Sequence[int]], prefix: Prefix | None
) -> tuple[list[list[int]], Prefix | None, list[int]]:
    """Rows with at least one token each: when one is empty, the prefix lends all of them its last token.

    Returns:
        The rows, the prefix (shorter by a token if lent), and the lent tokens, to be read again at the end.
    """
    lists = [list(row) for row in rows]
    if all(lists) or not lists:
        return lists, prefix, []
    if prefix is None or not len(prefix):
        raise ValueError("a row without tokens needs a prefix")
    lent = prefix.tokens[-1:]
    crop_prefix(prefix, len(prefix) - 1)
    return [lent + row for row in lists], prefix, lent


def _batches(lm: CausalLM, lengths: list[int], held: int, room: int, max_rows: int) -> Iterator[list[int]]:
    """Row numbers, longest first, in batches whose keys and values fit into `CACHE_BYTES`.

    A sliding window counts columns, so padding between a prefix and a row would push tokens out of it: with a
    prefix, rows of such models share a batch only with rows of the same length.
    """
    row_bytes = kv_cache.bytes_per_token(lm.model)
    even = held > 0 and kv_cache.has_sliding_window(lm.model.config)
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        rows = max(1, min(max_rows, CACHE_BYTES // ((held + longest + room) * row_bytes)))
        chosen = order[start : start + rows]
        chosen = [i for i in chosen if lengths[i] == longest or not even]
        yield chosen
        start += len(chosen)
