"""The user's sentences: read, cleaned, counted, and kept apart from the evaluation file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from etude.data import read_lines, read_rows
from etude.errors import EtudeError
from etude.render import console

MOST_WORDS = 64
_NAMED = 3
_LEAST_ENGLISH = 0.5
_ENGLISH = """
a an the and or but if of in on at to for from by with as is are was were be been it its this that these
those he she they we you i his her their our your my not no do does did has have had will would can could
there what which who how when where why than then into over under after before between about up out
"""
_FUNCTION_WORDS = frozenset(_ENGLISH.split())


@dataclass(frozen=True)
class Sentences:
    """Distinct sentences and what was done to get them.

    Args:
        texts: The sentences, in file order.
        read: Non-empty lines or rows in the file.
        duplicates: Left out because an equal sentence came before.
        truncated: Cut to the most words.
        overlapping: Left out because they are in the evaluation file.
    """

    texts: list[str]
    read: int
    duplicates: int
    truncated: int
    overlapping: int = 0


def normalized(sentence: str) -> str:
    """What counts as the same sentence: lower case, single spaces, without marks at its end."""
    return " ".join(sentence.lower().split()).rstrip(".!?\"' ")


def read_sentences(source: Path, *, column: str | None = None, most_words: int = MOST_WORDS) -> Sentences:
    """Read sentences.

    Args:
        source: `.txt` with one sentence a line, or rows (`.jsonl`, `.csv`, `.tsv`, `.parquet`) with `column`.
        column: The column; needed where the rows have several.
        most_words: Longer sentences are cut here.

    Raises:
        EtudeError: Fewer than two distinct sentences, no such column, or the file is not UTF-8.
    """
    if most_words < 1:
        raise EtudeError(f"--max-words {most_words}: not a positive number", "Give for example 64.")
    found: dict[str, str] = {}
    read = truncated = 0
    for text in _texts(source, column):
        words = text.split()
        if not words:
            continue
        read += 1
        truncated += len(words) > most_words
        sentence = " ".join(words[:most_words])
        found.setdefault(normalized(sentence) or sentence, sentence)
    if len(found) < 2:
        raise EtudeError(
            f"{source}: holds {len(found)} distinct sentence{'' if len(found) == 1 else 's'}",
            "Contrastive training needs many: give a file with one sentence a line.",
        )
    texts = list(found.values())
    if truncated:
        console().print(f"{source}: {truncated} of {read} sentences were cut to {most_words} words")
    if (share := english_share(texts)) < _LEAST_ENGLISH:
        console().print(
            f"{source}: only {share:.0%} of the sentences look English; the built-in prompts are English. "
            "For another language write prompts of your own (--prompts FILE.json)."
        )
    return Sentences(texts, read, read - len(texts), truncated)


def _texts(source: Path, column: str | None) -> Iterable[str]:
    if source.suffix == ".txt":
        if not source.is_file():
            raise EtudeError(f"{source}: no such file", "Check the path.")
        return read_lines(source)
    return _column(source, column)


def _column(source: Path, column: str | None) -> Iterable[str]:
    for line, row in read_rows(source):
        if column is None:
            if len(row) > 1:
                raise EtudeError(
                    f"{source}: which column? There are {', '.join(row)}", "Name one with --column."
                )
            column = next(iter(row))
        value = row.get(column, "")
        if column not in row and line <= 2:
            raise EtudeError(
                f"{source}:{line}: no column {column!r}; found {', '.join(row)}", "Name one with --column."
            )
        if not isinstance(value, str):
            raise EtudeError(f"{source}:{line}: {column} is a {type(value).__name__}", "Sentences are texts.")
        yield value


def english_share(texts: Sequence[str]) -> float:
    """Share of sentences that hold an English function word (of those with four words or more)."""
    long = [words for text in texts if len(words := re.findall(r"[^\W\d_]+", text.lower())) >= 4]
    if not long:
        return 1.0
    return sum(any(word in _FUNCTION_WORDS for word in words) for words in long) / len(long)


def without_overlap(
    found: Sentences, evaluation: Collection[str], *, allow: bool, source: Path | str
) -> Sentences:
    """Refuse sentences that the evaluation file holds: a model trained on them was not tested on new text.

    Args:
        found: The sentences.
        evaluation: Texts of the evaluation file.
        allow: Keep them all the same (a transductive result, to be called so).
        source: Named in the error.

    Raises:
        EtudeError: There are such sentences and `allow` is false.
    """
    held = {normalized(text) for text in evaluation}
    shared = [text for text in found.texts if normalized(text) in held]
    if shared and not allow:
        raise EtudeError(
            f"{source}: {len(shared)} of {len(found.texts)} sentences are in the evaluation file, e.g. "
            + "; ".join(repr(text[:60]) for text in shared[:_NAMED]),
            "Remove them, or keep them with --allow-overlap: results are then transductive and say so.",
        )
    return Sentences(found.texts, found.read, found.duplicates, found.truncated, len(shared))
