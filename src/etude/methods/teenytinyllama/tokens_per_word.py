"""Fertility: how many tokens a tokenizer needs for a word, a byte, a page; and the verb `fertility`.

Words are what stands between white space (in languages that write none, compare tokens per byte). Intervals
are percentile bootstraps over documents. Counts of different tokenizers are of the same documents, so the
ratio to the first tokenizer is paired. A ratio of 0.67 is 33 % fewer tokens: compare only with the vocabulary
sizes beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etude.data import write_records
from etude.errors import EtudeError
from etude.evidence.statistics import bootstrap_interval
from etude.methods import verb
from etude.methods.teenytinyllama.loading import LoadedTokenizer, load_any_tokenizer
from etude.methods.teenytinyllama.notices import Notice
from etude.methods.teenytinyllama.reading import corpus
from etude.render import Text, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

Interval = tuple[float, float]

_BATCH = 512
_MOST_GROUPS = 2000  # more documents are pooled, so that the bootstrap stays cheap
_LONG_WORD = 30  # bytes a word: more means that words are not what stands between spaces


@dataclass(frozen=True)
class Counts:
    """Per group of documents: what was counted, each (groups,)."""

    documents: NDArray[np.int64]
    words: NDArray[np.int64]
    bytes: NDArray[np.int64]
    tokens: NDArray[np.int64]
    unknown: NDArray[np.int64]


@dataclass(frozen=True)
class FertilityRow:
    """One tokenizer on one set of texts; intervals are 95 % bootstraps over documents.

    Args:
        texts: The set of texts.
        tokenizer: The tokenizer.
        vocab_size: Its entries.
        documents: Documents, words (between white space), UTF-8 bytes and tokens of the set.
        words: As above.
        bytes: As above.
        tokens: As above; no begin or end tokens.
        tokens_per_word: The fertility.
        tokens_per_word_interval: Its interval.
        tokens_per_byte: Comparable between languages.
        tokens_per_byte_interval: Its interval.
        bytes_per_token: Its inverse, the compression.
        tokens_per_document: Mean tokens of a document or page.
        unknown_share: Share of tokens that are the unknown token.
        relative: Tokens in units of the first tokenizer's.
        relative_interval: Its paired interval.
    """

    texts: str
    tokenizer: str
    vocab_size: int
    documents: int
    words: int
    bytes: int
    tokens: int
    tokens_per_word: float
    tokens_per_word_interval: Interval
    tokens_per_byte: float
    tokens_per_byte_interval: Interval
    bytes_per_token: float
    tokens_per_document: float
    unknown_share: float
    relative: float
    relative_interval: Interval


@dataclass(frozen=True)
class FertilityResult:
    """All tokenizers on all sets of texts.

    Args:
        rows: One per set and tokenizer.
        notices: How to read them.
        out: Where they were written.
    """

    rows: tuple[FertilityRow, ...]
    notices: tuple[str, ...]
    out: str | None

    def __rich__(self) -> RenderableType:
        """A table per set of texts, one row a tokenizer; then tokens per document across sets."""
        from rich.console import Group

        columns = ("tokenizer", "entries", "tokens/word", "95 % CI", "tokens/byte", "bytes/token", "unknown")
        names = list(dict.fromkeys(row.texts for row in self.rows))
        drawn = []
        for name in names:
            of_set = [row for row in self.rows if row.texts == name]
            rows = [
                (
                    row.tokenizer,
                    row.vocab_size,
                    row.tokens_per_word,
                    _span(row.tokens_per_word_interval),
                    row.tokens_per_byte,
                    row.bytes_per_token,
                    f"{row.unknown_share:.2%}",
                    row.relative,
                    _span(row.relative_interval),
                )
                for row in of_set
            ]
            title = f"{name}: {of_set[0].documents:,} documents, {of_set[0].words:,} words"
            drawn.append(table((*columns, "relative", "95 % CI"), rows, title=title))
        if len(names) > 1:
            pages = [
                (name, *(round(r.tokens_per_document) for r in self.rows if r.tokenizer == name))
                for name in dict.fromkeys(row.tokenizer for row in self.rows)
            ]
            one_file = len({name.partition(":")[0] for name in names}) == 1
            heads = [name.partition(":")[2] if one_file else name for name in names]
            drawn.append(table(("tokenizer", *heads), pages, title="Tokens per document"))
        lines = [*self.notices, *([f"table: {self.out}"] if self.out else [])]
        return Group(*drawn, *(show(Text(line)) for line in lines))


@verb
def fertility(
    tokenizers: tuple[str, ...],
    *,
    texts: tuple[Path, ...],
    fields: str = "text",
    lines: int | None = None,
    out: Path | None = None,
) -> FertilityResult:
    """Compare how many tokens tokenizers need for the same texts.

    Args:
        tokenizers: Folders, tokenizer.json files, embedded models' names or hub ids. The first is the one
            that the others are compared with.
        texts: Sets of texts, each a file, folder, saved dataset or hub id.
        fields: Field of a record that holds the text. Several, separated by commas, make a set each: for
            parallel pages with a field per language, tokens per page across languages.
        lines: A document of a .txt file is so many lines; by default documents are separated by blank lines.
        out: Table to write (.jsonl, .csv, .parquet).

    Raises:
        EtudeError: A tokenizer or text cannot be read, or a set is empty.
    """
    names = (tokenizers,) if isinstance(tokenizers, str) else tokenizers
    if not names:
        raise EtudeError("no tokenizer was given", "Give folders, tokenizer.json files, names or hub ids.")
    loaded = [load_any_tokenizer(name) for name in names]
    chosen = [name.strip() for name in fields.split(",") if name.strip()]
    if not chosen:
        raise EtudeError(f"fields {fields!r}", "Name the field that holds the text.")
    short = len({path.name for path in texts}) == len(texts)
    sets = {}
    for path in texts:
        label = path.name if short else str(path)
        for field in chosen:
            key = label if len(chosen) == 1 else f"{label}:{field}"
            sets[key] = corpus((path,), field=field, lines=lines)
    if not sets:
        raise EtudeError("no text was given", "Give at least one --texts FILE.")
    rows, notices = [], []
    for name, documents in sets.items():
        of_set = measure(loaded, documents.texts(), name)
        if of_set[0].bytes > _LONG_WORD * of_set[0].words:
            notices.append(f"{name}: few spaces between words; compare tokens per byte, not per word")
        rows += of_set
    if out is not None:
        write_records(out, [_flat(row) for row in rows])
    return FertilityResult(tuple(rows), tuple(notices), str(out) if out else None)


def measure(
    tokenizers: Sequence[LoadedTokenizer], texts: Iterable[str], name: str = ""
) -> list[FertilityRow]:
    """Fertility of several tokenizers on the same texts, each read once.

    Args:
        tokenizers: The first is what the others are compared with.
        texts: Documents; empty ones are left out.
        name: Of this set of texts, for messages and rows.

    Raises:
        EtudeError: There is no word in the texts.
    """
    counted = count(tokenizers, texts, name)
    if not counted or not counted[0].words.sum():
        raise EtudeError(f"{name or 'the texts'}: no words", "Give a file with at least one document.")
    first = counted[0]
    rows = []
    for tokenizer, found in zip(tokenizers, counted, strict=True):
        per_word, word_interval = ratio(found.tokens, found.words)
        per_byte, byte_interval = ratio(found.tokens, found.bytes)
        relative, relative_interval = ratio(found.tokens, first.tokens)
        totals = {key: int(value.sum()) for key, value in asdict(found).items() if key != "unknown"}
        rows.append(
            FertilityRow(
                texts=name,
                tokenizer=tokenizer.name,
                vocab_size=tokenizer.vocab_size,
                **totals,
                tokens_per_word=per_word,
                tokens_per_word_interval=word_interval,
                tokens_per_byte=per_byte,
                tokens_per_byte_interval=byte_interval,
                bytes_per_token=1 / per_byte,
                tokens_per_document=totals["tokens"] / totals["documents"],
                unknown_share=float(found.unknown.sum() / found.tokens.sum()),
                relative=relative,
                relative_interval=relative_interval,
            )
        )
    return rows


def count(tokenizers: Sequence[LoadedTokenizer], texts: Iterable[str], name: str = "") -> list[Counts]:
    """Words, bytes, tokens and unknown tokens of each document, for each tokenizer.

    More than 2,000 documents are pooled into 2,000 groups in turn: memory and the bootstrap stay small.
    """
    shape = (len(tokenizers), 5, _MOST_GROUPS)
    sums = np.zeros(shape, dtype=np.int64)
    notice, seen = Notice(f"documents of {name or 'the texts'} counted"), 0
    for batch in _batches(text for text in texts if text.strip()):
        groups = (seen + np.arange(len(batch))) % _MOST_GROUPS
        seen += len(batch)
        words = [len(text.split()) for text in batch]
        sizes = [len(text.encode()) for text in batch]
        for index, tokenizer in enumerate(tokenizers):
            rows = tokenizer.encode(batch)
            unknown = [
                row.count(tokenizer.unknown_token) if tokenizer.unknown_token is not None else 0
                for row in rows
            ]
            columns = ([1] * len(batch), words, sizes, [len(row) for row in rows], unknown)
            for column, values in enumerate(columns):
                np.add.at(sums[index, column], groups, values)
        notice.add(len(batch))
    used = min(seen, _MOST_GROUPS)
    return (
        [Counts(*(of_tokenizer[column, :used] for column in range(5))) for of_tokenizer in sums]
        if used
        else []
    )


def ratio(above: NDArray[np.int64], below: NDArray[np.int64]) -> tuple[float, Interval]:
    """Ratio of sums, and its bootstrap interval over groups.

    Args:
        above: Of each group, (groups,).
        below: Of each group, (groups,).

    Returns:
        The ratio; the 2.5 and 97.5 percent points, infinite with a single group.
    """

    def of_sums(groups: NDArray[np.int64], _: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(above[groups].sum(-1) / np.maximum(below[groups].sum(-1), 1))

    value = float(above.sum() / below.sum())
    if np.array_equal(above, below):
        return value, (value, value)
    return value, bootstrap_interval(of_sums, len(above))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    stream = iter(texts)
    while batch := list(islice(stream, _BATCH)):
        yield batch


def _span(interval: Interval) -> str:
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]" if np.isfinite(interval).all() else "one document"


def _flat(row: FertilityRow) -> Mapping[str, object]:
    """A row for a table file: an interval is two columns, empty when it is not known."""
    flat: dict[str, object] = {}
    for key, value in asdict(row).items():
        if isinstance(value, tuple):
            known = bool(np.isfinite(value).all())
            flat |= {f"{key}_low": value[0] if known else None, f"{key}_high": value[1] if known else None}
        else:
            flat[key] = value
    return flat
