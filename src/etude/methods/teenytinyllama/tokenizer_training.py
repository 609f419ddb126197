"""Training a tokenizer on a corpus of one language, and the verb `tokenizer`.

BPE or unigram pieces are learned by the `tokenizers` library over words (`llama_tokenizer` says what a word
is); the tokenizer is then put together in the Llama-2 design.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer, models, trainers

from etude.errors import EtudeError
from etude.methods.teenytinyllama.llama_tokenizer import (
    BYTES,
    SPECIAL,
    UNKNOWN,
    Kind,
    bare_tokenizer,
    bpe_tokenizer,
    reserved,
    save_tokenizer,
    unigram_tokenizer,
)

__all__ = ["save_tokenizer", "train_tokenizer"]

_LEAST_COUNT = 2  # a pair seen once is no evidence for a piece


def train_tokenizer(
    texts: Iterable[str], *, kind: Kind = "bpe", vocab_size: int, byte_fallback: bool = True
) -> Tokenizer:
    """Learn a tokenizer in the Llama-2 design: `<unk>`=0, `<s>`=1, `</s>`=2, `<pad>`=3, then the byte tokens.

    Args:
        texts: Documents; streamed once, only word counts are kept.
        kind: `bpe` merges the most frequent pair again and again; `unigram` prunes a large vocabulary by
            likelihood.
        vocab_size: Entries in all: 4 special, 256 byte tokens (with byte fallback), the learned pieces.
        byte_fallback: Write characters outside of the vocabulary as their UTF-8 bytes: no text is lost.

    Returns:
        A tokenizer with exactly `vocab_size` entries; `decode(encode(text).ids) == text` with byte fallback.

    Raises:
        EtudeError: The corpus is empty, does not support so many entries (the message says how many it does),
            or `vocab_size` has no room beside the reserved entries.
    """
    room = vocab_size - len(reserved(byte_fallback))
    if room < 2:
        raise EtudeError(
            f"vocab_size {vocab_size} has no room beside {len(SPECIAL)} special"
            + (f" and {len(BYTES)} byte tokens" if byte_fallback else " tokens"),
            f"Give at least {len(reserved(byte_fallback)) + 2}; some thousands are usual.",
        )
    seen = [0]

    def counted() -> Iterator[str]:
        for text in texts:
            seen[0] += bool(text.strip())
            yield text

    learn = _learn_bpe if kind == "bpe" else _learn_unigram
    pieces = learn(counted(), room)
    if not seen[0]:
        raise EtudeError("the corpus is empty: not one document with text", "Give files that hold text.")
    if len(pieces) < room:
        most = len(pieces) + len(reserved(byte_fallback))
        raise EtudeError(
            f"vocab_size {vocab_size:,} is larger than the corpus supports: it reaches {most:,} entries",
            f"Give more text, or a vocabulary of at most {most}.",
        )
    if kind == "bpe":
        return bpe_tokenizer([piece for piece, _ in pieces[:room]], byte_fallback=byte_fallback)
    return unigram_tokenizer(pieces[:room], byte_fallback=byte_fallback)


def _learn_bpe(texts: Iterator[str], room: int) -> list[tuple[str, float]]:
    """The characters by code, then merged pieces as they were learned."""
    tokenizer = bare_tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=_LEAST_COUNT,
        limit_alphabet=max(1, room // 2),  # rarer characters go to bytes
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    return [(piece, 0.0) for piece in sorted(vocabulary, key=vocabulary.__getitem__)]


def _learn_unigram(texts: Iterator[str], room: int) -> list[tuple[str, float]]:
    """Pieces and log-probabilities, the likeliest first."""
    tokenizer = bare_tokenizer(models.Unigram())
    trainer = trainers.UnigramTrainer(
        vocab_size=room + 1,
        special_tokens=[SPECIAL[UNKNOWN]],
        unk_token=SPECIAL[UNKNOWN],
        show_progress=False,
    )
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except Exception as error:  # the library raises its own bare Exception
        if "vocabulary is not large enough" not in str(error).lower():
            raise
        raise EtudeError(
            f"the corpus has more characters than a vocabulary with room for {room:,} learned pieces holds",
            "Give a larger vocab_size, or kind bpe, which leaves rare characters to bytes.",
        ) from error
    state = json.loads(tokenizer.to_str())["model"]
    return [(piece, float(score)) for piece, score in state["vocab"] if piece != SPECIAL[UNKNOWN]]
