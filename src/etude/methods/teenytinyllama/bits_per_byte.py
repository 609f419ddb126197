"""Bits per UTF-8 byte of documents under a causal language model.

Perplexity per token says nothing across tokenizers, bits per byte do: bits = -Σ log2 p(token | what came
before), divided by the bytes of the text, which no tokenizer changes.

- Every token of every document is scored exactly once, the first one given the start token alone; the end
  token is not scored, so that all tokenizers pay for the same text.
- A document longer than the model's context is read in windows; all but the first hold earlier tokens as
  context.
- Text is text: a document that spells out `</s>` is not given the end token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.teenytinyllama.reading import Document
from etude.models import CausalLM

LONGEST_CONTEXT = 2048
LOGITS = 1 << 25  # logits held at once, 128 MiB in float32
RESAMPLES = 2000


@dataclass(frozen=True)
class DocumentBits:
    """One document under a model.

    Attributes:
        id, source: The document.
        bits: -Σ log2 p over its tokens.
        tokens, words, utf8_bytes: Its length.
    """

    id: str
    source: str
    bits: float
    tokens: int
    words: int
    utf8_bytes: int

    @property
    def bits_per_byte(self) -> float:
        """Bits per UTF-8 byte."""
        return self.bits / self.utf8_bytes


@dataclass(frozen=True)
class Window:
    """A stretch of one document that is read in one pass.

    Attributes:
        document: Its number.
        inputs: Token ids that are read.
        targets: The tokens that follow each of the last `len(targets)` inputs.
    """

    document: int
    inputs: list[int]
    targets: list[int]


def start_token(tokenizer: Any) -> int:
    """The token that a document follows: what the tokenizer puts in front by itself, else the end token that
    separates packed documents, else the start token.

    Raises:
        EtudeError: The tokenizer has none of them.
    """
    added = tokenizer.encode("")
    if added and added[0] != tokenizer.eos_token_id:
        return int(added[0])
    for found in (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id):
        if found is not None:
            return int(found)
    raise EtudeError("the tokenizer has no start or end token", "Set eos_token in its tokenizer_config.json.")


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text, nothing put before or after it, and no special token read out of it."""
    return list(
        tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    )


def windows(
    ids: Sequence[int], *, start: int, context: int, stride: int, document: int = 0
) -> Iterator[Window]:
    """Cut a document so that every token is a target once.

    Args:
        ids: The document's tokens.
        start: The token before the first.
        context: The most inputs of a window.
        stride: Targets of every window but the first (which has `context`); the other `context - stride`
            inputs repeat what came before.
        document: Number to note.

    Yields:
        The windows in order.
    """
    row = [start, *ids]
    begin, end = 0, min(len(ids), context)
    while begin < len(ids):
        low = max(0, end - context)
        yield Window(document, row[low:end], row[begin + 1 : end + 1])
        begin, end = end, min(len(ids), end + stride)


def document_bits(
    lm: CausalLM, documents: Iterable[Document], *, context: int | None = None, stride: int | None = None
) -> list[DocumentBits]:
    """Score documents.

    Args:
        lm: Model and tokenizer.
        documents: Plain text; empty ones must have been left out.
        context: Tokens of a window; the model's own context, at most 2,048, by default.
        stride: Tokens by which windows advance; half the context by default, `context` for no overlap.

    Returns:
        One record per document, in order.

    Raises:
        EtudeError: A window longer than the model's context, a stride outside 1..context, or a token id that
            the model has no embedding for (tokenizer and model do not belong together).
    """
    longest = lm.context_length or LONGEST_CONTEXT
    context = context or min(longest, LONGEST_CONTEXT)
    stride = stride if stride is not None else max(1, context // 2)
    if context > longest:
        raise EtudeError(
            f"context = {context}, but {lm.name} reads {longest} tokens", "Give a smaller --context."
        )
    if not 1 <= stride <= context:
        raise EtudeError(f"stride = {stride} is not within 1..{context}", "Give a stride up to the context.")
    texts = list(documents)
    encoded = [encode_text(lm.tokenizer, document.text) for document in texts]
    _check_ids(lm, encoded, texts)
    first = start_token(lm.tokenizer)
    pieces = [
        window
        for number, ids in enumerate(encoded)
        for window in windows(ids, start=first, context=context, stride=stride, document=number)
    ]
    bits = [0.0] * len(texts)
    for window, nats in zip(pieces, target_nats(lm, pieces), strict=True):
        bits[window.document] += nats / math.log(2)
    return [
        DocumentBits(d.id, d.source, total, len(ids), len(d.text.split()), len(d.text.encode()))
        for d, ids, total in zip(texts, encoded, bits, strict=True)
    ]


@torch.inference_mode()
def target_nats(lm: CausalLM, pieces: Sequence[Window]) -> list[float]:
    """-Σ ln p of each window's targets; windows of similar length share a pass, padded on the right, where a
    causal model's earlier tokens cannot see.
    """
    vocabulary = embeddings(lm)
    order = sorted(range(len(pieces)), key=lambda i: -len(pieces[i].inputs))
    nats = [0.0] * len(pieces)
    while order:
        width = len(pieces[order[0]].inputs)
        rows = max(1, LOGITS // (width * vocabulary))
        batch, order = order[:rows], order[rows:]
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        following = torch.full((len(batch), width), -100)
        for row, number in enumerate(batch):
            window = pieces[number]
            size = len(window.inputs)
            ids[row, :size] = torch.tensor(window.inputs)
            following[row, size - len(window.targets) : size] = torch.tensor(window.targets)
        logits = lm.model(input_ids=ids.to(lm.device), use_cache=False).logits  # (rows, width, vocabulary)
        for number, value in zip(batch, _row_nats(logits, following.to(lm.device)), strict=True):
            nats[number] = value
    return nats


def embeddings(lm: CausalLM) -> int:
    """How many token ids the model knows."""
    table: Any = lm.model.get_input_embeddings()
    return int(table.weight.shape[0])


def _row_nats(logits: Tensor, following: Tensor) -> list[float]:
    """-Σ ln p per row: logits (rows, width, vocabulary), following (rows, width) with -100 where not
    scored.
    """
    losses = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), following.flatten(), ignore_index=-100, reduction="none"
    )
    sums: list[float] = losses.view(following.shape).double().sum(1).tolist()
    return sums


def _check_ids(lm: CausalLM, encoded: Sequence[Sequence[int]], documents: Sequence[Document]) -> None:
    vocabulary = embeddings(lm)
    for ids, document in zip(encoded, documents, strict=True):
        if not ids:
            raise EtudeError(f"document {document.id!r} has no token", "Leave out empty documents.")
        if max(ids) >= vocabulary:
            raise EtudeError(
                f"document {document.id!r} has token id {max(ids)}, {lm.name} has {vocabulary} embeddings",
                "Tokenizer and model do not belong together.",
            )


def summarize(scores: Sequence[DocumentBits], vocabulary: int, *, seed: int = 0) -> dict[str, Any]:
    """Figures of a group of documents, with a 95 % interval by a bootstrap that draws whole documents.

    Args:
        scores: Of the documents.
        vocabulary: Of the tokenizer, for what chance would give: a uniform model has log2(vocabulary) bits a
            token.
        seed: Of the resampling.

    Returns:
        `bits_per_byte`, `bits_per_byte_ci`, `chance` (in bits per byte), `loss` (nats a token), `perplexity`,
        `documents`, `tokens`, `words`, `bytes`.
    """
    sums = np.array([[s.bits, s.utf8_bytes] for s in scores])
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    resampled = sums[drawn].sum(1)
    low, high = np.percentile(resampled[:, 0] / resampled[:, 1], (2.5, 97.5))
    bits, size = sums.sum(0)
    tokens = sum(s.tokens for s in scores)
    loss = bits * math.log(2) / tokens
    return {
        "documents": len(scores),
        "bytes": int(size),
        "words": sum(s.words for s in scores),
        "tokens": tokens,
        "bits_per_byte": float(bits / size),
        "bits_per_byte_ci": [float(low), float(high)],
        "chance": float(math.log2(vocabulary) * tokens / size),
        "loss": float(loss),
        "perplexity": float(math.exp(min(loss, 700.0))),
    }
