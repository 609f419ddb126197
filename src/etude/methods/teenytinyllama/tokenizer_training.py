"""Training a tokenizer on a corpus of one language, and the verb `tokenizer`.

BPE or unigram pieces are learned by the `tokenizers` library over words (`llama_tokenizer` says what a word
is); the tokenizer is then put together in the Llama-2 design.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer, models, trainers

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.teenytinyllama.deduplication import text_key
from etude.methods.teenytinyllama.llama_tokenizer import (
    BYTES,
    SPECIAL,
    UNKNOWN,
    Kind,
    bare_tokenizer,
    bpe_tokenizer,
    check_folder,
    reserved,
    save_tokenizer,
    unigram_tokenizer,
)
from etude.methods.teenytinyllama.notices import Notice
from etude.methods.teenytinyllama.reading import Corpus, corpus
from etude.methods.teenytinyllama.splitting import check_fraction, is_held_out
from etude.render import Text, console, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

_LEAST_COUNT = 2  # a pair seen once is no evidence for a piece
_SHOWN_WORDS = 12


@dataclass(frozen=True)
class TokenizerResult:
    """A trained tokenizer.

    Args:
        out: Its folder; `transformers.AutoTokenizer` reads it.
        kind: `bpe` or `unigram`.
        vocab_size: Its entries.
        byte_fallback: Whether every text can be written, if need be byte by byte.
        documents: Documents it was trained on.
        held_out: Documents left out because `prepare` holds them out.
        example: How it cuts the first words of the text.
    """

    out: str
    kind: Kind
    vocab_size: int
    byte_fallback: bool
    documents: int
    held_out: int
    example: tuple[str, ...]

    def __rich__(self) -> RenderableType:
        """What it is, and an example."""
        from rich.console import Group

        row = (self.kind, self.vocab_size, self.byte_fallback, self.documents, self.held_out)
        columns = ("kind", "entries", "byte fallback", "documents", "left out")
        lines = ("example: " + " | ".join(self.example), f"tokenizer: {self.out}")
        return Group(table(columns, [row]), *(show(Text(line)) for line in lines))


@verb
def tokenizer(
    files: tuple[Path, ...],
    *,
    out: Path,
    kind: Kind = "bpe",
    vocab_size: int = 32_000,
    byte_fallback: bool = True,
    field: str = "text",
    lines: int | None = None,
    documents: int | None = None,
    val_fraction: float = 0.0,
    seed: int = 0,
) -> TokenizerResult:
    """Train a tokenizer on your text, in the Llama-2 design.

    Args:
        files: Text: .txt, .jsonl, .csv, .tsv or .parquet files, folders of them, saved datasets, or hub ids
            (org/name, org/name@config:split).
        out: Folder for the tokenizer.
        kind: bpe or unigram.
        vocab_size: Entries in all, the 4 special and 256 byte tokens included.
        byte_fallback: Write characters outside of the vocabulary byte by byte; without it they are <unk>.
        field: Field of a record that holds the text.
        lines: A document of a .txt file is so many lines; by default documents are separated by blank lines.
        documents: Train on so many documents, drawn by seed; by default on all. The paper drew 2 million.
        val_fraction: Leave out the documents that prepare holds out with this share and the same seed.
        seed: Of both draws.

    Raises:
        EtudeError: The text cannot be read, is empty, or does not support so many entries.
    """
    check_folder(out)
    check_fraction(val_fraction)
    text = corpus(files, field=field, lines=lines)
    taken = _drawn(text, documents, val_fraction, seed) if documents is not None else None
    chosen = _TrainingTexts(text, val_fraction, seed, taken)
    trained = train_tokenizer(chosen, kind=kind, vocab_size=vocab_size, byte_fallback=byte_fallback)
    hashes = text.hashes()
    provenance = {
        "files": [{"file": file, "sha256": hashes.get(file, "")} for file in text.files()],
        "kind": kind,
        "vocab_size": vocab_size,
        "byte_fallback": byte_fallback,
        "documents": chosen.documents,
        "val_fraction": val_fraction,
        "seed": seed,
    }
    save_tokenizer(trained, out, training=provenance)
    example = " ".join(next(iter(chosen)).split()[:_SHOWN_WORDS])
    return TokenizerResult(
        str(out),
        kind,
        vocab_size,
        byte_fallback,
        chosen.documents,
        chosen.held_out,
        tuple(trained.encode(example, add_special_tokens=False).tokens),
    )


class _TrainingTexts:
    """The texts to train on: not empty, not held out, and drawn where `taken` numbers them; re-readable."""

    def __init__(self, text: Corpus, val_fraction: float, seed: int, taken: set[int] | None) -> None:
        self.text, self.val_fraction, self.seed, self.taken = text, val_fraction, seed, taken
        self.documents = self.held_out = 0  # of the last complete reading

    def __iter__(self) -> Iterator[str]:
        notice = Notice("documents read for the tokenizer")
        trainable = documents = held_out = 0
        for one in self.text.texts():
            if not one.strip():
                continue
            if self.val_fraction and is_held_out(text_key(one), self.val_fraction, self.seed):
                held_out += 1
                continue
            trainable += 1
            if self.taken is None or trainable - 1 in self.taken:
                notice.add()
                documents += 1
                yield one
        self.documents, self.held_out = documents, held_out


def _drawn(text: Corpus, documents: int, val_fraction: float, seed: int) -> set[int]:
    """Numbers of the documents to train on: a first pass counts them, so that all are equally likely."""
    if documents < 1:
        raise EtudeError(f"documents {documents}", "Give at least 1.")
    total = sum(1 for _ in _TrainingTexts(text, val_fraction, seed, None))
    if total < documents:
        console().print(f"the corpus has {total:,} documents, fewer than {documents:,}: all are used")
    chosen = np.random.default_rng(seed).permutation(total)[:documents]
    return set(chosen.tolist())


def train_tokenizer(
    texts: Iterable[str], *, kind: Kind = "bpe", vocab_size: int, byte_fallback: bool = True
) -> Tokenizer:
    """Learn a tokenizer in the Llama-2 design: `<unk>`=0, `<s>`=1, `</s>`=2, `<pad>`=3, then the byte tokens.

    Args:
        texts: Documents, read twice (an iterator is first made a list); only counts of words are kept.
        kind: `bpe` merges the most frequent pair again and again; `unigram` prunes a large vocabulary by
            likelihood (its log-probabilities differ by some 0.001 from one training to the next).
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
    texts = list(texts) if iter(texts) is texts else texts
    characters = _count_characters(texts)
    if not any(c.strip("▁ \t\r\n") for c in characters):
        raise EtudeError("the corpus is empty: not one document with text", "Give files that hold text.")
    if kind == "bpe":
        frequent = sorted(characters, key=lambda c: (-characters[c], c))
        most = room // 2 if byte_fallback else room  # rarer ones go to bytes before they fill the vocabulary
        pieces = _learn_bpe(texts, room, frequent[:most])
        pieces += [(c, 0.0) for c in frequent[most : most + room - len(pieces)]]  # unless there is room left
    else:
        pieces = _learn_unigram(texts, room)
    if len(pieces) < room:
        most = len(pieces) + len(reserved(byte_fallback))
        raise EtudeError(
            f"vocab_size {vocab_size:,} is larger than the corpus supports: it reaches {most:,} entries",
            f"Give more text, or a vocabulary of at most {most}.",
        )
    if kind == "bpe":
        return bpe_tokenizer([piece for piece, _ in pieces[:room]], byte_fallback=byte_fallback)
    return unigram_tokenizer(pieces[:room], byte_fallback=byte_fallback)


def _count_characters(texts: Iterable[str]) -> Counter[str]:
    """How often each character occurs once the text is normalized."""
    normalizer = bare_tokenizer(models.BPE()).normalizer
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    return counts


def _learn_bpe(texts: Iterable[str], room: int, characters: Sequence[str]) -> list[tuple[str, float]]:
    """The given characters by code, then merged pieces as they were learned."""
    tokenizer = bare_tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=_LEAST_COUNT,
        initial_alphabet=list(characters),
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    return [(piece, 0.0) for piece in sorted(vocabulary, key=vocabulary.__getitem__)]


def _learn_unigram(texts: Iterable[str], room: int) -> list[tuple[str, float]]:
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
