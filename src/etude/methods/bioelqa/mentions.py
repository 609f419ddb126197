"""From documents and rows to the names that are linked: abbreviations written out, composites split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator

from etude.data import read_records
from etude.methods.bioelqa.abbreviations import expand, find_abbreviations
from etude.methods.bioelqa.case_base import Case
from etude.methods.bioelqa.composites import split_composite
from etude.methods.bioelqa.normalization import normalize
from etude.methods.bioelqa.pubtator import NIL, Corpus, Document, Mention, read_pubtator
from etude.methods.bioelqa.vocabulary import Vocabulary

COMPOSITE_TYPE = "CompositeMention"
_AROUND = 120  # characters of context to either side


class MentionRow(BaseModel):
    """One mention to be linked, as a row of a file.

    `id` is the gold, if known: several with |, -1 for a mention without an entry.
    """

    mention: str = Field(min_length=1)
    context: str = ""
    doc: str = ""
    start: int | None = None
    end: int | None = None
    type: str = ""
    id: str | None = None
    parts: tuple[str, ...] = ()

    @field_validator("doc", "id", mode="before")
    @classmethod
    def _numbers_are_ids(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @property
    def gold(self) -> tuple[str, ...] | None:
        """Gold ids; empty for -1, None where no gold is given."""
        if self.id is None:
            return None
        return tuple(one.strip() for one in self.id.split("|") if one.strip() and one.strip() != NIL)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a mention before it is compared.

    Args:
        abbreviations: Write short forms out that the document (or the row's context) defines.
        composites: Split composite mentions.
    """

    abbreviations: bool = True
    composites: bool = True

    def names(self, row: MentionRow, text: str) -> tuple[str, ...]:
        """The normalized names of a mention: one, or several of a composite.

        Args:
            row: The mention.
            text: Where abbreviations may be defined.
        """
        parts: tuple[str, ...] = (row.mention,)
        if self.composites:
            several = row.gold is not None and len(row.gold) > 1
            if row.parts:
                parts = row.parts
            elif row.type == COMPOSITE_TYPE:
                parts = split_composite(row.mention, len(row.gold) if several and row.gold else None)
        if self.abbreviations and text:
            found = _abbreviations(text)
            parts = tuple(expand(part, found) for part in parts)
        return tuple(normalize(part) for part in parts)


def read_mentions(path: Path, *, fix_offsets: bool = False) -> tuple[list[MentionRow], dict[str, str]]:
    """Mentions from `.jsonl`, `.csv`, `.parquet` rows, or from a PubTator file (also `.gz`).

    Returns:
        The rows in file order, and the texts of documents by id (of PubTator files).
    """
    suffixes = [s for s in path.suffixes if s != ".gz"]
    if suffixes and suffixes[-1] in (".jsonl", ".csv", ".tsv", ".parquet"):
        return list(read_records(path, MentionRow)), {}
    corpus = read_pubtator(path, fix_offsets=fix_offsets)
    return list(corpus_rows(corpus)), {document.id: document.text for document in corpus}


def corpus_rows(corpus: Corpus | Sequence[Document]) -> Iterator[MentionRow]:
    """Every mention of a corpus as a row, with its gold and some text around it."""
    for document in corpus:
        for mention in document.mentions:
            yield MentionRow(
                mention=mention.text,
                context=context_of(document, mention),
                doc=document.id,
                start=mention.start,
                end=mention.end,
                type=mention.type,
                id="|".join(mention.ids) or NIL,
                parts=mention.parts,
            )


def context_of(document: Document, mention: Mention) -> str:
    """Some text around a mention, cut at spaces."""
    low, high = max(0, mention.start - _AROUND), mention.end + _AROUND
    text = document.text[low:high].replace("\n", " ")
    if low:
        text = text[text.find(" ") + 1 :]
    return text if high >= len(document.text) else text[: text.rfind(" ")]


def training_cases(
    corpus: Corpus | Sequence[Document], vocabulary: Vocabulary, how: Preprocessing
) -> tuple[list[Case], dict[str, int]]:
    """The solved cases of a corpus: each (normalized mention, id) once, with how often it came.

    Returns:
        The cases, and what was left out: mentions without an id, ids unknown to the vocabulary, composites
        that could not be split, mentions without letters.
    """
    counts: dict[tuple[str, str], int] = {}
    left = {"no id": 0, "id unknown": 0, "composite not split": 0, "empty": 0}
    for document in corpus:
        for row in corpus_rows([document]):
            gold = row.gold or ()
            names = how.names(row, document.text)
            if not gold:
                left["no id"] += 1
            elif len(names) != len(gold):
                left["composite not split"] += 1
            else:
                for name, id in zip(names, gold, strict=True):
                    if id not in vocabulary:
                        left["id unknown"] += 1
                    elif not name:
                        left["empty"] += 1
                    else:
                        counts[name, id] = counts.get((name, id), 0) + 1
    return [Case(name, id, count) for (name, id), count in counts.items()], left


@lru_cache(maxsize=4096)
def _abbreviations(text: str) -> dict[str, str]:
    return find_abbreviations(text)
